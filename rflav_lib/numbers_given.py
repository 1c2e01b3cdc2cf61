"""Numbers that callers pass: the value to go on with, or one error that names it. Without torch, which `media` spares.

Whole numbers may come from Python, NumPy or torch. Nothing is rounded: 1.7 is no class, and True is no number.
"""

import math
import numbers
from typing import Any

MOST = 2**31 - 1  # of what is counted: beyond, no run would end
LARGEST_SEED = 2**63 - 1


def as_whole(value: Any) -> int | None:
    """A whole number as Python's, also from an array or tensor of no dimensions; None for anything else."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else None


def whole_number(value: Any, name: str, least: int = 1, most: int = MOST) -> int:
    """A whole number.

    Raises:
        ValueError: another value, or one below `least` or above `most`.
    """
    number = as_whole(value)
    if number is None or number < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, not {value!r}")
    if number > most:
        raise ValueError(f"{name} must be at most {most}, not {value!r}")
    return number


def finite_number(value: Any, name: str) -> float:
    """A real number, not a string, tensor, NaN or infinity.

    Raises:
        ValueError: another value.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def check_real(value: Any, name: str) -> None:
    """Raise a ValueError unless this is a real number, be it NaN or infinite."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, not {value!r}")
