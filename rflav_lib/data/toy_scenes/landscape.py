"""The five scenes of toy-landscape. Each has one clock: the picture and the sound are formulas of the same
event times.

A scene is `scene(rng, num_frames) -> Scene`. All of them are stationary: they have been running for more
than a second when the clip begins and go on when it ends, and a shorter clip is the beginning of a longer
one with the same seed.
"""

from collections.abc import Callable

import numpy as np

from rflav_lib.data.toy_scenes import synth
from rflav_lib.data.toy_scenes.canvas import SIZE, Array, flash, frame_times, hsv
from rflav_lib.data.toy_scenes.scene import (
    NUM_HUES,
    Event,
    Scene,
    arrivals,
    every,
    nearest_flash,
    stage,
    within,
)

Opacity = Callable[[Array, Array], Array]
"""alpha(columns (q,), rows (p, 1)) -> (k p q) or (1 p q), as `Canvas.shade` takes it."""

PITCHES: tuple[float, ...] = tuple(round(330 * 6 ** (i / (NUM_HUES - 1)), 2) for i in range(NUM_HUES))
"""Tone in Hz of a bouncing ball by its hue i / 8: rising from 330 to 1980 Hz in equal steps of 29 %."""

PENDULUM_PIVOT_Y = 7.0
BEACON_Y = 30.0
SIREN_CENTRE, SIREN_SWING = 850.0, 300.0
"""The siren's tone in Hz: centre + swing * sin(angle of the beam above the horizontal)."""
SPARKS = 12
SPARK_LIFE = 0.6
WHISTLE_LOW, WHISTLE_RISE = 500.0, 1_400.0
"""The whistle's tone in Hz at the ground, and how much higher it is at the burst."""


def bounce(rng: np.random.Generator, num_frames: int) -> Scene:
    """A rubber ball that bounces for ever; each impact rings at the pitch of its hue. Event: impact, value
    = pitch in Hz.
    """
    canvas, horizon, track = stage(rng, num_frames)
    period, radius, hue = rng.uniform(0.4, 0.9), rng.uniform(5.5, 8.0), int(rng.integers(NUM_HUES))
    sway, sway_period, sway_phase = rng.uniform(3, 11), rng.uniform(3.0, 5.0), rng.uniform()
    middle = rng.uniform(SIZE * 0.42, SIZE * 0.58)
    impacts = every(period, rng.uniform(0, period), track.seconds)
    peak = 38.0 * period / 0.9  # the same speed at every impact, 169 px/s, whatever the period

    times = frame_times(num_frames)
    phase = ((times - impacts[0]) / period) % 1.0
    height = peak * 4 * phase * (1 - phase)
    squash = np.maximum(0.0, 1 - (height / 8.0)) ** 2 * 0.22
    rx, ry = radius * (1 + 0.8 * squash), radius * (1 - squash)
    x = middle + sway * np.sin(2 * np.pi * (times / sway_period + sway_phase))
    y = horizon - ry - height
    light = nearest_flash(times, impacts)

    colour = hsv(hue / NUM_HUES, 0.82, 1.0)
    nearness = 1 - height / 45.0
    canvas.glow(x, np.full_like(x, horizon + 2.0), radius * 0.75, 1.7, np.zeros(3), 0.55 * nearness)
    canvas.glow(x, np.full_like(x, horizon + 1.5), radius * 1.5, 2.0, 0.6 * colour + 102, 0.7 * light)
    canvas.disc(x, y, rx, ry, 0.86 * colour)
    canvas.glow(
        x - 0.3 * rx, y - 0.35 * ry, 0.34 * radius, 0.34 * radius, 0.45 * colour + 140, np.full_like(x, 0.75)
    )

    pitch = PITCHES[hue]
    for impact in impacts:
        track.add(float(impact), 0.7, synth.bell(pitch))
    events = [Event(float(t), "impact", value=pitch) for t in impacts]
    facts = {"objects": 1, "hue": hue / NUM_HUES, "pitch": pitch, "period": period, "radius": radius}
    return Scene(canvas.frames(), track.waveform, within(events, num_frames), facts)


def pendulum(rng: np.random.Generator, num_frames: int) -> Scene:
    """A pendulum that ticks at each turn. Event: turn, value = -1 at the left, +1 at the right."""
    canvas, horizon, track = stage(rng, num_frames)
    half, radius, hue = rng.uniform(0.3, 0.7), rng.uniform(5.0, 6.5), int(rng.integers(NUM_HUES))
    length, pivot_x = rng.uniform(31, 37), rng.uniform(SIZE * 0.46, SIZE * 0.54)
    swing = np.arcsin(rng.uniform(15.5, 21.5) / length)  # the bob stays inside the frame
    turns = every(half, rng.uniform(0, 2 * half), track.seconds)
    side = np.where(np.round((turns - turns[0]) / half).astype(int) % 2 == 0, 1.0, -1.0)
    if rng.uniform() < 0.5:
        side = -side

    times = frame_times(num_frames)
    angle = side[0] * swing * np.cos(np.pi * (times - turns[0]) / half)
    x, y = pivot_x + length * np.sin(angle), PENDULUM_PIVOT_Y + length * np.cos(angle)
    light = nearest_flash(times, turns)

    colour = hsv(hue / NUM_HUES, 0.82, 1.0)
    pivot = (np.full_like(x, pivot_x), np.full_like(x, PENDULUM_PIVOT_Y))
    canvas.shade((slice(0, 9), slice(0, SIZE)), _bar(pivot_x), np.array((150, 146, 140), dtype=np.float32))
    canvas.glow(x, np.full_like(x, horizon + 3.0), radius * 0.8, 1.6, np.zeros(3), np.full_like(x, 0.4))
    canvas.limb(pivot, (x, y), 0.9, np.array((190, 186, 180)))
    canvas.glow(x, y, radius * 1.15, radius * 1.15, 0.5 * colour + 127, 0.65 * light)
    canvas.disc(x, y, np.full_like(x, radius), np.full_like(x, radius), 0.86 * colour)
    canvas.glow(
        x - 0.3 * radius,
        y - 0.35 * radius,
        0.34 * radius,
        0.34 * radius,
        0.45 * colour + 140,
        0.55 + 0.45 * light,
    )

    for turn in turns:
        track.add(float(turn), 0.15, synth.tick)
    events = [Event(float(t), "turn", value=float(s)) for t, s in zip(turns, side, strict=True)]
    facts = {"objects": 1, "hue": hue / NUM_HUES, "period": 2 * half, "swing": float(swing), "length": length}
    return Scene(canvas.frames(), track.waveform, within(events, num_frames), facts)


def _bar(x: float) -> Opacity:
    """Opacity of the bar the pendulum hangs from: 24 px wide."""

    def alpha(columns: Array, rows: Array) -> Array:
        across = np.clip(12.5 - np.abs(columns - x), 0, 1)
        return (across * np.clip(7.5 - rows, 0, 1) * np.clip(rows - 3, 0, 1)).astype(np.float32)[None]

    return alpha


def rain(rng: np.random.Generator, num_frames: int) -> Scene:
    """Drops that fall at one speed and plink where they hit; higher to the right. Event: hit, value = x in
    px.
    """
    canvas, horizon, track = stage(rng, num_frames)
    fall, ground = rng.uniform(0.5, 0.9), horizon + 3.0
    speed = (ground + 6.0) / fall
    drops = [(t, rng.uniform(6, SIZE - 6)) for t in arrivals(rng, 0.22, 0.5, track.seconds + 1.5)]

    times = frame_times(num_frames)
    # a drop lives for less than 1.1 s and drops are 0.22 s apart: no two drops in one slot at a time
    slots = 8
    x, y = np.full((num_frames, slots), -50.0), np.full((num_frames, slots), -50.0)
    light, falling = np.zeros((num_frames, slots)), np.zeros((num_frames, slots))
    for number, (hit, place) in enumerate(drops):
        alive = np.flatnonzero((times > hit - fall - 0.1) & (times < hit + 0.1))
        x[alive, number % slots] = place
        y[alive, number % slots] = ground - speed * (hit - times[alive])
        light[alive, number % slots] = flash(times[alive], hit)
        falling[alive, number % slots] = np.clip((hit - times[alive]) / 0.02 + 0.5, 0, 1)

    water = np.array((196, 222, 255), dtype=np.float32)
    canvas.shade(
        (slice(50, SIZE), slice(0, SIZE)), _puddle(horizon), np.array((96, 116, 138), dtype=np.float32)
    )
    canvas.dots(x, y - 2.0, 1.3, 3.0, 1.8 * falling, water)
    canvas.dots(x, np.full_like(x, ground), 4.2, 1.4, 1.6 * light, water)
    for hit, place in drops:
        track.add(hit, 0.4, synth.plink(rain_pitch(place)))
    events = [Event(t, "hit", number, place) for number, (t, place) in enumerate(drops)]
    facts = {"fall_seconds": fall, "drops": len(within(events, num_frames))}
    return Scene(canvas.frames(), track.waveform, within(events, num_frames), facts)


def rain_pitch(x: float) -> float:
    """Tone in Hz of a drop that lands at `x` px: 1200 at the left edge, 2760 at the right."""
    return 1_200 * 2 ** (1.2 * x / SIZE)


def _puddle(horizon: float) -> Opacity:
    """Opacity of the wet ground: a soft sheen."""

    def alpha(columns: Array, rows: Array) -> Array:
        return (0.45 * np.exp(-0.5 * ((rows - horizon - 4.0) / 2.5) ** 2) * np.ones_like(columns)).astype(
            np.float32
        )[None]

    return alpha


def fireworks(rng: np.random.Generator, num_frames: int) -> Scene:
    """Rockets that whistle up and burst. Events: launch, and burst with value = height above ground in px."""
    canvas, horizon, track = stage(rng, num_frames)
    rise, hue = rng.uniform(0.5, 0.8), int(rng.integers(NUM_HUES))
    noise = synth.soft_noise(rng, 0.9)
    times = frame_times(num_frames)
    x, y, heat = (np.full((num_frames, 2), -50.0) for _ in range(3))
    sparks_x, sparks_y, sparks = (np.full((num_frames, SPARKS), v) for v in (-50.0, -50.0, 0.0))
    launches, bursts = np.zeros(num_frames), np.zeros(num_frames)
    bloom_x, bloom_y = np.full(num_frames, 32.0), np.full(num_frames, 20.0)
    launch_x, events = np.full(num_frames, 32.0), []
    for number, start in enumerate(arrivals(rng, rise + 0.25, rise + 0.5, track.seconds + 0.2)):
        burst, place, top = start + rise, rng.uniform(18, SIZE - 18), rng.uniform(15, 24)
        spin, reach = rng.uniform(0, 2 * np.pi / SPARKS), rng.uniform(13, 17)
        up = np.flatnonzero((times >= start) & (times < burst))
        u = (times[up] - start) / rise
        x[up, number % 2], y[up, number % 2] = place, horizon - (horizon - top) * u * (2 - u)
        heat[up, number % 2] = 1.0
        age = times - burst
        lit = np.flatnonzero((age >= 0) & (age < SPARK_LIFE))
        radius = reach * (1 - np.exp(-age[lit] / 0.16))
        for axis, centre, unit in ((sparks_x, place, np.cos), (sparks_y, top, np.sin)):
            axis[lit] = centre + radius[:, None] * unit(spin + 2 * np.pi * np.arange(SPARKS) / SPARKS)
        sparks_y[lit] += (12 * age[lit] ** 2)[:, None]
        sparks[lit] = ((1 - age[lit] / SPARK_LIFE) ** 1.5)[:, None]
        for glow, glow_x, moment in ((launches, launch_x, start), (bursts, bloom_x, burst)):
            near = np.flatnonzero(flash(times, moment) > 0)
            glow[near], glow_x[near] = flash(times[near], moment), place
        bloom_y[np.flatnonzero(flash(times, burst) > 0)] = top
        track.add(start, rise, synth.whistle(_sweep(rise)))
        track.add(burst, 0.85, synth.bang(noise))
        events += [Event(start, "launch", number), Event(burst, "burst", number, horizon - top)]

    colour = hsv(hue / NUM_HUES, 0.6, 1.0)
    flame = np.array((255, 226, 160), dtype=np.float32)
    canvas.glow(launch_x, np.full_like(launch_x, horizon), 5.0, 2.2, flame, 0.8 * launches)
    canvas.dots(np.maximum(x, -50), y + 3.0, 1.2, 2.6, 1.6 * np.maximum(heat, 0), flame)
    canvas.glow(bloom_x, bloom_y, 7.0, 7.0, 0.4 * colour + 153, 0.95 * bursts)
    canvas.dots(sparks_x, sparks_y, 1.6, 1.6, 2.2 * sparks, 0.9 * colour + 25)
    facts = {"hue": hue / NUM_HUES, "rise_seconds": rise, "sparks": SPARKS}
    return Scene(canvas.frames(), track.waveform, within(events, num_frames), facts)


def _sweep(rise: float) -> Callable[[Array], Array]:
    """Cycles of the whistle: its pitch is WHISTLE_LOW + WHISTLE_RISE * height, and height = u (2 - u), u =
    dt / rise.
    """
    return lambda dt: WHISTLE_LOW * dt + WHISTLE_RISE * (dt**2 / rise - dt**3 / (3 * rise**2))


def siren(rng: np.random.Generator, num_frames: int) -> Scene:
    """A beacon whose beam turns; pitch is highest when it points up. Event: peak, value = turns per second
    (signed).
    """
    canvas, horizon, track = stage(rng, num_frames)
    turn, sense, hue = (
        rng.uniform(1.0, 2.0),
        (1.0 if rng.uniform() < 0.5 else -1.0),
        int(rng.integers(NUM_HUES)),
    )
    x, start = rng.uniform(SIZE * 0.45, SIZE * 0.55), rng.uniform()
    times = frame_times(num_frames)
    # anticlockwise from the right, as in maths; y points up here
    angle = sense * 2 * np.pi * (times / turn + start)

    colour = hsv(hue / NUM_HUES, 0.7, 1.0)
    canvas.shade(
        (slice(int(BEACON_Y), SIZE), slice(0, SIZE)),
        _post(x, horizon),
        np.array((92, 92, 98), dtype=np.float32),
    )
    canvas.shade((slice(0, SIZE), slice(0, SIZE)), _light(x, angle), 0.75 * colour + 60)
    centre = np.full_like(times, x), np.full_like(times, BEACON_Y)
    canvas.disc(*centre, np.full_like(times, 4.2), np.full_like(times, 4.2), colour)
    canvas.glow(*centre, 1.9, 1.9, np.full(3, 250.0), np.full_like(times, 0.9))

    n = np.arange(len(track.waveform)) / synth.SAMPLE_RATE
    phase = sense * 2 * np.pi * (n / turn + start)
    cycles = SIREN_CENTRE * n - SIREN_SWING * turn * sense / (2 * np.pi) * np.cos(phase)
    track.waveform += (
        0.42 * synth.sine(cycles) + 0.18 * synth.sine(2 * cycles) + 0.08 * synth.sine(3 * cycles)
    )
    peaks = every(turn, (sense * 0.25 - start) * turn, track.seconds)
    events = [Event(float(t), "peak", value=sense / turn) for t in peaks]
    facts = {"objects": 1, "hue": hue / NUM_HUES, "turn_seconds": turn, "sense": sense}
    return Scene(canvas.frames(), track.waveform, within(events, num_frames), facts)


def _post(x: float, horizon: float) -> Opacity:
    """Opacity of the post that carries the beacon."""

    def alpha(columns: Array, rows: Array) -> Array:
        return (np.clip(2.6 - np.abs(columns - x), 0, 1) * np.clip(horizon + 2 - rows, 0, 1)).astype(
            np.float32
        )[None]

    return alpha


def _light(x: float, angle: Array) -> Opacity:
    """Opacity of the beam: a soft wedge about `angle` (k,) that reaches 28 px."""

    def alpha(columns: Array, rows: Array) -> Array:
        dx, dy = (columns - x).astype(np.float32), (BEACON_Y - rows).astype(np.float32)
        distance = np.hypot(dx, dy) + 1e-3
        cosine = np.cos(angle).astype(np.float32)[:, None, None] * (dx / distance)
        cosine += np.sin(angle).astype(np.float32)[:, None, None] * (dy / distance)
        reach = np.clip((29 - distance) / 12, 0, 1)
        return np.exp(9.0 * (cosine - 1)) * (0.85 * reach * reach * (3 - 2 * reach))

    return alpha
