"""Rows against real clips: from windows as the paper draws them, to two sides that share no clip."""

import torch

from rflav_lib.evaluation.scoring import further
from rflav_lib.metrics.feature_set import FeatureSet, Origin, library_versions


def of(values):
    return FeatureSet(values, Origin("clips", len(values), 0, "a", "b", "c", "none", library_versions()))


def test_a_perfect_model_is_told_from_real_clips_by_neither_distance_though_windows_share_clips():
    """160 windows a set, all from the same 60 clips, which correlate by 0.8."""
    generator, told = torch.Generator().manual_seed(0), 0
    for _ in range(8):
        own = torch.randn(60, 8, generator=generator)
        which = torch.randperm(60 * 8, generator=generator)[:320] % 60
        windows = 0.8**0.5 * own[which] + 0.2**0.5 * torch.randn(320, 8, generator=generator)
        clips = [f"clip {number}" for number in which.tolist()]
        sets = [(of(windows[rows]), clips[rows]) for rows in (slice(0, None, 2), slice(1, None, 2))]
        samples = of(torch.randn(160, 8, generator=generator)), range(160)
        for metric in ("fvd", "kvd"):
            found = further(sets[0], samples, sets[1], metric, 30, 0)
            told += found["low"] > 0 or found["high"] < 0
            assert sum(found["clips"]) == 60 and 150 <= found["windows"] <= 160
    assert told <= 1


def test_windows_of_one_clip_are_no_two_sides():
    values = torch.randn(10, 3)
    real, samples = (of(values), ["one"] * 10), (of(values), range(10))
    assert further(real, samples, real, "fvd", 10, 0) is None
    single = (of(values), ["one"] * 9 + ["two"])
    assert further(single, samples, real, "kvd", 10, 0) is None, "a single window of another clip"
    pair = (of(values), ["one"] * 8 + ["two"] * 2)
    found = further(pair, samples, real, "kvd", 10, 0)
    assert found["low"] is None and found["windows"] == 2
