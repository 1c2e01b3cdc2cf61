"""The copying test on sets whose answer is known."""

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.evaluation.memorisation import copying, nearest, thumbnails


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


def test_thumbnails_measure_in_grey_levels():
    clip = make_clip("toy-landscape", 0, 0, 3).clip
    dark, light = (type(clip)(np.full_like(clip.frames, level), clip.waveform) for level in (10, 30))
    points = thumbnails([dark, light])
    assert points.shape == (2, 3 * 16 * 16 * 3)
    assert torch.dist(points[0], points[1]).item() == pytest.approx(20)
