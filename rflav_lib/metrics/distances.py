"""Distances between two sets of features: what FVD, KVD and FAD compute once the features are there.

Pure mathematics on tensors (n d), float64. What a figure needs beside its value stands in `comparison.py`.

A Fréchet distance needs the eigenvalues of the product of two covariances. Here they come from symmetric matrices,
which costs half of what a general matrix does and leaves no complex numbers to drop; torchaudio's, torchmetrics' and
scipy's values are those to compare with (`tests/metrics/test_distances.py`).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_kernel

from rflav_lib.metrics.feature_set import checked
from rflav_lib.warn import warn

MMD_EPSILON = 1e-10  # MM-Diffusion leaves smaller singular values without their root
FAD_SCALE = 10_000  # MM-Diffusion multiplies its FAD by this (by 1000 until June 2024); so does the paper

BLOCK = 512  # rows of a kernel at a time: a sum needs no matrix of all pairs

Distance = Callable[[Tensor, Tensor], float]


def moments(features: Tensor, name: str = "features") -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d d), divided by N - 1.

    Warns where N <= d: the covariance then has directions that no sample has, and the distance is biased.
    """
    features = checked(features, name)
    samples, width = features.shape
    if samples <= width:
        rank = int(torch.linalg.matrix_rank(features - features.mean(0)))
        warn(
            f"{samples} samples of {width} features: the covariance of {name!r} has rank {rank} of {width}; "
            "take more samples, or compare by the kernel distance"
        )
    return features.mean(0), torch.cov(features.T).reshape(width, width)  # of one feature it is a bare number


def frechet(first: Tensor, second: Tensor) -> float:
    """Squared Fréchet distance of two Gaussians with the sets' means and covariances; exact.

    Not below zero: rounding may give -1e-13 for equal sets.
    """
    return max(0.0, _frechet(first, second, lambda eigenvalues: eigenvalues.clamp(min=0).sqrt()))


def frechet_mmd(first: Tensor, second: Tensor) -> float:
    """The same as MM-Diffusion computes it: singular values below 1e-10 stay without their root.

    So a set whose variance is tiny in some directions is not at distance 0 from itself, but at twice the sum of
    its covariance's eigenvalues below 1e-5. AudioCLIP's features are such a set, I3D's are not. Report
    `frechet_mmd(x, x)` beside it. MM-Diffusion computes in float32; this is its rule in float64.
    """
    return _frechet(first, second, _root_mmd)


def _frechet(first: Tensor, second: Tensor, root_of: Callable[[Tensor], Tensor]) -> float:
    """|mean difference|^2 + tr A + tr B - 2 tr root(A^1/2 B A^1/2), every root taken by `root_of` eigenvalues."""
    _check_width(first, second)
    mean_x, cov_x = moments(first, "first")
    if second is first:  # A^1/2 A A^1/2 has A's directions: one decomposition, and no vectors, will do
        eigenvalues = torch.linalg.eigvalsh(cov_x)
        overlap = root_of(root_of(eigenvalues).square() * eigenvalues)
        return (2 * (cov_x.trace() - overlap.sum())).item()
    mean_y, cov_y = moments(second, "second")
    eigenvalues, vectors = torch.linalg.eigh(cov_x)
    root = vectors * root_of(eigenvalues)  # A^1/2 but for a turn, which changes no eigenvalue below
    overlap = root_of(torch.linalg.eigvalsh(root.T @ cov_y @ root))
    return ((mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace() - 2 * overlap.sum()).item()


def _root_mmd(eigenvalues: Tensor) -> Tensor:
    """MM-Diffusion roots singular values; those of a covariance are its eigenvalues, of either sign if tiny."""
    return torch.where(eigenvalues < MMD_EPSILON, eigenvalues, eigenvalues.clamp(min=0).sqrt())


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Squared maximum mean discrepancy with the kernel (a.b / d + 1)^3: KVD, as MM-Diffusion computes it.

    Unbiased, one estimate over all samples, no factor. Slightly negative values are normal. Memory does not grow
    with the number of pairs.
    """
    _check_width(first, second)
    first, second = checked(first, "first"), checked(second, "second")
    across = sum(poly_kernel(rows, second).sum() for rows in first.split(BLOCK)) / (len(first) * len(second))
    return (_mean_within(first) + _mean_within(second) - 2 * across).item()


def _mean_within(features: Tensor) -> Tensor:
    """Mean kernel of all pairs of two different samples. Above the diagonal stands the same as below it."""
    total = features.new_zeros(())
    for first, rows in zip(range(0, len(features), BLOCK), features.split(BLOCK), strict=True):
        beside = poly_kernel(rows, rows)
        total += beside.sum() - beside.trace()
        if len(after := features[first + BLOCK :]):
            total += 2 * poly_kernel(rows, after).sum()
    return total / (len(features) * (len(features) - 1))


def kernels(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The kernel within the first set, across, and within the second."""
    _check_width(first, second)
    first, second = checked(first, "first"), checked(second, "second")
    return poly_kernel(first, first), poly_kernel(first, second), poly_kernel(second, second)


def kernel_distance_weighted(
    within_x: Tensor,
    across: Tensor,
    within_y: Tensor,
    count_x: Tensor | None = None,
    count_y: Tensor | None = None,
) -> float:
    """The kernel distance if sample i were there count[i] times; copies of a sample are no pair of two."""
    x = torch.ones(len(within_x), dtype=across.dtype) if count_x is None else count_x.to(across.dtype)
    y = torch.ones(len(within_y), dtype=across.dtype) if count_y is None else count_y.to(across.dtype)

    def off_diagonal(kernel: Tensor, count: Tensor) -> Tensor:
        pairs = count @ kernel @ count - (count.square() * kernel.diagonal()).sum()
        return pairs / (count.sum().square() - count.square().sum())

    mean_across = x @ across @ y / (x.sum() * y.sum())
    return (off_diagonal(within_x, x) + off_diagonal(within_y, y) - 2 * mean_across).item()


def _check_width(first: Tensor, second: Tensor) -> None:
    if first.ndim == second.ndim == 2 and first.shape[1] != second.shape[1]:
        raise ValueError(
            f"features of different width cannot be compared: {first.shape[1]} and {second.shape[1]}"
        )
