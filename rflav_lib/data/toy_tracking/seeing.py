"""Reading the toy worlds from pixels alone.

Backgrounds are muted and depend on the row alone, so what is saturated, or differs from the rest of its row,
is the object. Each tracker returns an empty list when there is nothing of its kind to see.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rflav_lib.data.seeds import BURST_SEED
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.data.toy_scenes.canvas import FRAME_RATE, SIZE, frame_times
from rflav_lib.data.toy_scenes.scene import Event
from rflav_lib.data.toy_tracking.fits import Array, arc, cosine, fit_cycle, fit_shape, flash_times, peaks

MIN_CHROMA = 70.0
"""Difference between a pixel's largest and smallest colour channel from which on it can be an object: no
background reaches 55, every object 120.
"""
MIN_MOTION = 10.0
"""Root mean square change between two frames from which on it can be a change of pose: real ones reach 20."""
EXPLAINED = 0.8
"""Share of the variance a fit must explain to count as an event."""


@dataclass(frozen=True)
class Blob:
    """The largest saturated object per frame: centre x, y (k,) in px, area (k,), how many there are (k,), hue
    0..1 over the clip; `core` (k h w) is where it is surely the object.
    """

    x: Array
    y: Array
    area: Array
    count: Array
    hue: float
    core: NDArray[np.bool_]


def chroma(frames: NDArray[np.uint8]) -> Array:
    """Largest minus smallest colour channel, smoothed over 3x3 pixels, float32 (k h w)."""
    red, green, blue = np.moveaxis(frames, -1, 0)  # numpy is slow at reducing an axis of 3
    highest, lowest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    difference = (highest - lowest).astype(np.float32)
    return ndimage.uniform_filter(difference, size=(0, 3, 3), mode="nearest")


def brightness(frames: NDArray[np.uint8]) -> Array:
    """Mean of the colour channels, float32 (k h w)."""
    red, green, blue = np.moveaxis(frames, -1, 0)
    return (red.astype(np.float32) + green + blue) / 3


def excess(frames: NDArray[np.uint8]) -> Array:
    """Brightness above the row's median over x and time, float32 (k h w), at least 0."""
    bright = brightness(frames)
    return np.maximum(0.0, bright - np.median(bright, axis=(0, 2))[None, :, None])


def find_blob(frames: NDArray[np.uint8], colour: Array | None = None) -> Blob | None:
    """Follow the saturated object; None unless one is there in at least 70 % of the frames.

    `colour` (k h w) is what it is found by, if not the `chroma` of the frames.
    """
    colour = chroma(frames) if colour is None else colour
    level = float(np.median(colour.max(axis=(1, 2))))
    if level < MIN_CHROMA:
        return None
    weight = np.clip((colour / level - 0.5) / 0.25, 0, 1)
    k = len(frames)
    x, y, area, count = (np.full(k, np.nan) for _ in range(4))
    core = np.zeros(weight.shape, dtype=bool)
    for i in range(k):
        labels, number = ndimage.label(weight[i] > 0.4)
        sizes = np.bincount(labels.ravel(), minlength=number + 1)[1:]
        count[i] = np.sum(sizes >= 10)
        if number == 0 or sizes.max() < 10:
            continue
        mask = labels == 1 + int(np.argmax(sizes))
        rows, columns = np.nonzero(mask)
        mass = weight[i][mask]
        x[i], y[i] = np.average(columns, weights=mass) + 0.5, np.average(rows, weights=mass) + 0.5
        area[i] = mass.sum()
        core[i] = mask & (weight[i] >= 1)
    seen = ~np.isnan(x)
    if seen.mean() < 0.7:
        return None
    frame = np.arange(k)
    x, y, area = (np.interp(frame, frame[seen], track[seen]) for track in (x, y, area))
    return Blob(x, y, area, count, mean_hue(frames[core]), core)


def mean_hue(pixels: NDArray[np.uint8]) -> float:
    """Circular mean hue, 0..1, of pixels (n 3), weighted by their chroma; NaN without any."""
    if len(pixels) == 0:
        return float("nan")
    return hue(pixels.astype(np.float64).mean(axis=0)) % 1.0


def hue(colour: Array) -> float:
    """The hue of a colour (3,) of any brightness, in turns: 0 is red, 1/3 green, -1/3 blue."""
    red, green, blue = colour
    return float(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue) / (2 * np.pi))


def bounces(frames: NDArray[np.uint8]) -> list[Event]:
    """Impacts of a ball: where two arcs of its flight meet."""
    blob = find_blob(frames)
    if blob is None:
        return []
    times, events = frame_times(len(frames)), []
    for low in peaks(blob.y, float(np.median(blob.y)), 3):
        t0, gain, explained = fit_cycle(
            times, blob.y, times[low], 0.08, 0.46, np.arange(0.36, 0.96, 0.02), arc
        )
        if gain < -5 and explained > EXPLAINED:
            events.append(Event(t0, "impact"))
    return events


def swings(frames: NDArray[np.uint8]) -> list[Event]:
    """Turns of a pendulum; value is -1 at the left, +1 at the right."""
    blob = find_blob(frames)
    if blob is None:
        return []
    times, events = frame_times(len(frames)), []
    for side in (-1.0, 1.0):
        track = side * blob.x
        for turn in peaks(track, float(np.median(track)), 3):
            t0, gain, explained = fit_cycle(
                times, track, times[turn], 0.08, 0.46, np.arange(0.5, 1.52, 0.04), cosine
            )
            if gain > 4 and explained > EXPLAINED:
                events.append(Event(t0, "turn", value=side))
    return sorted(events, key=lambda e: e.time)


def splashes(frames: NDArray[np.uint8]) -> list[Event]:
    """Hits of raindrops: wide flashes on the ground; value is x in px."""
    bright = brightness(frames)
    still = np.median(bright, axis=(0, 2))[None, :, None]
    alpha = np.clip((bright - still) / np.maximum(225.0 - still, 40.0), 0, 0.95)
    light = -np.log1p(-alpha)[:, 52:]  # undoes the saturation of overlapping light; (k rows x)
    wide = ndimage.gaussian_filter1d(light, 3.0, axis=2)
    ground = int(np.argmax(np.sort(wide, axis=0)[-max(2, len(frames) // 8) :].max(axis=2).mean(axis=0)))
    band = wide[:, max(0, ground - 1) : ground + 3].mean(axis=1)  # k x
    pair = band[:-1] + band[1:]
    top = ndimage.maximum_filter(pair, size=(3, 11))
    found = []
    for k, x in zip(*np.nonzero((pair == top) & (pair > 0.22)), strict=True):
        at_end = k in (0, len(pair) - 1)
        if at_end and band[k : k + 2, x].min() < 0.04:
            continue  # half of this flash lies outside the clip: its time cannot be told
        found.append(
            Event(float(k + 0.5 + band[k + 1, x] / pair[k, x]) / FRAME_RATE, "hit", value=float(x + 0.5))
        )
    return sorted(found, key=lambda e: e.time)


def sky_light(frames: NDArray[np.uint8]) -> Array:
    """Light in the sky above its usual brightness (k,)."""
    return excess(frames)[:, :48].mean(axis=(1, 2))


def bursts(frames: NDArray[np.uint8]) -> list[Event]:
    """Bursts of fireworks: a bloom of light in the sky that grows for 0.1 s and leaves fading sparks."""
    if len(frames) < 6:
        return []
    light, times, events = sky_light(frames), frame_times(len(frames)), []
    for k in peaks(light, 1.5, 4):
        near = slice(max(0, k - 3), k + 5)
        t0, gain, explained = fit_shape(times[near], light[near], times[k] - 0.02, 0.08, _burst_light)
        if gain > 1.5 and explained > EXPLAINED:
            events.append(Event(t0, "burst"))
    return events


def _burst_light(dt: Array) -> Array:
    """Light in the sky `dt` seconds after a burst, about 1 at its peak."""
    return np.interp(dt, *_burst_profile())


@functools.cache
def _burst_profile() -> tuple[Array, Array]:
    """The course of `sky_light` around a burst, averaged over real bursts: seconds (n,) and light (n,)."""
    ages, lights = [], []
    for index in range(24):
        made = make_clip(
            "toy-landscape", BURST_SEED, index, label=CLASSES["toy-landscape"].index("fireworks")
        )
        light, times = sky_light(made.clip.frames), frame_times(len(made.clip))
        for burst in (e.time for e in made.events if e.kind == "burst"):
            near = (times > burst - 0.2) & (times < burst + 0.6)
            ages += list(times[near] - burst)
            lights += list(light[near] / light.max())
    bins = np.arange(-0.2, 0.601, 0.02)
    weight = np.exp(-0.5 * ((bins[:, None] - np.asarray(ages)) / 0.012) ** 2)
    return bins, weight @ np.asarray(lights) / weight.sum(axis=1)


def beam_angles(frames: NDArray[np.uint8]) -> Array | None:
    """Direction (k,) of a beacon's beam in radians, unwrapped, anticlockwise from the right; None without a
    beacon.
    """
    colour = chroma(frames)
    steady = np.quantile(colour, 0.15, axis=0)
    if len(frames) < 5 or steady.max() < MIN_CHROMA:
        return None
    weight = np.maximum(0.0, steady - 0.6 * steady.max())
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    x, y = np.average(columns, weights=weight), np.average(rows, weights=weight)
    dx, dy = columns - x, y - rows
    distance = np.hypot(dx, dy)
    bright = brightness(frames)
    ring = (distance > 6) & (distance < 25)
    light = np.maximum(0.0, bright - np.quantile(bright, 0.3, axis=0) - 6.0) * ring
    total = light.sum(axis=(1, 2))
    vector = (light * ((dx + 1j * dy) / np.maximum(distance, 1e-6))).sum(axis=(1, 2))
    if np.median(total) < 400 or np.median(np.abs(vector) / np.maximum(total, 1e-6)) < 0.5:
        return None
    return np.unwrap(np.angle(vector))


def beam_peaks(frames: NDArray[np.uint8]) -> list[Event]:
    """Times when a beacon's beam points up; value is turns per second, positive anticlockwise."""
    angles = beam_angles(frames)
    return [] if angles is None else upward_moments(angles)


def upward_moments(angles: Array) -> list[Event]:
    """Times when a beam at `angles` (k,) as from `beam_angles` points up."""
    times = frame_times(len(angles))
    speed = (angles[-1] - angles[0]) / (times[-1] - times[0])
    if abs(speed) < 1.5:
        return []
    turns = np.sign(speed) * (angles / (2 * np.pi) - 0.25)
    turns = np.maximum.accumulate(turns)
    whole = np.arange(np.ceil(turns[0]), np.floor(turns[-1]) + 1)
    value = float(speed / (2 * np.pi))
    return [Event(float(np.interp(n, turns, times)), "peak", value=value) for n in whole]


def steps(frames: NDArray[np.uint8]) -> list[Event]:
    """Beats of a dance, where the picture changes fastest, and hats, where the mirror ball lights up.

    A beat's time is the centroid of the motion around it: good to 10 ms, and without bias over many beats.
    """
    if len(frames) < 6:
        return []
    below_ball = frames[:, 14:].astype(np.float32)
    # value i lies between frames i and i + 1
    moved = np.sqrt((np.diff(below_ball, axis=0) ** 2).mean(axis=(1, 2, 3)))
    events = []
    for place in peaks(moved, max(MIN_MOTION, 0.35 * float(np.quantile(moved, 0.95))), 3):
        near = np.arange(max(0, place - 2), min(len(moved), place + 3))
        weight = (moved[near] - moved[near].min()) ** 2
        events.append(Event(float(np.average(near + 1, weights=weight) / FRAME_RATE), "beat"))
    lamp = frames[:, :8, 26:38].astype(np.float32).mean(axis=(1, 2, 3))
    lamp -= np.quantile(lamp, 0.1)
    events += [Event(t, "hat", 1) for t in flash_times(lamp, FRAME_RATE, 25.0)]
    return sorted(events, key=lambda e: e.time)
