"""The tempo of a dance, and how evenly its beats come, from the times of its beats seen or heard."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rflav_lib.data.toy_tracking.fits import Array

LEAST_BEATS = 4


@dataclass(frozen=True)
class Tempo:
    """Attributes: bpm: beats a minute. spread: standard deviation of the intervals over their mean: near 0 for an even
    beat, large where a beat is missing or comes between.
    """

    bpm: float
    spread: float


def tempo(times: Sequence[float] | Array) -> Tempo | None:
    """Tempo of beats at `times` in seconds, in order; a missing one does not change it. None for fewer than four."""
    if len(times) < LEAST_BEATS:
        return None
    times = np.asarray(times, dtype=np.float64)
    intervals = np.diff(times)
    number = np.concatenate(([0.0], np.cumsum(np.maximum(1, np.round(intervals / np.median(intervals))))))
    period = float(np.polyfit(number, times, 1)[0])
    return Tempo(60 / period, float(intervals.std() / intervals.mean()))
