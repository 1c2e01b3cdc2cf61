"""Are samples copies of training clips? A Fréchet distance to the training set rewards copying, so this is asked apart.

For each sample the nearest of a bank of training windows, in feature space and in pixel space; the same for real
clips that no training saw. The figure is that of the data-copying test of Meehan, Chaudhuri and Dasgupta (2020): the
chance that a sample lies nearer to training than an unseen real clip does. 0.5 is what a perfect model has, above
that it copies, below that its samples are simply further off.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn import functional as F

from rflav_lib.media import Clip

PIXELS = 16  # of a side, for distances between pictures: a copy with other details stays a copy


@dataclass(frozen=True)
class Nearest:
    """Of each clip: number of its nearest training window, and the distance (n,)."""

    index: Tensor
    distance: Tensor


@dataclass(frozen=True)
class Copying:
    """The chance that a sample is nearer to training than an unseen real clip, with its 95 % bootstrap interval."""

    chance: float
    low: float
    high: float
    median: float
    median_unseen: float


def thumbnails(clips: Iterable[Clip]) -> Tensor:
    """Clips -> (n, k * 16 * 16 * 3) float32, scaled so that distances are root mean squares in grey levels, 0..255."""
    rows = []
    for clip in clips:
        frames = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).float()
        small = F.adaptive_avg_pool2d(frames, PIXELS).flatten()
        rows.append(small / small.numel() ** 0.5)
    return torch.stack(rows)


def nearest(samples: Tensor, bank: Tensor) -> Nearest:
    """Samples (n d) and bank (m d) -> the nearest of the bank for each sample, Euclidean."""
    rows = [
        torch.cdist(part, bank, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
        for part in samples.split(64)
    ]
    return Nearest(torch.cat([row.indices for row in rows]), torch.cat([row.values for row in rows]))


def copying(samples: Nearest, unseen: Nearest, resamples: int, seed: int = 0) -> Copying:
    """Compare distances to training: of samples, and of unseen real clips."""
    ours, theirs = (each.distance.double().numpy() for each in (samples, unseen))
    rng = np.random.default_rng(seed)
    drawn = [_nearer(rng.choice(ours, len(ours)), rng.choice(theirs, len(theirs))) for _ in range(resamples)]
    low, high = np.quantile(drawn, (0.025, 0.975)) if drawn else (np.nan, np.nan)
    medians = float(np.median(ours)), float(np.median(theirs))
    return Copying(_nearer(ours, theirs), float(low), float(high), *medians)


def _nearer(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Chance that one of ours is smaller than one of theirs; ties count half."""
    return float(mannwhitneyu(theirs, ours).statistic / (len(ours) * len(theirs)))
