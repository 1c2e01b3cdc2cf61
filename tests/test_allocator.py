"""What is freed stays with the process: counted in page faults, in processes of their own."""

import platform
import subprocess
import sys

import pytest

from rflav_lib import allocator

PROGRAM = """
import resource
import torch
from rflav_lib.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
for turn in range(40):  # a block fits where the last one was only after some turns: malloc.c pads aligned ones
    if turn == 30:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = torch.ones(12_000_000)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc here, so nothing to arrange")
def test_large_tensors_are_given_the_memory_of_those_before_them():
    # ten times 48 MB are 120,000 pages of 4 KB, or 230 of 2 MB where the kernel gives large pages by itself
    assert faults(keep=False) > 10 * faults(keep=True) + 100


def test_elsewhere_it_says_that_it_cannot(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())  # a C library without mallopt
    assert not allocator.keep_freed_memory()
