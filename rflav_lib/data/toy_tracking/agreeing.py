"""Does what is heard have the pitch that what is seen asks for? Picture and sound are read each on its own.

The laws are those of `toy_scenes.landscape`: a ball rings at the pitch of its hue, a drop the higher the further to
the right it lands, a whistle rises with its rocket, a siren follows the height of its beam. A pendulum ticks and a
dance plays without such a law.
"""

import numpy as np
from numpy.typing import NDArray

from rflav_lib.data.toy_scenes.canvas import FRAME_RATE, frame_times
from rflav_lib.data.toy_scenes.landscape import (
    PITCHES,
    SIREN_CENTRE,
    SIREN_SWING,
    WHISTLE_LOW,
    WHISTLE_RISE,
    rain_pitch,
)
from rflav_lib.data.toy_scenes.scene import NUM_HUES, Event
from rflav_lib.data.toy_tracking import hearing, seeing
from rflav_lib.data.toy_tracking.fits import Array
from rflav_lib.data.toy_tracking.tally import Tally, pair

HALF_STEP = (PITCHES[1] / PITCHES[0]) ** 0.5 - 1
"""How far a ball's ring may be from its hue's pitch: half of the step to the next hue's, 14 %."""
TOLERANCE = 0.10
"""How far any other pitch may be from what is seen. Trackers are good to 3 to 5 %; a tenth is 7 px of a drop's place,
6 px of a rocket's height, and a beam 17 degrees above or below the horizontal."""
PLINK_GLIDE = 1.054
"""A plink rises as it fades; in the columns that are heard it is this much above where it began."""


def ball_pitch(frames: NDArray[np.uint8], log_mel: Array, impacts: list[Event]) -> Tally:
    """Impacts heard that ring at the pitch of the hue that the ball has within 0.3 s of them."""
    blob, times = seeing.find_blob(frames), frame_times(len(frames))
    if blob is None:
        return Tally()
    right = of = 0
    for impact in impacts:
        # the tone is clearest 50 to 100 ms after an impact: the click is over and the harmonics are dying
        pitch = _pitch(log_mel, impact.time, slice(5, 11), 250, 2_300)
        near = np.abs(times - impact.time) < 0.3
        hue = seeing.mean_hue(frames[near][blob.core[near]])
        if pitch is None or np.isnan(hue):
            continue
        of += 1
        right += _close(pitch, PITCHES[round(hue * NUM_HUES) % NUM_HUES], HALF_STEP)
    return Tally(right, of)


def drop_pitch(frames: NDArray[np.uint8], log_mel: Array, plinks: list[Event]) -> Tally:
    """Landings seen and heard whose plink has the pitch of their place."""
    hits = seeing.splashes(frames)
    pairs = pair(np.array([e.time for e in hits]), np.array([e.time for e in plinks]))
    right = of = 0
    for i, j in pairs.items():
        pitch, place = _pitch(log_mel, plinks[j].time, slice(2, 6), 1_000, 3_400), hits[i].value
        if pitch is not None and place is not None:
            of += 1
            right += _close(pitch / PLINK_GLIDE, rain_pitch(place), TOLERANCE)
    return Tally(right, of)


def rocket_pitch(frames: NDArray[np.uint8], log_mel: Array) -> Tally:
    """Frames in the 0.35 s before a burst whose whistle has the pitch of the rocket's height."""
    light, times = seeing.excess(frames)[:, :50], frame_times(len(frames))
    ground = _horizon(frames)
    right = of = 0
    for burst in seeing.bursts(frames):
        bloom = int(burst.time * FRAME_RATE)
        top = _height(light[bloom])
        for k in range(max(0, bloom - 3), bloom):
            # a rocket is drawn 3 px below its tip
            up = (ground - (_height(light[k]) - 3.0)) / max(ground - top, 1.0)
            pitch = _pitch(log_mel, times[k], slice(-1, 1), 450, 2_150)
            if pitch is not None and burst.time - times[k] > 0.03:
                of += 1
                right += _close(pitch, WHISTLE_LOW + WHISTLE_RISE * min(up, 1.0), TOLERANCE)
    return Tally(right, of)


def beam_pitch(frames: NDArray[np.uint8], log_mel: Array) -> Tally:
    """Frames in which a siren's pitch is that of its beam's height."""
    angles, pitch = seeing.beam_angles(frames), hearing.siren_pitch(log_mel)
    if angles is None or pitch is None:
        return Tally()
    columns = len(pitch) // len(frames)
    heard = np.median(pitch[: columns * len(frames)].reshape(len(frames), columns), axis=1)
    wanted = SIREN_CENTRE + SIREN_SWING * np.sin(angles)
    return Tally(sum(_close(*both, TOLERANCE) for both in zip(heard, wanted, strict=True)), len(frames))


def _pitch(log_mel: Array, time: float, columns: slice, low: float, high: float) -> float | None:
    """Median pitch in Hz of the mel columns counted from `time`; None where none lies in the clip, or in silence."""
    inside = [c for c in range(round(100 * time) + columns.start, round(100 * time) + columns.stop)
              if 0 <= c < log_mel.shape[1]]  # fmt: skip
    if not inside or float(log_mel[:, inside].max()) < hearing.SILENCE:
        return None
    return float(np.median(hearing.tone(log_mel[:, inside], low, high)))


def _close(pitch: float, wanted: float, tolerance: float) -> bool:
    return bool(abs(np.log(pitch / wanted)) <= np.log1p(tolerance))


def _height(light: Array) -> float:
    """Row in px of the centre of the strongest light (h w)."""
    bright = np.maximum(0.0, light - 0.5 * light.max())
    rows = np.arange(len(light)) + 0.5
    return float(np.average(rows, weights=bright.sum(axis=1) + 1e-9))


def _horizon(frames: NDArray[np.uint8]) -> float:
    """Row in px where the sky ends: the strongest step between the rows' usual brightness near where it can be."""
    usual = np.median(seeing.brightness(frames), axis=(0, 2))
    step = np.abs(np.diff(usual))[49:62]
    return float(np.average(np.arange(50, 50 + len(step)), weights=step**2 + 1e-9))
