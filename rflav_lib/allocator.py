"""Keep the memory that large tensors had: on Linux CPUs a part of all batched work goes into getting it back.

glibc hands every freed block beyond 32 MB straight back to the kernel, and the next tensor of that size is paid for
with a page fault and a wiped page for every 4 KB of it. Batches of clips and training steps free and take the same
blocks at every step: a quarter of the CPU seconds of twenty clips, a tenth of those of training
(`benchmarks/allocator.py`, results/allocator.json). Generating one clip has smaller tensors and gains nothing.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """From now on this process keeps freed memory for its next tensors, and gives it back only when it ends.

    For commands that do nothing but batched work; a kernel that a notebook shares with other things had better not
    hold its peak for ever.

    Returns:
        Whether it could be arranged: only with glibc, that is on most Linux systems.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
