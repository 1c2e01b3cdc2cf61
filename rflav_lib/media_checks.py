"""Rates that clips are made, read and written with."""

from typing import Any

from rflav_lib.numbers_given import as_whole, finite_number, whole_number

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Samples a second that sound in AAC may have."""


def checked_rates(frame_rate: Any, sample_rate: Any) -> tuple[float, int]:
    """Frames and samples a second as Python's own numbers, which `Fraction` and `wave` take.

    Raises:
        ValueError: a rate that is none.
    """
    rate = finite_number(frame_rate, "frame_rate")
    if rate <= 0:
        raise ValueError(f"frame_rate must be a positive number, not {frame_rate!r}")
    whole = as_whole(frame_rate)  # 10 stays 10, for those who read it
    return rate if whole is None else whole, whole_number(sample_rate, "sample_rate")
