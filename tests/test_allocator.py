"""What is freed stays with the process: counted in page faults, in processes of their own."""

import json
import platform
import subprocess
import sys
from functools import cache, partial

import pytest

from benchmarks import allocator as benchmark
from rflav_lib import allocator, experiments
from tests.test_experiments import TINY

pytestmark = pytest.mark.usefixtures("quick_vocoder")

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


def test_the_benchmark_measures_both_cases_and_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    small = tmp_path / "small.yaml"
    text = experiments.BASE.read_text(encoding="utf-8")
    small.write_text("\n".join(line for line in text.splitlines() if line.partition(":")[0] not in TINY))
    with small.open("a") as file:
        file.writelines(f"\n{key}: {json.dumps(value)}" for key, value in TINY.items())
    monkeypatch.setattr(experiments, "BASE", small)
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    for name, value in {"CLIPS": 5, "FRAMES": 2, "STEPS_PER_FRAME": 1, "TRAINING_STEPS": 2}.items():
        monkeypatch.setattr(benchmark, name, value)
    # once each, and in this process, whose memory is not to be kept
    once = cache(partial(benchmark.measured, keep=False))
    monkeypatch.setattr(benchmark, "in_a_process", lambda case, keep: once(case))
    out = tmp_path / "out.json"
    assert benchmark.main(["--out", str(out)]) == 0
    cases = json.loads(out.read_text())["cases"]
    assert set(cases) == {"sampling", "training"}
    assert all(
        cost["own"] > 0 and cost["peak (MB)"] > 100 for both in cases.values() for cost in both.values()
    )
    assert capsys.readouterr().out.count("kept saves") == 2
