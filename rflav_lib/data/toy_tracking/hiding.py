"""Reading toy-pillar: when the ball was out of sight, and whether it came back in the colour it had.

Colours are read from pixels alone, as one of the world's 8 hues, so a ball of any colour agrees with another one
in 1 case of 8. Nothing but the ball is saturated: the pillar, its lamp and the backgrounds are not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rflav_lib.data.toy_scenes.landscape import PITCHES
from rflav_lib.data.toy_scenes.scene import NUM_HUES
from rflav_lib.data.toy_tracking import hearing
from rflav_lib.data.toy_tracking.fits import Array
from rflav_lib.data.toy_tracking.seeing import MIN_CHROMA, chroma, hue

CHANCE = 1 / NUM_HUES
MIN_AREA = 6
"""Saturated pixels from which on a frame shows the ball: real ones have 15 or more."""
MIN_ABSENCE = 3
"""Frames without a ball from which on it was hidden; fewer are a flaw of the picture."""
READ_FRAMES = 3
"""Frames with the ball from which a colour is read: the last before it goes, the first after it is back."""


@dataclass(frozen=True)
class Absence:
    """One time that the ball was out of sight.

    Attributes:
        gone, back: the first frame without it, and the first with it again.
        before, after: number of its hue, 0..7, in the 3 frames before `gone` and from `back` on.
    """

    gone: int
    back: int
    before: int
    after: int

    @property
    def frames(self) -> int:
        """How many frames it was away."""
        return self.back - self.gone

    @property
    def remembered(self) -> bool:
        """Whether it came back in its colour."""
        return self.before == self.after


def absences(frames: NDArray[np.uint8]) -> list[Absence]:
    """Every time that the ball went out of sight and came back, in frames uint8 (k h w 3)."""
    colours = ball_colours(frames)
    seen = np.flatnonzero(~np.isnan(colours[:, 0]))
    found = []
    for place in np.flatnonzero(np.diff(seen) > MIN_ABSENCE):
        before, after = colours[seen[: place + 1]], colours[seen[place + 1 :]]
        found.append(
            Absence(
                gone=int(seen[place]) + 1,
                back=int(seen[place + 1]),
                before=hue_number(before[-READ_FRAMES:].sum(axis=0)),
                after=hue_number(after[:READ_FRAMES].sum(axis=0)),
            )
        )
    return found


def ball_colours(frames: NDArray[np.uint8]) -> Array:
    """Sum of the red, green and blue of the ball's pixels (k 3); NaN in frames without a ball."""
    colourful = chroma(frames)
    colours = np.full((len(frames), 3), np.nan)
    for number, (frame, strength) in enumerate(zip(frames, colourful, strict=True)):
        ball = strength > max(MIN_CHROMA, 0.7 * float(strength.max()))
        if ball.sum() >= MIN_AREA:
            colours[number] = frame[ball].sum(axis=0, dtype=np.float64)
    return colours


def ball_hue(frames: NDArray[np.uint8], first: int, last: int) -> int | None:
    """The hue of the ball in frames `first` to `last` - 1 of frames uint8 (k h w 3); None where there is no ball."""
    colours = ball_colours(frames[first:last])
    return None if np.isnan(colours).all() else hue_number(np.nansum(colours, axis=0))


def hue_number(colour: Array) -> int:
    """The nearest of the 8 hues to a colour (3,), of any brightness."""
    return round(hue(colour) * NUM_HUES) % NUM_HUES


def tone_hue(log_mel: ArrayLike, first: int, last: int) -> int | None:
    """The hue whose pitch sounds in frames `first` to `last` - 1 of a log-mel (m n); None in silence."""
    piece = np.asarray(log_mel, dtype=np.float32)[:, 10 * first : 10 * last]
    loudness = piece.max(axis=0, initial=-np.inf)
    loud = loudness > max(hearing.SILENCE + 3, float(loudness.max(initial=-np.inf)) - 1)
    if not loud.any():
        return None
    pitch = float(np.median(hearing.tone(piece[:, loud], 250, 2_300)))
    return int(np.argmin(np.abs(np.log(np.asarray(PITCHES) / pitch))))
