"""How good is the loop test? Its recall, false alarms and precision on videos that are known to loop or not.

Real clips of toy-dance repeat their choreography after a time that is known. Beside each dance stand four videos that
show as much movement and do not repeat: its frames in random order, its course at a wandering speed, its beats in
random order, and fireworks. A threshold is calibrated on some clips and judged on others.

    known = known_clips(seed=CALIBRATION_SEED, count=60, frames=240)
    judged = judge(known, known_clips(seed=TEST_SEED, count=60, frames=240))
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from rflav_lib.data.seeds import LOOP_CALIBRATION_SEED, LOOP_TEST_SEED
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.metrics.intervals import share_with_interval
from rflav_lib.metrics.loop_controls import beats_shuffled, shuffled, wandering
from rflav_lib.metrics.loops import (
    Array,
    LoopReading,
    calibrate,
    distance_matrix,
    looping_share,
    precision,
    read_loops,
    small_pixels,
)

CALIBRATION_SEED, TEST_SEED = LOOP_CALIBRATION_SEED, LOOP_TEST_SEED
SCORES = ("depth", "spectral")
KINDS = ("frames shuffled", "speed wanders", "beats shuffled", "fireworks")
RIGHT_LENGTH = 0.03  # a measured loop may be off by this share of its true length

Frames = NDArray[np.uint8]
Distances = Callable[[Frames], Array]
"""Frames (k h w 3) -> distances (k k) of all pairs."""


def pixel_distances(frames: Frames) -> Array:
    """The stand-in for LPIPS: Euclidean distance of frames shrunk to 16x16."""
    return distance_matrix(small_pixels(frames))


@dataclass(frozen=True, eq=False)
class KnownClips:
    """Readings of clips whose truth is known.

    Attributes:
        looping: of dances that repeat.
        lengths: of their loops, in frames.
        others: by kind, of videos that do not repeat; as many of each kind as dances.
        frames: length of all of them.
    """

    looping: tuple[LoopReading, ...]
    lengths: tuple[float, ...]
    others: dict[str, tuple[LoopReading, ...]]
    frames: int

    def scores(self, name: str) -> tuple[list[float], list[float]]:
        """A score of the looping ones, and of all others."""
        return (
            [getattr(reading, name) for reading in self.looping],
            [getattr(reading, name) for kind in self.others.values() for reading in kind],
        )


def dances(seed: int, count: int, frames: int) -> Iterator[tuple[Frames, NDArray[np.float64], float]]:
    """Real dances that come back at least twice: frames, places of the beats and length of the loop, in frames.

    A dance whose loop is longer than half of the clip cannot be seen to repeat, and is passed over.
    """
    index, found = 0, 0
    while found < count:
        made = make_clip("toy-dance", seed, index, frames)
        index += 1
        rate = made.clip.frame_rate
        length = rate * float(made.facts["loop_seconds"])
        if length < frames / 2:
            found += 1
            beats = np.array([rate * event.time - 0.5 for event in made.events if event.kind == "beat"])
            yield made.clip.frames, beats, length


def known_clips(
    seed: int, count: int, frames: int, distances: Distances = pixel_distances, progress: bool = False
) -> KnownClips:
    """Make `count` dances and as many videos of each kind that does not repeat, and read all of them.

    Args:
        seed: of the clips.
        count: of each.
        frames: of each clip; at least 110, so that every loop of toy-dance comes twice.
        distances: of frames; by default a stand-in for LPIPS.
        progress: show a bar.

    Raises:
        ValueError: too few frames.
    """
    if frames < 110:
        raise ValueError(f"{frames} frames: the longest loop of toy-dance has 53, so at least 110 are needed")
    looping, lengths = [], []
    others: dict[str, list[LoopReading]] = {kind: [] for kind in KINDS}
    fireworks = CLASSES["toy-landscape"].index("fireworks")
    bar = tqdm(
        dances(seed, count, frames), desc=f"known loops, {frames} frames", total=count, disable=not progress
    )
    for number, (dance, beats, length) in enumerate(bar):
        looping.append(read_loops(distances(dance)))
        lengths.append(length)
        made = (
            shuffled(dance, number),
            wandering(dance, number),
            beats_shuffled(dance, beats, number),
            make_clip("toy-landscape", seed, number, frames, fireworks).clip.frames,
        )
        for kind, video in zip(KINDS, made, strict=True):
            others[kind].append(read_loops(distances(video)))
    return KnownClips(tuple(looping), tuple(lengths), {k: tuple(v) for k, v in others.items()}, frames)


def judge(calibration: KnownClips, test: KnownClips) -> dict[str, dict[str, Any]]:
    """For each score: the threshold from `calibration`, and on `test` recall, false alarms and precision.

    Shares come with Wilson intervals. The precision is that of one looping clip to four others, as tested.
    """
    found = {}
    for score in SCORES:
        threshold = calibrate(*calibration.scores(score)).threshold
        looping, others = test.scores(score)
        hits, alarms = (sum(value > threshold for value in values) for values in (looping, others))
        found[score] = {
            "threshold": threshold,
            "hits": hits,
            "looping clips": len(looping),
            "false alarms": alarms,
            "other clips": len(others),
            "recall": looping_share(looping, threshold),
            "false alarm rate": looping_share(others, threshold),
            "precision": precision(hits, alarms) if hits + alarms else None,
            "false alarms by kind": {
                kind: sum(getattr(reading, score) > threshold for reading in readings)
                for kind, readings in test.others.items()
            },
        }
    return found


def lengths_found(known: KnownClips) -> dict[str, dict[str, float]]:
    """Share of the dances whose loop is measured within 3 %: by `lag`, and by the paper's `period` of the spectrum."""
    return {
        name: share_with_interval(
            abs(getattr(reading, name) / length - 1) < RIGHT_LENGTH
            for reading, length in zip(known.looping, known.lengths, strict=True)
        )
        for name in ("lag", "period")
    }
