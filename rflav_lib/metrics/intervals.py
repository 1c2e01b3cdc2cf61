"""Figures with 95 % intervals: of counts, of values, and of draws that were made elsewhere."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from rflav_lib.data.toy_tracking.tally import Tally

Draws = Sequence[float] | NDArray[np.floating]
Figure = dict[str, float]
"""A value, and the two ends of its interval: "value", "low", "high"; NaN where there is nothing to measure."""


def wilson(hits: int, of: int) -> Figure:
    """A share and its 95 % Wilson interval; NaN of nothing."""
    if not of:
        return _nothing()
    ends = binomtest(hits, of).proportion_ci(0.95, method="wilson")
    return {"value": hits / of, "low": float(ends.low), "high": float(ends.high)}


def share_with_interval(hits: Iterable[bool]) -> Figure:
    """The share of those that hold, as `wilson`."""
    hits = [bool(hit) for hit in hits]
    return wilson(sum(hits), len(hits))


def median_with_interval(values: Sequence[float]) -> Figure:
    """A median and its 95 % bootstrap interval (1000 resamples); NaN where there is nothing."""
    if not values:
        return _nothing()
    resamples = np.random.default_rng(0).choice(np.asarray(values), (1000, len(values)))
    return interval(float(np.median(values)), np.median(resamples, axis=1))


def pooled_with_interval(tallies: Iterable[Tally]) -> Figure:
    """The share of all events that were right, and its 95 % bootstrap interval; NaN where there is nothing.

    Clips are drawn anew (1000 times), not events: the events of a clip stand and fall together.
    """
    counts = np.array([(tally.right, tally.of) for tally in tallies if tally.of], dtype=np.float64)
    if not len(counts):
        return _nothing()
    drawn = np.random.default_rng(0).integers(len(counts), size=(1000, len(counts)))
    right, of = counts[drawn].sum(axis=1).T
    return interval(float(counts[:, 0].sum() / counts[:, 1].sum()), right / of)


def interval(value: float, drawn: Draws) -> Figure:
    """A value with the middle 95 % of its draws (resamples,)."""
    low, high = middle(drawn)
    return {"value": value, "low": low, "high": high}


def middle(drawn: Draws) -> tuple[float, float]:
    """The ends of the middle 95 % of draws (resamples,); NaN without any."""
    low, high = np.quantile(drawn, (0.025, 0.975)) if np.size(drawn) else (np.nan, np.nan)
    return float(low), float(high)


def _nothing() -> Figure:
    return dict.fromkeys(("value", "low", "high"), math.nan)
