"""The copying test on sets whose answer is known."""

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.evaluation.memorisation import HEARD, SEEN, copying, nearest, nearest_of_parts


def gaussian(n, seed, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_nearest_is_found():
    bank = gaussian(200, 0)
    found = nearest(bank[:70] + 1e-3, bank)
    assert found.index.tolist() == list(range(70))
    torch.testing.assert_close(found.distance, torch.full((70,), 1e-3 * 6**0.5, dtype=torch.float64))


def test_copies_other_draws_and_bad_samples_are_told_apart():
    bank, unseen = gaussian(400, 0), nearest(gaussian(100, 1), gaussian(400, 0))
    copies = copying(nearest(bank[:100] + 0.05 * gaussian(100, 2), bank), unseen, 100)
    fresh = copying(nearest(gaussian(100, 3), bank), unseen, 100)
    bad = copying(nearest(3 * gaussian(100, 4), bank), unseen, 100)
    assert copies.chance > 0.98 and copies.low > 0.95
    assert fresh.low < 0.5 < fresh.high and fresh.high - fresh.low < 0.25
    assert bad.chance < 0.1
    assert copies.median < fresh.median < bad.median
    assert fresh.median_unseen == copies.median_unseen


def test_windows_of_few_clips_make_a_wide_interval():
    """200 windows of 10 unseen clips are as sure as 10 clips are."""
    bank, clips = gaussian(400, 0), [number % 10 for number in range(200)]
    unseen = nearest(gaussian(10, 1).repeat(20, 1), bank)
    samples = nearest(gaussian(200, 2), bank)
    wide = copying(samples, unseen, 100, clips=(range(100, 300), clips))
    narrow = copying(samples, unseen, 100)
    assert wide.chance == narrow.chance
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_bank_in_parts_has_the_same_nearest():
    bank, samples = gaussian(200, 0), gaussian(30, 1)
    whole, parts = nearest(samples, bank), nearest_of_parts(samples, bank.split(70))
    assert parts.index.tolist() == whole.index.tolist()
    torch.testing.assert_close(parts.distance, whole.distance, rtol=0, atol=0)


def test_pixels_are_measured_in_grey_levels():
    clip = make_clip("toy-landscape", 0, 0, 3).clip
    dark, light = (type(clip)(np.full_like(clip.frames, level), clip.waveform) for level in (10, 30))
    points = SEEN.of_clips([dark, light])
    assert points.shape == (2, 3 * 16 * 16 * 3)
    assert torch.dist(points[0], points[1]).item() == pytest.approx(20)


def test_sound_is_measured_in_nepers_above_the_quiet_and_a_cut_changes_nothing():
    clip = make_clip("toy-landscape", 0, 0, 8).clip
    loud = np.random.default_rng(0).normal(0, 0.3, clip.waveform.shape).astype(np.float32)
    clip = type(clip)(clip.frames, loud)
    twice = type(clip)(clip.frames, 2 * clip.waveform)
    silence = [type(clip)(clip.frames, level * clip.waveform) for level in (0, 1e-4)]
    assert torch.dist(*HEARD.of_clips([clip, twice])).item() == pytest.approx(np.log(2), abs=1e-3)
    assert torch.dist(*HEARD.of_clips(silence)) == 0
    window = type(clip)(clip.frames[2:6], clip.waveform[2 * 1600 : 6 * 1600])
    torch.testing.assert_close(HEARD.points(HEARD.of_frames(clip)[2:6]), HEARD.of_clips([window])[0])
    assert HEARD.of_clips([window]).shape == (1, 2 * 64)
