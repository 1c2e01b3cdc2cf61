"""Distances of each row from the reference, as figures with everything that belongs to them."""

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch

from rflav_lib.evaluation.networks import Measure
from rflav_lib.metrics.comparison import METRICS, Figure, at_infinity, check_comparable, compare
from rflav_lib.metrics.difference import difference
from rflav_lib.metrics.feature_set import FeatureSet
from rflav_lib.metrics.jackknife import Clips, two_sides

Set = tuple[FeatureSet, Clips]
"""Features, and the clip that each row was cut from, or made for."""


def score(
    reference: Set, samples: Set, measure: Measure, resamples: int, seed: int, extrapolate: bool
) -> tuple[dict[str, Figure], dict[str, float], list[str]]:
    """Figures by metric, their values at 1/N -> 0 if asked for, and warnings in words (few samples, say)."""
    clips = reference[1], samples[1]
    figures, limits = {}, {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for metric in measure.metrics:
            figures[metric] = compare(
                reference[0], samples[0], metric, resamples=resamples, seed=seed, clips=clips
            )
            if extrapolate:
                limits[metric] = at_infinity(reference[0], samples[0], metric, seed=seed)
    words = [_plain(str(each.message)) for each in caught if issubclass(each.category, UserWarning)]
    return figures, limits, list(dict.fromkeys(words))


def _plain(text: str) -> str:
    """A warning of the distances, which know the two sets as first and second, for both."""
    return text.replace(" of 'first'", "").replace(" of 'second'", "")


def as_json(figure: Figure, limit: float | None) -> dict[str, Any]:
    """A figure as a table needs it; what is NaN is null."""
    origin = asdict(figure.samples)
    return {
        "title": METRICS[figure.metric].title,
        "value": figure.value,
        "low": None if math.isnan(figure.low) else figure.low,
        "high": None if math.isnan(figure.high) else figure.high,
        "self_distance": figure.self_distance if METRICS[figure.metric].has_floor else None,
        "at_infinity": limit,
        "reference": figure.reference.data,
        "reference_samples": figure.reference.samples,
        **{name: origin[name] for name in ("samples", "seed", "network", "layer", "resize", "codec")},
        "versions": dict(origin["versions"]),
    }


def score_all(
    read: Callable[[str, Measure], FeatureSet],
    clips: Callable[[str], Clips],
    real: list[Measure],
    rows: dict[str, list[Measure]],
    resamples: int,
    seed: int,
    extrapolate: bool,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Figures of all rows, checked to belong into one table.

    Args:
        read: the features of a set ("reference", "control", or a row's key) by a measure.
        clips: of each row of a set.
        real: measures of the control, real clips as many as samples.
        rows: key of each row -> its measures.
        resamples: of each interval, see `compare`.
        seed: of the share-out of clips.
        extrapolate: also the values at 1/N -> 0.

    Returns:
        Row's key, or "control" -> metric -> figure as JSON, each row's with how much further from real clips it is
        than others are ("over_real", see `further`); and warnings.

    Raises:
        ValueError: features of other origin than the reference's.
    """
    rows = {"control": real, **rows}
    found: dict[str, dict[str, Any]] = {key: {} for key in rows}
    by_metric: dict[str, list[Figure]] = {}
    told: list[str] = []
    for measure in {measure.key: measure for each in rows.values() for measure in each}.values():
        reference, control = ((read(key, measure), clips(key)) for key in ("reference", "control"))
        for key, wanted in rows.items():
            if measure not in wanted:
                continue
            samples = read(key, measure), clips(key)
            figures, limits, words = score(reference, samples, measure, resamples, seed, extrapolate)
            told += [f"{measure.key}: {word}" for word in words]
            for metric, figure in figures.items():
                found[key][metric] = as_json(figure, limits.get(metric))
                by_metric.setdefault(metric, []).append(figure)
                if key != "control":
                    over = further(reference, samples, control, metric, resamples, seed)
                    if over is None:
                        told.append("all real windows are of one clip: no row can be told from real clips")
                    else:
                        found[key][metric]["over_real"] = over
    for of_one_metric in by_metric.values():
        check_comparable(of_one_metric)
    return found, list(dict.fromkeys(told))


def further(
    reference: Set, samples: Set, control: Set, metric: str, resamples: int, seed: int
) -> dict[str, Any] | None:
    """How much further samples are from real clips than other real clips are; None where there are no others.

    The windows of reference and control may come from the same clips, as the paper draws them. Here they are put
    together and shared out anew, so that the two sides have no clip in common, and as many windows; of the samples the
    first so many are taken.

    Returns:
        value, low and high (None without resamples, or with too few clips), windows of a side, and the clips that they
        are of, of either side.
    """
    values = torch.cat([each.values for each, _ in (reference, control)])
    clips = [*reference[1], *control[1]]
    sides = two_sides(clips)
    count = len(sides[0])
    if count < 2:
        return None
    near, other = (_of(reference[0], values[side]) for side in sides)
    made = _of(samples[0], samples[0].values[:count])
    ours, theirs = ([clips[row] for row in side] for side in sides)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few samples: `score` has told so
        found = difference(
            near,
            made,
            other,
            metric,
            resamples=resamples,
            seed=seed,
            clips=(ours, samples[1][:count], theirs),
        )
    figure = {name: None if math.isnan(value) else value for name, value in asdict(found).items()}
    return {**figure, "windows": count, "clips": [len(set(ours)), len(set(theirs))]}


def _of(origin: FeatureSet, values: torch.Tensor) -> FeatureSet:
    """Some rows of a set, or of it and another that came the same way."""
    return FeatureSet(values, replace(origin.origin, samples=len(values)))
