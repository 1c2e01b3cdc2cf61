"""The difference of two distances: of one distribution none, of another one some; and no verdict from overlap."""

import math

import pytest
import torch

from rflav_lib.metrics.comparison import compare
from rflav_lib.metrics.difference import difference
from rflav_lib.metrics.feature_set import FeatureSet, Origin, library_versions


def of(values):
    origin = Origin("clips", len(values), 0, "a network", "a layer", "none", "none", library_versions())
    return FeatureSet(values, origin)


def features(seed, shift=0.0, n=120, width=4):
    return of(
        torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
    )


@pytest.mark.parametrize("metric", ["fvd", "kvd"])
def test_it_holds_0_for_halves_of_one_distribution_and_not_for_a_shifted_one(metric):
    held = 0
    for seed in range(0, 60, 3):
        reference, control, samples = (features(seed + k) for k in range(3))
        found = difference(reference, samples, control, metric, resamples=60)
        ours, theirs = (compare(reference, each, metric, resamples=0).value for each in (samples, control))
        assert abs(found.value - (ours - theirs)) < 0.2 * (found.high - found.low), "but for the bias"
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


def windows_of_clips(clips, n, width, generator, alike=0.8):
    """Real windows that correlate within a clip: features, and the clip of each."""
    own = torch.randn(clips, width, generator=generator, dtype=torch.float64)
    which = torch.randint(clips, (n,), generator=generator)
    luck = torch.randn(n, width, generator=generator, dtype=torch.float64)
    return of(alike**0.5 * own[which] + (1 - alike) ** 0.5 * luck), which.tolist()


@pytest.mark.parametrize("metric", ["fvd", "kvd"])
def test_a_perfect_model_is_not_told_from_windows_of_few_clips(metric):
    """210 windows of 50 clips on either side; the model's samples were drawn apart."""
    told, ignoring_clips, generator = [], [], torch.Generator().manual_seed(0)
    for _ in range(12):
        (reference, first), (control, second) = (windows_of_clips(50, 210, 16, generator) for _ in range(2))
        samples = of(torch.randn(210, 16, generator=generator, dtype=torch.float64))
        clips = [("a", each) for each in first], range(210), [("b", each) for each in second]
        for found, how in ((told, clips), (ignoring_clips, None)):
            one = difference(reference, samples, control, metric, resamples=50, clips=how)
            found.append((one.low > 0) - (one.high < 0))
    assert sum(map(abs, told)) <= 1
    assert sum(map(abs, ignoring_clips)) >= 3, "each window taken for a clip"


def test_a_worse_model_is_told_from_windows_of_few_clips():
    generator = torch.Generator().manual_seed(1)
    (reference, first), (control, second) = (windows_of_clips(50, 210, 16, generator) for _ in range(2))
    samples = of(torch.randn(210, 16, generator=generator, dtype=torch.float64) + 0.6)
    clips = [("a", each) for each in first], range(210), [("b", each) for each in second]
    for metric in ("fvd", "kvd"):
        assert difference(reference, samples, control, metric, resamples=50, clips=clips).low > 0


def test_a_control_of_the_references_clips_is_refused():
    clips = range(120), range(120, 240), range(100, 220)
    with pytest.raises(ValueError, match="reference and control share 20 clips"):
        difference(features(0), features(1), features(2), "fvd", clips=clips)


def test_without_resamples_there_is_no_interval_and_other_sets_are_refused():
    found = difference(features(0), features(2), features(1), "fvd", resamples=0)
    assert math.isnan(found.low) and math.isnan(found.high) and found.value != 0
    with pytest.raises(ValueError, match="distance depends on N"):
        difference(features(0), features(2, n=60), features(1), "fvd")
