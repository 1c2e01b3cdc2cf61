"""Distances: known answers, two libraries that agree, the recorded values of MM-Diffusion's code."""

import itertools
import json
import math

import pytest
import torch
from safetensors.torch import load_file
from scipy.linalg import sqrtm
from torch import nn
from torchaudio.functional import frechet_distance
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance, poly_kernel

from rflav_lib.metrics import distances
from rflav_lib.metrics.distances import (
    BLOCK,
    FAD_SCALE,
    frechet,
    frechet_mmd,
    kernel_distance,
    kernel_distance_weighted,
    kernels,
    moments,
)
from tests.golden import FIXTURES

RECORDED = json.loads((FIXTURES / "frechet.json").read_text(encoding="utf-8"))["results"]
FEW = "fewer samples than dimensions: first 40 rows of x and y"
few_samples = pytest.mark.filterwarnings("ignore:40 samples of 64")


def recorded_sets():
    golden = load_file(FIXTURES / "frechet.safetensors")
    x, y = golden["x"], golden["y"]
    return {
        "pair x,y (256 x 64)": (x, y),
        "self x,x": (x, x),
        "tiny: 0.02*x, 0.02*y": (0.02 * x, 0.02 * y),
        "tiny self: 0.02*x, 0.02*x": (0.02 * x, 0.02 * x),
        FEW: (x[:40], y[:40]),
        "one distribution, two halves: x[:128], x[128:]": (x[:128], x[128:]),
        "unequal counts: x, first 100 rows of y": (x, y[:100]),
    }


def drawn(samples, mean, spread, seed):
    """Gaussian samples whose sample mean and covariance are *exactly* `mean` and diag(spread^2)."""
    mean, spread = torch.tensor(mean).double(), torch.tensor(spread).double()
    z = torch.randn(samples, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = z - z.mean(0)
    white = z @ torch.linalg.inv(torch.linalg.cholesky(moments(z)[1])).T
    return mean + white * spread


@few_samples
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_values(name):
    sets, expected = recorded_sets()[name], RECORDED[name]
    close = {"rel": 1e-7 if name == FEW else 1e-9, "abs": 1e-12}
    assert frechet(*sets) == pytest.approx(expected["exact_float64"]["distance"], **close)
    assert frechet(*sets) == pytest.approx(expected["torchaudio_frechet_distance_float64"], **close)
    assert frechet_mmd(*sets) == pytest.approx(expected["mm_diffusion_code_float64"], **close)
    assert kernel_distance(*sets) == pytest.approx(expected["kvd_float64"], rel=1e-9, abs=1e-12)


def test_known_distances_of_gaussians():
    x = drawn(500, [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], 0)
    assert frechet(x, x + torch.tensor([3.0, 4.0, 0.0])) == pytest.approx(25)
    y = drawn(400, [1.0, 0.0, 0.0], [2.0, 2.0, 1.0], 1)
    assert frechet(x, y) == pytest.approx(1 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)
    turned, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)).double())
    assert frechet(x @ turned, y @ turned) == pytest.approx(frechet(x, y)), "no axis is special"


@pytest.mark.parametrize("distance", [frechet, frechet_mmd, kernel_distance])
def test_order_does_not_matter_and_both_sets_count_alike(distance):
    x, y = recorded_sets()["pair x,y (256 x 64)"]
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    assert distance(x[order], y.flip(0)) == pytest.approx(distance(x, y), rel=1e-10)
    assert distance(y, x) == pytest.approx(distance(x, y), rel=1e-10)


@pytest.mark.parametrize("samples", [300, 40], ids=["full rank", "rank 39 of 64"])
@pytest.mark.filterwarnings("ignore:40 samples of 64")
def test_frechet_agrees_with_torchaudio(samples):
    """Also of unequal sets, and of features whose spectrum falls by six orders."""
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(n, 64, generator=generator).double() for n in (samples, 256))
    for scale in (torch.ones(64), torch.logspace(0, -3, 64)):
        a, b = x * scale, (y + 0.3) * scale
        assert frechet(a, b) == pytest.approx(frechet_distance(*moments(a), *moments(b)).item(), rel=1e-7)


def test_a_single_feature():
    """Of one number a covariance is a variance, and the distance (difference of means)^2 + (of deviations)^2."""
    x, y = drawn(50, [1.0], [2.0], 0), drawn(80, [4.0], [3.0], 1)
    assert moments(x)[1].shape == (1, 1)
    assert frechet(x, y) == pytest.approx((4 - 1) ** 2 + (3 - 2) ** 2)
    assert frechet_mmd(x, y) == pytest.approx(10)
    assert frechet(x, x) == pytest.approx(0, abs=1e-12)
    one_minus_one = kernel_distance(torch.tensor([[1.0], [1.0]]), torch.tensor([[-1.0], [-1.0]]))
    assert one_minus_one == pytest.approx(2 * (1 + 1) ** 3 - 2 * (1 - 1) ** 3), "(a b + 1)^3 by hand"


def test_frechet_agrees_with_two_other_libraries():
    x, y = recorded_sets()["pair x,y (256 x 64)"]
    (mean_x, cov_x), (mean_y, cov_y) = moments(x), moments(y)
    root = sqrtm((cov_x @ cov_y).numpy()).real.trace()
    by_scipy = ((mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace()).item() - 2 * root
    assert frechet(x, y) == pytest.approx(by_scipy, rel=1e-9)

    class Identity(nn.Module):
        num_features = 64

        def forward(self, images):
            return images

    metric = FrechetInceptionDistance(feature=Identity(), normalize=True, input_img_size=(64,))
    metric.set_dtype(torch.float64)
    metric.used_custom_model = True
    metric.update(x, real=True), metric.update(y, real=False)
    assert frechet(x, y) == pytest.approx(metric.compute().item(), rel=1e-9)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_kernel_distance_is_torchmetrics_over_one_subset_of_all():
    x, y = recorded_sets()["pair x,y (256 x 64)"]
    metric = KernelInceptionDistance(feature=nn.Identity(), subsets=1, subset_size=256).set_dtype(
        torch.float64
    )
    metric.update(x, real=True), metric.update(y, real=False)
    assert kernel_distance(x, y) == pytest.approx(metric.compute()[0].item(), rel=1e-9)


@pytest.mark.parametrize("sizes", [(7, 5), (BLOCK, BLOCK + 1), (2 * BLOCK + 3, 40)])
def test_a_kernel_summed_in_blocks_is_the_whole_one(sizes, monkeypatch):
    generator = torch.Generator().manual_seed(4)
    x, y = (torch.randn(n, 6, generator=generator).double() for n in sizes)
    expected = kernel_distance_weighted(*kernels(x, y))
    largest = []

    def watched(rows, others):
        largest.append(len(rows))
        return poly_kernel(rows, others)

    monkeypatch.setattr(distances, "poly_kernel", watched)
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-11, abs=1e-13)
    assert max(largest) <= BLOCK, "memory must not grow with the number of pairs"


def test_distance_from_itself():
    x, _ = recorded_sets()["pair x,y (256 x 64)"]
    for same in (x, x.clone(), x.flip(0)):
        assert frechet(x, same) == pytest.approx(0, abs=1e-9) and frechet(x, same) >= 0
        assert frechet_mmd(0.02 * x, 0.02 * same) == pytest.approx(
            RECORDED["tiny self: 0.02*x, 0.02*x"]["mm_diffusion_code_float64"], rel=1e-7
        )
    assert kernel_distance(x, x) < 0, "unbiased: copies across, none within"
    tiny = 0.02 * x
    small = torch.linalg.eigvalsh(torch.cov(tiny.T))
    small = small[small < 1e-5]
    assert len(small) == 15
    floor = 2 * (small - small.square()).sum().item()
    assert frechet_mmd(tiny, tiny) == pytest.approx(floor, abs=1e-12)
    assert FAD_SCALE * frechet_mmd(tiny, tiny) == pytest.approx(1.52, abs=0.01)
    assert frechet(tiny, tiny) == pytest.approx(0, abs=1e-12)


def test_arguments_stay_as_they_were():
    x, y = recorded_sets()["pair x,y (256 x 64)"]
    copies = x.clone(), y.clone()
    for distance in (frechet, frechet_mmd, kernel_distance):
        distance(x, y)
        assert torch.equal(x, copies[0]) and torch.equal(y, copies[1])


def test_a_shift_moves_all_of_them_further_the_larger_it_is():
    x = drawn(300, [0.0] * 8, [1.0] * 8, 0)
    for distance in (frechet, frechet_mmd, kernel_distance):
        far = [distance(x, x + shift) for shift in (0.0, 0.1, 0.5, 2.0)]
        assert all(a < b for a, b in itertools.pairwise(far)), far


def test_two_draws_of_one_gaussian_are_further_apart_the_fewer_they_are():
    generator = torch.Generator().manual_seed(0)
    far = {n: frechet(*torch.randn(2, n, 20, generator=generator).double()) for n in (50, 200, 800)}
    assert far[50] > 3 * far[200] > 9 * far[800]
    kernel = [kernel_distance(*torch.randn(2, 50, 20, generator=generator).double()) for _ in range(40)]
    mean, spread = torch.tensor(kernel).mean(), torch.tensor(kernel).std()
    assert mean.abs() < 3 * spread / math.sqrt(40), "the kernel distance has no bias"


def test_counting_a_sample_twice_is_not_a_pair():
    x, y = recorded_sets()["pair x,y (256 x 64)"]
    x, y = x[:9], y[:7]
    count = torch.tensor([1, 0, 2, 1, 1, 0, 3, 1, 0])
    rows = torch.arange(9).repeat_interleave(count)
    kernel, _, _ = kernels(x[rows], y)
    apart = rows[:, None] != rows[None, :]
    _, across, within = kernels(x[rows], y)
    expected = kernel[apart].mean() + within[~torch.eye(7, dtype=torch.bool)].mean() - 2 * across.mean()
    assert kernel_distance_weighted(*kernels(x, y), count) == pytest.approx(expected.item())


def test_few_samples_are_said_with_the_rank():
    x = torch.randn(10, 30, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="10 samples of 30 features.* has rank 9 of 30"):
        frechet(x, x + 1)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((5, 3), (5, 4), "different width .*: 3 and 4"),
        ((1, 3), (5, 3), "1 sample"),
        ((5,), (5, 3), r"must be \(n d\)"),
    ],
)
def test_bad_input(first, second, words):
    for distance in (frechet, frechet_mmd, kernel_distance):
        with pytest.raises(ValueError, match=words):
            distance(torch.randn(first), torch.randn(second))


def test_nan_is_named_by_its_row():
    x = torch.randn(8, 3)
    x[5, 1] = torch.nan
    with pytest.raises(ValueError, match="1 of 8 rows hold NaN or infinite values, the first is row 5"):
        frechet(x, torch.randn(8, 3))
