"""Rates and numbers that clips are made, read and written with; as `rflav_lib.arguments`, but without torch."""

import math
import numbers
from typing import Any

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Samples a second that sound in AAC may have."""


def whole_number(value: Any, name: str, least: int = 1, most: float = math.inf) -> int:
    """A whole number of Python's or NumPy's, as Python's.

    Raises:
        ValueError: another value, or one below `least` or above `most`.
    """
    given = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not given or not least <= int(value) <= most:
        bounds = f"at least {least}" if most == math.inf else f"{least} to {most}"
        raise ValueError(f"{name} must be a whole number, {bounds}, not {value!r}")
    return int(value)


def finite_number(value: Any, name: str) -> float:
    """A finite number of Python's or NumPy's, as Python's; one that is whole by its type stays so.

    Raises:
        ValueError: another value.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def checked_rates(frame_rate: Any, sample_rate: Any) -> tuple[float, int]:
    """Frames and samples a second as Python's own numbers, which `Fraction` and `wave` take.

    Raises:
        ValueError: a rate that is none.
    """
    rate = finite_number(frame_rate, "frame_rate")
    if rate <= 0:
        raise ValueError(f"frame_rate must be a positive number, not {frame_rate!r}")
    return rate, whole_number(sample_rate, "sample_rate")
