"""The worked example of a metric; CONTRIBUTING.md shows the function."""

import torch
from torch import Tensor

from rflav_lib.metrics.feature_set import checked


def energy_distance(first: Tensor, second: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| over pairs of different samples: 0 for sets of one distribution.

    No covariance, so it can be taken of fewer samples than features (Székely and Rizzo, 2013).
    """
    first, second = checked(first, "first"), checked(second, "second")
    within = sum(torch.pdist(features).mean() for features in (first, second))
    return (2 * torch.cdist(first, second).mean() - within).item()
