"""Curves over the windows of long videos, and their intervals: over videos, within the classes they were drawn from.

Classes take turns in a set, so how often each is there is no chance, and a draw that changes it overstates what chance
does: by ten times for a Fréchet distance. A draw with replacement also holds copies, and a set with copies lies further
from anything. So what is drawn are not sets but *shares*: how far each video moves the figure from what its class's
others do, found by leaving it out (the jackknife). Drawn within their class, they are added to the value.

For a mean that is the bootstrap within classes. For a Fréchet distance of 5 classes, 8 clips and 8 features each, the
intervals hold the truth in 95 % of all cases or a little more; of 70 clips with 64 features they are 1.5 times too
wide (`tests/metrics/test_curves.py`). The truth is what so many clips give on average: how far a Fréchet distance of
few clips is from that of many, no interval tells. Nor does it hold what another training of the model would change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rflav_lib.metrics.intervals import Figure, interval

Array = NDArray[np.float64]
Classes = Sequence[int | None] | None
"""The class of each video; None, or all None, where there are none."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A figure for each window, with a 95 % interval over videos.

    Attributes:
        starts: first frame of each window w.
        value, low, high: (w,); low and high are NaN where no resamples were asked for, or there are too few videos.
        resampled: (resamples w), the curve of each set of videos drawn with replacement, within classes.
        shares: (n w), what each video adds to the value beyond the others of its class, see `within_classes`.
    """

    starts: tuple[int, ...]
    value: Array
    low: Array
    high: Array
    resampled: Array
    shares: Array


def within_classes(parts: Array, classes: Classes = None) -> Array:
    """Parts (n w) that videos have in a figure, as their distance from the mean part of their class.

    Each class's are made longer by sqrt(k / (k - 1)), so that draws of its k videos spread as independent ones would.
    """
    found = np.empty_like(parts)
    for members in strata(len(parts), classes):
        k = len(members)
        own = parts[members]
        found[members] = (own - own.mean(axis=0)) * (np.sqrt(k / (k - 1)) if k > 1 else np.nan)
    return found


def drawn_sums(shares: Array, resamples: int, seed: int = 0, classes: Classes = None) -> Array:
    """Sums (resamples w) of the shares (n w) of videos that are drawn with replacement, within classes.

    The draws are a function of n, seed and classes: sets of as many videos are drawn alike.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((resamples, shares.shape[1]))
    for members in strata(len(shares), classes):
        total += shares[members[rng.integers(len(members), size=(resamples, len(members)))]].sum(axis=1)
    return total


def strata(count: int, classes: Classes = None) -> list[NDArray[np.int64]]:
    """Numbers of the videos of each class. One list of all without classes, and where a class has a single video.

    (A single one does not tell how much its class varies: the interval is then too wide, rather than too narrow.)

    Raises:
        ValueError: not one class for each video, or classes of some alone.
    """
    everyone = [np.arange(count)]
    if classes is None or (given := set(classes)) == {None}:
        return everyone
    if len(classes) != count or None in given:
        raise ValueError(f"{count} videos need a class each, or none at all; got {list(classes)}")
    found = [np.flatnonzero(np.array(classes) == each) for each in sorted(given, key=int)]  # type: ignore[arg-type]
    return found if min(map(len, found)) > 1 else everyone


def with_interval(
    starts: tuple[int, ...], value: Array, shares: Array, resamples: int, seed: int, classes: Classes
) -> Curve:
    """The curve of values (w,) and shares (n w)."""
    return _curve(starts, value, value + drawn_sums(shares, resamples, seed, classes), shares)


def rise(curve: Curve, first: int, last: int) -> Figure:
    """How much a curve climbs from the window that begins at frame `first` to the one at `last`, with its interval.

    Raises:
        ValueError: no window begins there.
    """
    for start in (first, last):
        if start not in curve.starts:
            raise ValueError(f"no window begins at frame {start}; windows begin at {curve.starts}")
    a, b = curve.starts.index(first), curve.starts.index(last)
    return interval(float(curve.value[b] - curve.value[a]), curve.resampled[:, b] - curve.resampled[:, a])


def mean(curve: Curve) -> Figure:
    """The mean over all windows, with its interval: whole curves are drawn, so windows may hang together."""
    return interval(float(curve.value.mean()), curve.resampled.mean(axis=1))


def beyond(generated: Curve, control: Curve) -> Curve:
    """Generated minus control, for each window, with the interval of the difference of two independent sets.

    Where the interval holds 0, generated videos are not seen to move further than real ones do.

    Raises:
        ValueError: windows that do not correspond, or curves without the same number of resamples.
    """
    if generated.starts != control.starts:
        raise ValueError(
            "the two curves have different windows: measure both with one length, size and stride"
        )
    if len(generated.resampled) != len(control.resampled):
        raise ValueError("the two curves need the same number of resamples")
    # the control's draws in another order: draws of one seed would hang together
    drawn = generated.resampled - control.resampled[::-1]
    shares = np.concatenate([generated.shares, -control.shares])
    return _curve(generated.starts, generated.value - control.value, drawn, shares)


def _curve(starts: tuple[int, ...], value: Array, resampled: Array, shares: Array) -> Curve:
    if len(resampled):
        low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
    else:
        low = high = np.full(len(value), np.nan)
    return Curve(starts, value, low, high, resampled, shares)
