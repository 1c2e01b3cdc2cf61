"""The scene of toy-metronome: a lamp that lights up with every tick."""

import numpy as np

from rflav_lib.data.toy_scenes import synth
from rflav_lib.data.toy_scenes.canvas import SIZE, frame_times, hsv
from rflav_lib.data.toy_scenes.scene import Event, Scene, every, nearest_flash, stage, within


def metronome(rng: np.random.Generator, num_frames: int) -> Scene:
    """A steady beat of 60 to 120 ticks a minute. Event: tick."""
    canvas, _, track = stage(rng, num_frames)
    period = rng.uniform(0.5, 1.0)
    ticks = every(period, rng.uniform(0, period), track.seconds)
    middle = np.full(num_frames, SIZE / 2)
    light = nearest_flash(frame_times(num_frames), ticks)
    canvas.glow(middle, middle, 6.0, 6.0, hsv(rng.uniform(), 0.4, 1.0), light)
    for tick in ticks:
        track.add(float(tick), 0.2, synth.tick)
    events = [Event(float(tick), "tick") for tick in ticks]
    return Scene(canvas.frames(), track.waveform, within(events, num_frames), {"period": period})
