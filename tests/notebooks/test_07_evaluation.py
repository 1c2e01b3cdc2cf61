"""Notebook 07 writes out the metrics: distances, extrapolation and AV-Align are the library's, number for number."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch

import rflav_lib.metrics.distances as library
import rflav_lib.metrics.sync as library_sync
from rflav_lib.data.toy import make_clip
from rflav_lib.evaluation import memorisation
from rflav_lib.metrics.comparison import at_infinity
from rflav_lib.metrics.feature_set import FeatureSet, Origin, library_versions
from tests.notebook_tools import definitions


@functools.cache
def notebook():
    return definitions("07_evaluation")


def sets(samples=90, others=70, width=12, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    falling = scale * torch.logspace(0, -2, width)
    x, y = (torch.randn(n, width, generator=generator) for n in (samples, others))
    return (x * falling).double(), ((y + 0.2) * falling).double()


@pytest.mark.parametrize("scale", [1.0, 1e-3], ids=["usual", "tiny"])
@pytest.mark.parametrize("width", [1, 12, 60])
def test_both_frechet_distances(width, scale):
    x, y = sets(width=width, scale=scale)
    close = {"rel": 1e-7, "abs": 1e-18}
    assert notebook().frechet(x, y) == pytest.approx(library.frechet(x, y), **close)
    assert notebook().frechet_mmd(x, y) == pytest.approx(library.frechet_mmd(x, y), **close)
    assert notebook().frechet_mmd(x, x) == pytest.approx(
        library.frechet_mmd(x, x), rel=1e-4, abs=1e-10 * scale**2
    )


def test_moments():
    x, _ = sets()
    for mine, theirs in zip(notebook().moments(x), library.moments(x), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("sizes", [(5, 9), (90, 70)])
def test_kernel_distance(sizes):
    x, y = sets(*sizes)
    assert notebook().kernel_distance(x, y) == pytest.approx(
        library.kernel_distance(x, y), rel=1e-10, abs=1e-15
    )


def test_the_limit_of_endless_samples():
    x, y = sets(samples=80, others=80)
    origin = Origin("drawn", 80, 0, "none", "none", "none", "none", library_versions())
    expected = at_infinity(FeatureSet(x, origin), FeatureSet(y, origin), "fvd")
    assert notebook().limit(x, y) == pytest.approx(expected, rel=1e-7)
    fewer = notebook().limit(x, y, points=3, repeats=1)
    assert fewer == pytest.approx(
        at_infinity(FeatureSet(x, origin), FeatureSet(y, origin), "fvd", points=3, repeats=1), rel=1e-7
    )
    assert fewer != pytest.approx(expected, rel=1e-3)


def times(count, seed):
    return np.sort(np.random.default_rng(seed).uniform(0, 8, count))


def test_av_align_and_its_chance():
    for (sounds, sights), tolerance in itertools.product(((9, 12), (30, 8), (1, 1)), (0.05, 0.1)):
        a, b = times(sounds, 1), times(sights, 2)
        assert notebook().one_to_one(a, b, tolerance) == library_sync.one_to_one(a, b, tolerance)
        score = functools.partial(library_sync.intersection_over_union, tolerance=tolerance)
        expected = library_sync.against_chance(score, a, b, 8.0)
        found = notebook().excess(a, b, 8.0, tolerance)
        assert found == pytest.approx((expected.score, expected.excess))
    assert math.isclose(notebook().intersection_over_union(a, a, 0.1), 1)


def test_the_chance_to_be_nearer():
    """By hand: of four pairs one is smaller, one is a tie."""
    ours, theirs = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0])
    assert notebook().chance_nearer(ours, theirs) == pytest.approx((1 + 0.5) / 4)
    far = notebook().nearest(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.tensor([[0.0, 2.0], [6.0, 4.0]]))
    assert far.tolist() == pytest.approx([2.0, 5.0])


def test_frames_change_places_and_none_is_lost():
    clip = make_clip("toy-landscape", 0, 0, 16).clip
    before = {frame.tobytes() for frame in clip.frames}
    moved = [
        int((notebook().shuffle(clip, by).frames != clip.frames).any(axis=(1, 2, 3)).sum())
        for by in (3, 6, 16)
    ]
    assert {frame.tobytes() for frame in notebook().shuffle(clip, 16).frames} == before
    assert moved[0] <= 3 and moved[1] <= 6 and moved[2] > moved[0]


def test_copies_are_judged_as_an_evaluation_judges_them():
    x, y = sets(samples=40, others=30)
    bank, _ = sets(samples=50, seed=1)
    found = [memorisation.nearest(each, bank) for each in (x, y)]
    mine = [notebook().nearest(each, bank) for each in (x, y)]
    for far, theirs in zip(mine, found, strict=True):
        torch.testing.assert_close(far, theirs.distance.double())
    assert notebook().chance_nearer(*mine) == pytest.approx(memorisation.copying(*found, resamples=0).chance)
