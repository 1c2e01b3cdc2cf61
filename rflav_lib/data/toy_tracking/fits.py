"""Timing things that fall between samples: fits to a cycle, and triangular flashes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def arc(phase: Array) -> Array:
    """Height of something that bounces, 0 at phase 0 and 1, 1 between."""
    u = phase % 1.0
    return 4 * u * (1 - u)


def cosine(phase: Array) -> Array:
    """1 at phase 0, -1 at phase 1/2."""
    return np.cos(2 * np.pi * phase)


def fit_cycle(
    times: Array,
    values: Array,
    near: float,
    slack: float,
    reach: float,
    periods: Array,
    shape: Callable[[Array], Array],
) -> tuple[float, float, float]:
    """Find when a cycle of unknown period has its phase 0, near a first guess.

    Least squares of `values` against offset + gain * shape((t - t0) / period), over all samples within
    `reach` seconds of `near`, all `periods`, and t0 within `slack` of `near` in steps of 2 ms. Only a window
    is fitted because a generated motion need not keep its period for the whole clip.

    Returns: (t0, gain, share of the variance explained). The share is 0 if there are fewer than 5 samples.
    """
    window = np.abs(times - near) <= reach
    t, v = times[window], values[window]
    if len(t) < 5 or np.ptp(v) == 0:
        return near, 0.0, 0.0
    starts = near + np.arange(-slack, slack + 1e-9, 0.002)
    basis = shape((t - starts[:, None, None]) / periods[:, None])  # start, period, sample
    basis = basis - basis.mean(axis=-1, keepdims=True)
    power = (basis**2).sum(axis=-1) + 1e-9
    gain = basis @ (v - v.mean()) / power
    explained = gain**2 * power / ((v - v.mean()) ** 2).sum()
    best = np.unravel_index(np.argmax(explained), explained.shape)
    return float(starts[best[0]]), float(gain[best]), float(explained[best])


def fit_shape(
    times: Array, values: Array, near: float, slack: float, shape: Callable[[Array], Array]
) -> tuple[float, float, float]:
    """Find t0 near a first guess such that `values` are best explained by offset + gain * shape(t - t0).

    Returns: (t0, gain, share of the variance explained), t0 in steps of 2 ms.
    """
    return fit_cycle(times, values, near, slack, np.inf, np.ones(1), shape)


def peaks(values: Array, least: float, apart: int) -> list[int]:
    """Places of local maxima of at least `least`, `apart` samples or more from any higher one; ends do not
    count.
    """
    inner = np.arange(1, len(values) - 1)
    inner = inner[
        (values[inner] >= values[inner - 1]) & (values[inner] > values[inner + 1]) & (values[inner] >= least)
    ]
    chosen: list[int] = []
    for place in inner[np.argsort(-values[inner], kind="stable")]:
        if all(abs(int(place) - other) >= apart for other in chosen):
            chosen.append(int(place))
    return sorted(chosen)


def flash_times(light: Array, frame_rate: float, least: float) -> list[float]:
    """Times in seconds of flashes in `light` (k,), one value a frame.

    A flash is a triangle 0.1 s to each side (see `toy_scenes.canvas.flash`): two neighbouring frames share
    it, their sum is its strength and their ratio its exact time. `least` is the least sum.
    """
    pair = light[:-1] + light[1:]
    padded = np.concatenate(([-np.inf], pair, [-np.inf]))
    return [
        (k + 0.5 + light[k + 1] / pair[k]) / frame_rate
        for k in (place - 1 for place in peaks(padded, least, 2))
    ]
