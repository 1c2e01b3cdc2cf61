"""Does a video loop? Frame-to-frame distances, their mean r(k) at lag k, and its spectrum (paper, Fig. 7).

The paper leaves open LPIPS' trunk, the resolution, the detrending, the threshold and the range of lags. Here they are
arguments, and the threshold comes from videos that are known to loop and known not to (`calibrate`). LPIPS is a
distance: where the paper sees *peaks* of similarity, r(k) has *minima*.

Two scores, both without a unit:

- `spectral`, the paper's: the largest component of the spectrum of r(k), as a share of the mean of r.
- `depth`: how far the deepest minimum of r(k) lies below its median, as a share of it. 1 would be an exact repetition.

A loop and a dance on the beat give the same signal, and a window of T frames may coincide with either. `beside` sets
a period beside both, and says when they cannot be told apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.signal import detrend, find_peaks
from torch import Tensor

from rflav_lib.metrics.intervals import share_with_interval, wilson

Array = NDArray[np.floating]
AS_DEEP = 0.6  # share of the deepest minimum: multiples of a loop are as deep, or deeper where they fit whole frames
PADDING = 4  # the spectrum is read this much finer than its length gives


@dataclass(frozen=True, eq=False)
class LoopReading:
    """What the lags of one video tell.

    Attributes:
        r: (lags,), mean distance of frames that are 1, 2, ... frames apart.
        frequencies, amplitudes: the spectrum of r without its trend; in 1/frame, and as a share of the mean of r.
        spectral: the largest amplitude. period: frames; where it lies.
        depth: of the deepest minimum, 0 to 1. lag: the shortest lag with a minimum at least 0.6 times
            as deep, in frames, read between frames by a parabola; NaN without a minimum.
    """

    r: Array
    frequencies: Array
    amplitudes: Array
    spectral: float
    period: float
    depth: float
    lag: float


@dataclass(frozen=True)
class Calibration:
    """A threshold, and how well it parts the videos that it was chosen on."""

    threshold: float
    recall: dict[str, float]
    false_alarms: dict[str, float]


@dataclass(frozen=True)
class Beside:
    """A period beside a beat and a window, all in frames.

    Attributes:
        beats, windows: how many of each the period is.
        on_beat, on_window: whether it is a whole number of them, within the tolerance.
        confounded: whether it is both, so that nothing tells which of them it comes from.
    """

    beats: float
    windows: float
    on_beat: bool
    on_window: bool
    confounded: bool


def small_pixels(frames: NDArray[np.uint8], side: int = 16) -> Tensor:
    """A stand-in for LPIPS that needs no weights: frames (k h w 3) shrunk to `side` x `side`, as rows (k d) in 0..1."""
    pictures = torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, 1).contiguous().float() / 255
    return F.adaptive_avg_pool2d(pictures, side).flatten(1)


def distance_matrix(rows: Tensor, squared: bool = False) -> Array:
    """Distances (k k) between the rows (k d) of all frames, Euclidean or its square.

    Raises:
        ValueError: not (k d), or not finite.
    """
    if rows.ndim != 2 or not rows.isfinite().all():
        raise ValueError(f"rows must be finite with shape (k d), one a frame, got {tuple(rows.shape)}")
    rows = rows.double() - rows[:1].double()  # from the first frame on: a still picture gives exact zeros
    lengths = rows.square().sum(dim=1)
    found = (lengths[:, None] + lengths - 2 * rows @ rows.T).clamp(min=0).fill_diagonal_(0).numpy()
    return found if squared else np.sqrt(found)


def mean_by_lag(distances: Array, longest: int) -> Array:
    """r(k) for k = 1 .. longest: the mean of each off-diagonal of (frames frames)."""
    return np.array([np.diagonal(distances, lag).mean() for lag in range(1, longest + 1)])


def read_loops(distances: Array, longest: int | None = None) -> LoopReading:
    """Look for loops in the distances (k k) of all frames of one video.

    Args:
        distances: from `distance_matrix`, or any other.
        longest: largest lag that is looked at; half the video, unless told. A loop must fit twice into it to be seen
            in the spectrum.

    Raises:
        ValueError: not square, not finite, or too short: at least 16 lags are needed.
    """
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1] or not np.isfinite(distances).all():
        raise ValueError(f"distances must be finite with shape (k k), got {distances.shape}")
    longest = len(distances) // 2 if longest is None else longest
    if not 16 <= longest < len(distances):
        raise ValueError(
            f"{len(distances)} frames and lags up to {longest}: give at least 16 lags, and more frames than lags"
        )
    r = mean_by_lag(distances, longest)
    if r.max() <= 0:  # a still picture repeats at every lag and loops at none
        nothing = np.zeros(longest * PADDING // 2 + 1)
        return LoopReading(r, np.fft.rfftfreq(longest * PADDING), nothing, 0.0, math.nan, 0.0, math.nan)
    taper = np.hanning(longest)
    spectrum = np.abs(np.fft.rfft(detrend(r) * taper, longest * PADDING))
    amplitudes = 2 * spectrum / taper.sum() / r.mean()
    frequencies = np.fft.rfftfreq(longest * PADDING)
    twice = frequencies >= 2 / longest  # slower than that, it is a trend
    peak = np.flatnonzero(twice)[amplitudes[twice].argmax()]
    depth, lag = _deepest(r)
    return LoopReading(
        r, frequencies, amplitudes, float(amplitudes[peak]), float(1 / frequencies[peak]), depth, lag
    )


def _deepest(r: Array) -> tuple[float, float]:
    """Depth of the deepest minimum, and the shortest lag with one nearly as deep, refined by a parabola."""
    minima, _ = find_peaks(-r)
    if len(minima) == 0:
        return 0.0, math.nan
    depths = 1 - r[minima] / np.median(r)
    at = int(minima[np.argmax(depths >= AS_DEEP * depths.max())]) if depths.max() > 0 else int(minima[0])
    below, here, above = r[at - 1 : at + 2]
    shift = 0.5 * (below - above) / max(below - 2 * here + above, 1e-12)
    return float(max(depths.max(), 0.0)), float(at + 1 + np.clip(shift, -0.5, 0.5))


def calibrate(looping: Sequence[float], others: Sequence[float]) -> Calibration:
    """The threshold in the middle of the gap that parts scores of looping videos best from those of others.

    "Best" is recall minus false alarms (Youden), so neither set's size matters. State recall and false alarms on
    *other* videos than these.

    Raises:
        ValueError: fewer than two videos on either side, or scores that are not finite.
    """
    if min(len(looping), len(others)) < 2 or not np.isfinite([*looping, *others]).all():
        raise ValueError("calibration needs at least two finite scores of each kind")
    levels = np.unique([*looping, *others])
    # between two neighbouring scores, or below all, or above all
    candidates = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2, [levels[-1] + 1]])
    gain = [np.mean(np.array(looping) > each) - np.mean(np.array(others) > each) for each in candidates]
    threshold = float(candidates[int(np.argmax(gain))])
    return Calibration(threshold, looping_share(looping, threshold), looping_share(others, threshold))


def looping_share(scores: Sequence[float], threshold: float) -> dict[str, float]:
    """Share of videos above the threshold, with its 95 % Wilson interval."""
    return share_with_interval(score > threshold for score in scores)


def precision(hits: int, false_alarms: int) -> dict[str, float]:
    """Share of the videos called looping that loop, with its 95 % Wilson interval. It depends on how many of each
    were looked at: say so.

    Raises:
        ValueError: nothing was called looping.
    """
    if hits + false_alarms == 0:
        raise ValueError("nothing was called looping, so there is no precision")
    return wilson(hits, hits + false_alarms)


def beside(period: float, beat: float, window: float, tolerance: float = 0.5) -> Beside:
    """Set a period beside the beat and the model's window, all in frames.

    Args:
        period: `LoopReading.lag` or `.period`.
        beat: its length.
        window: its length.
        tolerance: how far the period may be from a whole number of them, in frames.

    Raises:
        ValueError: a length that is not positive.
    """
    if not (period > 0 and beat > 0 and window > 0):
        raise ValueError(f"lengths must be positive, got period={period}, beat={beat}, window={window}")

    def whole(unit: float) -> bool:
        times = round(period / unit)
        return times >= 1 and abs(period - times * unit) <= tolerance

    on_beat, on_window = whole(beat), whole(window)
    return Beside(period / beat, period / window, on_beat, on_window, on_beat and on_window)
