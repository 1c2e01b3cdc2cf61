"""Videos that are known not to loop, made from videos that do: what a loop test must keep silent about."""

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def shuffled(frames: Frames, seed: int) -> Frames:
    """Frames (k h w 3) in random order: the same pictures, no time at all."""
    return frames[np.random.default_rng(seed).permutation(len(frames))]


def wandering(frames: Frames, seed: int, spread: float = 0.5) -> Frames:
    """The same course at a speed that wanders about 1: what comes back comes back after another time each time.

    Args:
        frames: (k h w 3); k frames come back, from the first to the last.
        seed: of the speed.
        spread: its standard deviation; it stays between 0.2 and 2.
    """
    rng = np.random.default_rng(seed)
    memory = 0.9  # correlation of the speed from frame to frame
    wander, speed = 0.0, np.empty(len(frames))
    for k in range(len(frames)):
        wander = memory * wander + rng.normal(0, spread * np.sqrt(1 - memory**2))
        speed[k] = np.clip(1 + wander, 0.2, 2.0)
    place = np.cumsum(speed) - speed[0]
    return frames[np.round(place * (len(frames) - 1) / place[-1]).astype(int)]


def beats_shuffled(frames: Frames, beat_frames: NDArray[np.float64], seed: int) -> Frames:
    """The stretches about each beat in random order: the beat stays, the choreography comes back no more.

    Args:
        frames: (k h w 3); what lies before the first cut and after the last stays where it is.
        beat_frames: place of each beat, in frames; it is cut half-way between two.
        seed: of the order.

    Raises:
        ValueError: fewer than four beats, which leave nothing to shuffle.
    """
    if len(beat_frames) < 4:
        raise ValueError(f"{len(beat_frames)} beats leave nothing to shuffle: at least 4 are needed")
    cuts = np.round((beat_frames[1:] + beat_frames[:-1]) / 2).astype(int)
    first, *middle, last = np.split(np.arange(len(frames)), cuts)
    order = np.random.default_rng(seed).permutation(len(middle))
    return frames[np.concatenate([first, *(middle[i] for i in order), last])]
