"""A distance between two sets as a figure that can be trusted: with its interval, its N and its origin.

`compare(real, generated, "fvd")` prints as "FVD 51.3 (49.0 to 53.8), N = 2048, I3D ..., 64x64 ..., codec none".
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rflav_lib.metrics.audioclip import MODE_NAMES
from rflav_lib.metrics.distances import (
    FAD_SCALE,
    Distance,
    frechet,
    frechet_mmd,
    kernel_distance,
    kernel_distance_weighted,
    kernels,
)
from rflav_lib.metrics.feature_set import FeatureSet, Origin, differences
from rflav_lib.metrics.jackknife import Clips, alone, jackknife


@dataclass(frozen=True)
class Metric:
    """A distance between sets.

    Attributes:
        title: as it stands in tables.
        distance: what computes it.
        hears: whether it is taken of features of sound; else of those of the picture.
        scale: the factor that published tables have before it.
        has_floor: whether a set can be off from itself.
        other_mode: name of a network whose features this distance must not be taken of.
        least: the smallest value that there is: no interval reaches below it.
    """

    title: str
    distance: Distance
    hears: bool = False
    scale: float = 1.0
    has_floor: bool = False
    other_mode: str = ""
    least: float = -math.inf


METRICS: dict[str, Metric] = {
    "fvd": Metric("FVD", frechet, least=0),
    "kvd": Metric("KVD", kernel_distance),
    # published FADs differ in the network's mode more than in the distance: the two halves of a recipe stay together
    "fad_exact": Metric(
        "FAD, exact", frechet, True, FAD_SCALE, other_mode=MODE_NAMES["mm_diffusion"], least=0
    ),
    "fad_mmd": Metric(
        "FAD, as MM-Diffusion", frechet_mmd, True, FAD_SCALE, True, other_mode=MODE_NAMES["exact"], least=0
    ),
}
"""Name -> distance, in the order of the tables' columns. An evaluation takes every one of them."""


@dataclass(frozen=True)
class Figure:
    """A measured distance.

    Attributes:
        metric: a name of `METRICS`.
        value: the distance, times the metric's factor.
        low, high: 95 % interval: how far another draw of as many samples of as many clips would lie; rather too wide
            than too narrow, see `jackknife.py`. It does not hold the bias that a small N gives a Fréchet distance; see
            `at_infinity`. NaN without resamples.
        self_distance: of the reference set, where it is not zero by definition; else 0.
        reference, samples: origins of both sets.
    """

    metric: str
    value: float
    low: float
    high: float
    self_distance: float
    reference: Origin
    samples: Origin

    def __str__(self) -> str:
        origin, n = self.samples, f"{self.samples.samples}"
        if self.reference.samples != self.samples.samples:
            n = f"{self.reference.samples} and {n}"
        interval = "" if math.isnan(self.low) else f" ({self.low:.4g} to {self.high:.4g})"
        floor = f", {self.self_distance:.4g} from itself" if METRICS[self.metric].has_floor else ""
        return (
            f"{METRICS[self.metric].title} {self.value:.4g}{interval}{floor}, N = {n}, {origin.network}, "
            f"{origin.layer}, {origin.resize}, codec {origin.codec}"
        )


def compare(
    reference: FeatureSet,
    samples: FeatureSet,
    metric: str,
    *,
    resamples: int = 100,
    seed: int = 0,
    different_n: bool = False,
    clips: tuple[Clips, Clips] | None = None,
) -> Figure:
    """Distance of `samples` from `reference`, with an interval.

    Args:
        reference: features of real clips.
        samples: features of generated clips (or of other real ones).
        metric: a name of `METRICS`.
        resamples: parts of the clips, at most, that are left out in turn for the interval; 0 gives none.
        seed: of the share-out of clips.
        different_n: allow sets of different size. A Fréchet distance depends on N strongly: two draws of one
            400-dimensional Gaussian are at 436 with 128 samples and at 40 with 2048.
        clips: that the rows of the reference and of the samples were cut from; None: each row is a clip of its own.

    Raises:
        ValueError: an unknown metric, features of AudioCLIP in the other metric's mode, sets of different origin, or
            of different N without `different_n`.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
    unfit = METRICS[metric].other_mode
    for each in (reference, samples):
        if unfit and each.origin.network.startswith(unfit):
            other = "fad_mmd" if metric == "fad_exact" else "fad_exact"
            raise ValueError(
                f"{metric} is not taken of the features of {each.origin.data!r}: they are of {each.origin.network}; "
                f"measure them by {other}, or extract them in the other mode"
            )
    if told := differences(reference.origin, samples.origin):
        raise ValueError(f"these sets cannot be compared: {'; '.join(told)}")
    if len(reference) != len(samples) and not different_n:
        raise ValueError(
            f"{len(reference)} reference samples and {len(samples)} others: a distance depends on N. Take as many "
            "of each, or pass different_n=True and say so beside the number"
        )
    chosen, x, y = METRICS[metric], reference.values, samples.values
    value = chosen.distance(x, y)
    low, high = (
        interval(x, y, chosen.distance, value, resamples, seed, clips) if resamples else (math.nan, math.nan)
    )
    floor = chosen.scale * chosen.distance(x, x) if chosen.has_floor else 0.0
    value, low, high = (chosen.scale * number for number in (value, low, high))
    low = low if math.isnan(low) else max(low, chosen.least)
    return Figure(metric, value, low, high, floor, reference.origin, samples.origin)


def check_comparable(figures: Sequence[Figure], *, different_n: bool = False) -> None:
    """Refuse to set figures beside each other that do not belong in one table.

    Raises:
        ValueError: other metrics, other networks, layers, resizes, codecs or versions, or another N (unless
            `different_n`).
    """
    for figure in figures[1:]:
        if figure.metric != figures[0].metric:
            raise ValueError(f"{figure.metric} and {figures[0].metric} are different metrics")
        if told := differences(figures[0].samples, figure.samples):
            raise ValueError(f"these figures cannot be compared: {'; '.join(told)}")
        mine, first = ((each.reference.samples, each.samples.samples) for each in (figure, figures[0]))
        if mine != first and not different_n:
            raise ValueError(
                f"figures of N = {first[1]} and N = {mine[1]} cannot be compared: measure both with the same N, "
                "extrapolate (at_infinity), or pass different_n=True and say so"
            )


def interval(
    x: Tensor,
    y: Tensor,
    distance: Distance,
    value: float,
    resamples: int,
    seed: int,
    clips: tuple[Clips, Clips] | None = None,
) -> tuple[float, float]:
    """95 % interval around `value`; arguments as `compare` has them, and what it is, `jackknife.py`."""
    pair = prepared(x, y, distance)
    sets = clips or (alone(len(x), "x"), alone(len(y), "y"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few samples: `compare` has said so already
        found = jackknife(lambda *rows: distance_of_rows(pair, *rows), sets, resamples, seed)
    return found.around(value)


@dataclass(frozen=True)
class Pair:
    """Two sets (n d) that are to be compared again and again, with the kernel of all their pairs where that helps."""

    x: Tensor
    y: Tensor
    distance: Distance
    kernel: tuple[Tensor, Tensor, Tensor] | None


def prepared(x: Tensor, y: Tensor, distance: Distance) -> Pair:
    """A pair of sets for `distance_of_rows`."""
    return Pair(x, y, distance, kernels(x, y) if distance is kernel_distance else None)


def distance_of_rows(pair: Pair, rows_x: Tensor, rows_y: Tensor) -> float:
    """The distance of sets that hold these rows of x (n,) and of y (m,), some more than once."""
    if pair.kernel is None:
        return pair.distance(pair.x[rows_x], pair.y[rows_y])
    # the kernel of such sets is that of the whole, with some rows counted twice
    counts = (rows.bincount(minlength=len(each)) for rows, each in ((rows_x, pair.x), (rows_y, pair.y)))
    return kernel_distance_weighted(*pair.kernel, *counts)


def at_infinity(
    reference: FeatureSet,
    samples: FeatureSet,
    metric: str,
    *,
    points: int = 8,
    repeats: int = 4,
    seed: int = 0,
) -> float:
    """The distance that a straight line through 1/N promises for endless samples.

    Takes subsets of N/2 to N samples of both sets, and continues the line to 1/N = 0. An estimate, with its own
    error: say that it is extrapolated. It needs N well above the number of features.

    Args:
        reference: features of real clips.
        samples: features of generated clips.
        metric: a name of `METRICS`.
        points: sizes of subsets.
        repeats: subsets of each size, whose mean is taken: one alone moves the line by as much as the bias.
        seed: of the subsets.
    """
    whole = compare(reference, samples, metric, resamples=0)
    generator, n = torch.Generator().manual_seed(seed), len(reference)
    sizes = torch.linspace(n // 2, n, points).round().long()
    chosen, values = METRICS[metric], []
    for size in sizes[:-1].tolist():
        tries = []
        for _ in range(repeats):
            rows = [torch.randperm(n, generator=generator)[:size] for _ in range(2)]
            tries.append(chosen.distance(reference.values[rows[0]], samples.values[rows[1]]))
        values.append(chosen.scale * sum(tries) / repeats)
    values.append(whole.value)
    inverse = 1 / sizes.double()
    lines = torch.stack([torch.ones_like(inverse), inverse], dim=1)
    return torch.linalg.lstsq(lines, torch.tensor(values, dtype=torch.float64)[:, None]).solution[0].item()
