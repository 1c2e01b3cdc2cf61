"""Warnings that point at the line of whoever called the library, however deep inside it they arise."""

import sys
import warnings

# what stands between a caller's line and ours: the library, and what it is called through
INSIDE = {"rflav_lib", "torch", "diffusers", "accelerate", "contextlib", "functools"}


def warn(text: str) -> None:
    """`warnings.warn`, at the innermost line outside of the library; of a command, at the command's.

    A fixed `stacklevel` cannot do it: how many frames lie between depends on which public function was called, through
    which decorators, and on the version of Python.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)
