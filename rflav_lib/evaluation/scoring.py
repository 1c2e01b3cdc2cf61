"""Distances of each row from the reference, as figures with everything that belongs to them."""

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rflav_lib.evaluation.networks import Measure
from rflav_lib.metrics.comparison import METRICS, Figure, at_infinity, check_comparable, compare
from rflav_lib.metrics.difference import difference
from rflav_lib.metrics.feature_set import FeatureSet


def score(
    reference: FeatureSet, samples: FeatureSet, measure: Measure, resamples: int, seed: int, extrapolate: bool
) -> tuple[dict[str, Figure], dict[str, float], list[str]]:
    """Figures by metric, their values at 1/N -> 0 if asked for, and warnings in words (few samples, say)."""
    figures, limits = {}, {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for metric in measure.metrics:
            figures[metric] = compare(reference, samples, metric, resamples=resamples, seed=seed)
            if extrapolate:
                limits[metric] = at_infinity(reference, samples, metric, seed=seed)
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
    real: list[Measure],
    rows: dict[str, list[Measure]],
    resamples: int,
    seed: int,
    extrapolate: bool,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Figures of all rows, checked to belong into one table.

    Args:
        read: the features of a set ("reference", "control", or a row's key) by a measure.
        real: measures of the control, real clips as many as samples.
        rows: key of each row -> its measures.
        resamples: of each interval.
        seed: of the bootstrap.
        extrapolate: also the values at 1/N -> 0.

    Returns:
        Row's key, or "control" -> metric -> figure as JSON, each row's with how much further from the reference it is
        than the control; and warnings.

    Raises:
        ValueError: features of other origin than the reference's.
    """
    rows = {"control": real, **rows}
    found: dict[str, dict[str, Any]] = {key: {} for key in rows}
    by_metric: dict[str, list[Figure]] = {}
    told: list[str] = []
    for measure in {measure.key: measure for each in rows.values() for measure in each}.values():
        reference, control = (read(key, measure) for key in ("reference", "control"))
        for key, wanted in rows.items():
            if measure not in wanted:
                continue
            samples = read(key, measure)
            figures, limits, words = score(reference, samples, measure, resamples, seed, extrapolate)
            told += [f"{measure.key}: {word}" for word in words]
            for metric, figure in figures.items():
                found[key][metric] = as_json(figure, limits.get(metric))
                by_metric.setdefault(metric, []).append(figure)
                if key != "control":
                    further = _further(reference, samples, control, metric, resamples, seed)
                    found[key][metric]["over_real"] = further
    for of_one_metric in by_metric.values():
        check_comparable(of_one_metric)
    return found, list(dict.fromkeys(told))


def _further(
    reference: FeatureSet, samples: FeatureSet, control: FeatureSet, metric: str, resamples: int, seed: int
) -> dict[str, float | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few samples: `score` has told so
        found = difference(reference, samples, control, metric, resamples=resamples, seed=seed)
    return {name: None if math.isnan(value) else value for name, value in asdict(found).items()}
