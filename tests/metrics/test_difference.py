"""The difference of two distances: of one distribution none, of another one some; and no verdict from overlap."""

import math

import pytest
import torch

from rflav_lib.metrics.comparison import compare
from rflav_lib.metrics.difference import difference
from rflav_lib.metrics.feature_set import FeatureSet, Origin, library_versions


def features(seed, shift=0.0, n=120, width=4):
    values = torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
    origin = Origin("clips", n, 0, "a network", "a layer", "none", "none", library_versions())
    return FeatureSet(values, origin)


@pytest.mark.parametrize("metric", ["fvd", "kvd"])
def test_it_holds_0_for_halves_of_one_distribution_and_not_for_a_shifted_one(metric):
    held = 0
    for seed in range(0, 60, 3):
        reference, control, samples = (features(seed + k) for k in range(3))
        found = difference(reference, samples, control, metric, resamples=60)
        ours, theirs = (compare(reference, each, metric, resamples=0).value for each in (samples, control))
        assert found.value == pytest.approx(ours - theirs)
        held += found.low <= 0 <= found.high
    assert held >= 17, "of 20, at 95 %"
    reference, control = features(0), features(1)
    shifted = difference(reference, features(2, shift=0.5), control, metric, resamples=60)
    assert shifted.low > 0
    assert difference(reference, control, features(2, shift=0.5), metric, resamples=60).high < 0


def test_what_the_reference_has_by_luck_is_in_both_and_falls_out():
    """Where both sets are far off, the reference's own noise is in each interval; the difference has none of it."""
    reference, control, samples = features(0), features(1, shift=3.0), features(1, shift=3.05)
    alone = [compare(reference, each, "fvd", resamples=100) for each in (control, samples)]
    assert alone[1].low < alone[0].high, "the intervals overlap"
    found = difference(reference, samples, control, "fvd", resamples=100)
    assert (found.high - found.low) ** 2 < sum((each.high - each.low) ** 2 for each in alone)


def test_without_resamples_there_is_no_interval_and_other_sets_are_refused():
    found = difference(features(0), features(2), features(1), "fvd", resamples=0)
    assert math.isnan(found.low) and math.isnan(found.high) and found.value != 0
    with pytest.raises(ValueError, match="distance depends on N"):
        difference(features(0), features(2, n=60), features(1), "fvd")
