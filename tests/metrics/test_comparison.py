"""A distance as a figure: what it carries, what it refuses, and that its interval and its limit are honest."""

import math
from dataclasses import replace

import pytest
import torch

from rflav_lib.metrics.audioclip import AudioCLIP
from rflav_lib.metrics.comparison import METRICS, Figure, at_infinity, check_comparable, compare
from rflav_lib.metrics.distances import FAD_SCALE, frechet, frechet_mmd
from rflav_lib.metrics.feature_set import FeatureSet, Origin, library_versions

REAL = Origin(
    "toy, real", 100, 0, "stand-in, sha 12", "pooled", "64x64 antialias", "none", library_versions()
)


def gaussian(samples=100, width=6, mean=0.0, seed=0, spread=1.0, **changes):
    generator = torch.Generator().manual_seed(seed)
    values = mean + spread * torch.randn(samples, width, generator=generator, dtype=torch.float64)
    return FeatureSet(values, replace(REAL, samples=samples, seed=seed, **changes))


def test_a_figure_carries_value_interval_n_and_both_origins():
    real, made = gaussian(seed=1), gaussian(mean=0.5, seed=2, data="toy, generated")
    figure = compare(real, made, "fvd", resamples=50)
    assert figure.value == frechet(real.values, made.values)
    assert figure.low < figure.value < figure.high
    assert (figure.reference, figure.samples) == (real.origin, made.origin)
    for fact in ("FVD", "N = 100", "stand-in, sha 12", "pooled", "64x64 antialias", "codec none"):
        assert fact in str(figure)
    assert compare(real, made, "fvd", resamples=50) == figure, "the same seed gives the same interval"
    assert math.isnan(compare(real, made, "fvd", resamples=0).low)


def test_fad_has_the_published_factor_and_its_self_distance():
    real, made = gaussian(spread=1e-3, seed=1), gaussian(spread=1e-3, mean=1e-3, seed=2)
    exact = compare(real, made, "fad_exact", resamples=0)
    published = compare(real, made, "fad_mmd", resamples=0)
    assert exact.value == pytest.approx(FAD_SCALE * frechet(real.values, made.values))
    assert published.value == pytest.approx(FAD_SCALE * frechet_mmd(real.values, made.values))
    assert exact.self_distance == 0
    assert published.self_distance == pytest.approx(FAD_SCALE * frechet_mmd(real.values, real.values))
    assert published.self_distance > 0.01
    assert "from itself" in str(published)


@pytest.mark.parametrize(
    "changed",
    [
        {"network": "I3D"},
        {"layer": "logits"},
        {"resize": "64x64"},
        {"codec": "mp4"},
        {"versions": (("torch", "1"),)},
    ],
)
def test_other_paths_are_refused_by_name(changed):
    (name,) = changed
    with pytest.raises(ValueError, match=f"{name} is"):
        compare(gaussian(), gaussian(seed=3, **changed), "fvd")
    figures = [
        compare(gaussian(**each), gaussian(seed=3, **each), "kvd", resamples=0) for each in ({}, changed)
    ]
    with pytest.raises(ValueError, match=f"{name} is"):
        check_comparable(figures)


def test_different_n_is_refused_unless_asked_for():
    few, many = gaussian(50), gaussian(100, seed=1)
    with pytest.raises(ValueError, match="50 reference samples and 100 others"):
        compare(few, many, "fvd")
    unequal = compare(few, many, "fvd", resamples=0, different_n=True)
    assert "N = 50 and 100" in str(unequal)
    small = compare(few, gaussian(50, seed=2), "fvd", resamples=0)
    large = compare(many, gaussian(100, seed=2), "fvd", resamples=0)
    with pytest.raises(ValueError, match="N = 100 and N = 50 cannot"):
        check_comparable([large, small])
    check_comparable([large, small], different_n=True)
    check_comparable([large, compare(many, gaussian(100, seed=3), "fvd", resamples=0)])
    with pytest.raises(ValueError, match="kvd and fvd are different"):
        check_comparable([large, compare(many, gaussian(100, seed=3), "kvd", resamples=0)])


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="fvd, kvd, fad_exact, fad_mmd, not 'fid'"):
        compare(gaussian(), gaussian(), "fid")
    assert list(METRICS) == ["fvd", "kvd", "fad_exact", "fad_mmd"]


@pytest.mark.parametrize("metric", ["fvd", "kvd"])
def test_the_interval_holds_the_spread_of_other_draws(metric):
    """Of many draws of the same N, most intervals must hold the mean of all: 95 % are asked, 85 % demanded."""

    def draw(number):
        pair = gaussian(60, 4, seed=2 * number), gaussian(60, 4, mean=0.6, seed=2 * number + 1)
        return compare(*pair, metric, resamples=100)

    figures = [draw(number) for number in range(60)]
    expected = sum(figure.value for figure in figures) / len(figures)
    held = sum(figure.low <= expected <= figure.high for figure in figures) / len(figures)
    assert held >= 0.85
    width = sum(figure.high - figure.low for figure in figures) / len(figures)
    spread = torch.tensor([figure.value for figure in figures]).std().item()
    assert 2.5 < width / spread < 6, "95 % are about four standard deviations wide"


def test_the_limit_of_many_samples():
    same = [gaussian(400, 30, seed=seed) for seed in (1, 2)]
    measured = compare(*same, "fvd", resamples=0).value
    assert measured > 1
    assert abs(at_infinity(*same, "fvd")) < 0.15 * measured, "one distribution: the limit is 0"
    apart = gaussian(400, 30, seed=3), gaussian(400, 30, mean=0.5, seed=4)
    truth = 30 * 0.25
    assert abs(at_infinity(*apart, "fvd") - truth) < 0.5 * abs(
        compare(*apart, "fvd", resamples=0).value - truth
    )


def test_more_subsets_of_a_size_steady_the_limit():
    same = [gaussian(200, 30, seed=seed) for seed in (1, 2)]
    spread = [
        torch.tensor([at_infinity(*same, "fvd", repeats=repeats, seed=seed) for seed in range(12)]).std()
        for repeats in (1, 8)
    ]
    assert spread[1] < 0.6 * spread[0]


@pytest.mark.parametrize(("metric", "mode"), [("fad_exact", "mm_diffusion"), ("fad_mmd", "exact")])
def test_the_two_recipes_of_fad_are_not_mixed(metric, mode):
    """A published FAD is a distance *and* a mode of the network: features of the other mode are refused."""
    networks = {mode: f"{AudioCLIP(mode).name}, sha256 2441d35b" for mode in ("exact", "mm_diffusion")}
    sets = [gaussian(seed=seed, network=networks[mode]) for seed in (1, 2)]
    with pytest.raises(ValueError, match=f"{metric} is not taken of the features of 'toy, real': they"):
        compare(*sets, metric, resamples=0)
    (right,) = {"fad_exact", "fad_mmd"} - {metric}
    assert compare(*sets, right, resamples=0).value > 0


def test_a_patch_of_a_library_makes_no_other_figure():
    sets = [
        gaussian(seed=seed, versions=(("torch", text),))
        for seed, text in ((1, "2.11.0+cpu"), (2, "2.11.1+cu128"))
    ]
    assert compare(*sets, "fvd", resamples=0).value > 0
    later = gaussian(seed=3, versions=(("torch", "2.12.0"),))
    with pytest.raises(ValueError, match="versions is {'torch': '2.11'}"):
        compare(sets[0], later, "fvd")


def test_a_figure_is_frozen():
    figure = compare(gaussian(), gaussian(seed=1), "fvd", resamples=0)
    assert isinstance(figure, Figure)
    with pytest.raises(AttributeError):
        figure.value = 0.0
