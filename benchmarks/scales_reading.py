"""What `scales.py` reads from a set of clips: the trackers' figures, and how usual the clips' features are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rflav_lib.data.seeds import RANGE_SEED
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.data.toy_tracking.classing import picture_features, sound_features
from rflav_lib.media import Clip
from rflav_lib.metrics.intervals import median_with_interval, share_with_interval
from rflav_lib.metrics.toy import WORLD, Reading, read_clip
from rflav_lib.pipeline import RFLAVPipeline

RANGE_CLIPS = 40  # of each class
Figures = dict[str, Any]


def sides(clip: Clip, pipe: RFLAVPipeline) -> tuple[Any, Any]:
    """The trackers' features of picture and sound, (n,) each; None where nothing moves or sounds."""
    log_mel = pipe.mel.log_mel(torch.from_numpy(clip.waveform))[0].numpy()
    return picture_features(clip.frames), sound_features(log_mel)


class Ranges:
    """Between which values each feature lies in real clips of a class."""

    def __init__(self, frames: int, pipe: RFLAVPipeline) -> None:
        self.pipe, self.ends = pipe, {}
        for label in range(len(CLASSES[WORLD])):
            clips = (make_clip(WORLD, RANGE_SEED, n, frames, label).clip for n in range(RANGE_CLIPS))
            for side, rows in enumerate(zip(*(sides(clip, pipe) for clip in clips), strict=True)):
                known = np.stack([row for row in rows if row is not None])
                self.ends[label, side] = known.min(0), known.max(0)

    def shares(self, clips: Sequence[Clip], labels: Sequence[int]) -> list[tuple[float, float]]:
        """Of each clip, the share of its features within the range: of picture and of sound."""
        shares = []
        for clip, label in zip(clips, labels, strict=True):
            picture, sound = sides(clip, self.pipe)
            shares.append((self._share(label, 0, picture), self._share(label, 1, sound)))
        return shares

    def _share(self, label: int, side: int, features: Any) -> float:
        if features is None:
            return 0.0
        low, high = self.ends[label, side]
        return float(((features >= low) & (features <= high)).mean())


def figures(clips: Sequence[Clip], labels: Sequence[int], ranges: Ranges) -> Figures:
    """What the trackers say about clips that should be of these classes, and how usual their features are."""
    readings = [read_clip(clip, label, ranges.pipe) for clip, label in zip(clips, labels, strict=True)]
    usual = ranges.shares(clips, labels)
    offsets = [abs(r.offset_ms) for r in readings if r.offset_ms is not None]
    shares = [r.share_close for r in readings if not math.isnan(r.share_close)]
    return {
        "clips": len(clips),
        "class seen": share_with_interval(r.seen == r.asked for r in readings),
        "class heard": share_with_interval(r.heard == r.asked for r in readings),
        "seen as heard": share_with_interval(agrees(r) for r in readings),
        "with a measurable offset": share_with_interval(r.offset_ms is not None for r in readings),
        "median offset (ms)": median_with_interval(offsets),
        "events within 100 ms": mean_with_interval(shares),
        "clips with events": len(shares),
        "picture as usual": mean_with_interval([picture for picture, _ in usual]),
        "sound as usual": mean_with_interval([sound for _, sound in usual]),
    }


def agrees(reading: Reading) -> bool:
    """Whether picture and sound show one and the same class."""
    return reading.seen is not None and reading.seen == reading.heard


def mean_with_interval(values: Sequence[float]) -> dict[str, float]:
    """A mean and its 95 % bootstrap interval; NaN where there is nothing."""
    if not values:
        return dict.fromkeys(("value", "low", "high"), math.nan)
    sample = torch.tensor(values, dtype=torch.float64)
    draws = torch.randint(len(sample), (1000, len(sample)), generator=torch.Generator().manual_seed(0))
    low, high = sample[draws].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return {"value": float(sample.mean()), "low": low, "high": high}
