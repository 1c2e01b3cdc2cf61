"""Counting how often something holds in a clip, and pairing what is seen with what is heard."""

import math
from dataclasses import dataclass

import numpy as np

from rflav_lib.data.toy_tracking.fits import Array

MATCH_SECONDS = 0.2
"""A sound further than this from a sight does not belong to it."""


@dataclass(frozen=True)
class Tally:
    """How many of the moments or events examined were right."""

    right: int = 0
    of: int = 0

    @property
    def share(self) -> float:
        """right / of; NaN where nothing was examined."""
        return self.right / self.of if self.of else math.nan


def pair(sights: Array, sounds: Array) -> dict[int, int]:
    """Number of a sight -> number of its sound, for those that are each other's nearest within MATCH_SECONDS.

    Times in seconds, (n,) and (m,).
    """
    if len(sights) == 0 or len(sounds) == 0:
        return {}
    gap = np.abs(np.asarray(sounds)[None, :] - np.asarray(sights)[:, None])
    nearest_sound, nearest_sight = gap.argmin(axis=1), gap.argmin(axis=0)
    return {
        i: int(j) for i, j in enumerate(nearest_sound) if nearest_sight[j] == i and gap[i, j] <= MATCH_SECONDS
    }
