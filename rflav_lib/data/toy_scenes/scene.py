"""What all scenes share: events, the stage they play on, and the clocks they run by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rflav_lib.data.toy_scenes import synth
from rflav_lib.data.toy_scenes.canvas import FRAME_RATE, PALETTE, Array, Canvas, flash

LEAD_IN = 2.0
"""Seconds a scene runs before the clip: longer than any sound's tail or object's flight."""

NUM_HUES = 8
"""Objects have one of this many hues, i / 8, far enough apart to be read back."""


@dataclass(frozen=True)
class Event:
    """Something sudden: `time` in seconds from the clip's start, what it was, of which object, and a value
    if it has one.
    """

    time: float
    kind: str
    object_id: int = 0
    value: float | None = None


@dataclass(frozen=True)
class Scene:
    """A drawn and sounded scene: frames uint8 (k h w 3), waveform float32 (s,), events inside the clip,
    exact facts.
    """

    frames: NDArray[np.uint8]
    waveform: NDArray[np.float32]
    events: tuple[Event, ...]
    facts: Mapping[str, float | int | str]


def stage(rng: np.random.Generator, num_frames: int) -> tuple[Canvas, float, synth.Track]:
    """A canvas with a random background, the height of its horizon in px, and an empty track."""
    horizon = rng.uniform(53.0, 57.0)
    return Canvas(num_frames, int(rng.integers(len(PALETTE))), horizon), horizon, synth.Track(num_frames)


def within(events: list[Event], num_frames: int) -> tuple[Event, ...]:
    """The events inside a clip, in order of time."""
    inside = (e for e in events if 0 <= e.time < num_frames / FRAME_RATE)
    return tuple(sorted(inside, key=lambda e: e.time))


def every(period: float, offset: float, end: float) -> Array:
    """Times offset + i * period from LEAD_IN before the clip until just after `end`."""
    first = int(np.ceil((-LEAD_IN - offset) / period))
    last = int(np.ceil((end + 0.2 - offset) / period))
    return offset + period * np.arange(first, last)


def nearest_flash(times: Array, events: Array) -> Array:
    """Brightness (k,) of the flashes of all `events` in frames at `times`."""
    return flash(times[:, None], events).max(axis=1)


def arrivals(rng: np.random.Generator, low: float, high: float, end: float) -> Iterator[float]:
    """Random times with gaps of `low` to `high` seconds, from LEAD_IN before the clip until after `end`."""
    time = -LEAD_IN + rng.uniform(0, high)
    while time < end:
        yield time
        time += rng.uniform(low, high)
