"""The scene of toy-pillar: a ball rolls behind a pillar, stays there, and comes out on the other side.

Made for one question: does a model still know what it has not seen for a while? So all but the colour is on view
the whole time. A lamp on the pillar tells how long the ball will still be away and, by climbing or sinking, where
it will come out; the class tells the same. Only the ball tells its colour, and its sound: a tone at the pitch of
the colour. By choice the sound does not help: it is silent while the ball is out of sight, and a little longer, so
that no frame in between holds the colour in its picture or in its sound, and only a memory can bring it back.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rflav_lib.data.toy_scenes import synth
from rflav_lib.data.toy_scenes.canvas import FRAME_RATE, SIZE, Array, Canvas, frame_times, hsv
from rflav_lib.data.toy_scenes.landscape import PITCHES
from rflav_lib.data.toy_scenes.scene import NUM_HUES, Event, Scene, stage, within

HIDDEN_FRAMES: tuple[int, ...] = (5, 10, 20, 40)
"""Frames in which nothing of the ball is seen, by class."""

HALF_WIDTH = 9.0
"""Half the pillar's width in px: more than the radius of the largest ball, 6 px."""
FIRST_BIT = 2.5
"""px by which the ball sticks out at least when it is in view: enough to see its colour in every such frame."""
PILLAR_TOP = 5.0
LAMP_TOP, LAMP_ABOVE_GROUND = 10.0, 5.0
"""Where the lamp's way ends: px below the top of the frame, and px above the horizon."""
SILENT_BELOW, FULL_ABOVE = 0.6, 1.0
"""The share of the ball that is out from behind the pillar between which its tone swells: it is silent 0.12 s
before the ball is hidden, and a frame's mel segment hears no more than 0.08 s beyond the frame's instant.
"""

# grey: what is saturated is the ball
STONE, LIGHT_STONE, LAMP = (
    np.asarray(colour, dtype=np.float32) for colour in ((104, 103, 100), (142, 140, 135), (255, 252, 240))
)


@dataclass(frozen=True)
class Course:
    """Where the ball is when.

    Attributes:
        start: seconds that the ball has been in view when the clip starts.
        in_view, away: seconds in view on a side, and hidden.
        side: where it starts, -1 for left of the pillar, +1 for right.
        reach: px that it sticks out from behind the pillar at its farthest.
    """

    start: float
    in_view: float
    away: float
    side: float
    reach: float

    def at(self, seconds: Array) -> tuple[Array, Array, Array]:
        """Side from which it went or will go behind the pillar, px it sticks out (0 when hidden), and the
        share of its absence that is over (0 in view); all (n,).
        """
        turn, since = np.divmod(seconds + self.start, self.in_view + self.away)
        out = FIRST_BIT + (self.reach - FIRST_BIT) * np.sin(np.pi * np.minimum(since / self.in_view, 1.0))
        hidden = since >= self.in_view
        side = self.side * np.where(turn % 2 == 0, 1.0, -1.0)
        return side, np.where(hidden, 0.0, out), np.maximum(0.0, since - self.in_view) / self.away

    def changes(self, end: float) -> list[tuple[float, str]]:
        """Times up to `end` at which it is hidden and shown again."""
        going = np.arange(self.in_view - self.start, end, self.in_view + self.away)
        return [
            (float(t) + late, kind) for t in going for late, kind in ((0.0, "hidden"), (self.away, "shown"))
        ]


def pillar(rng: np.random.Generator, num_frames: int, hidden_frames: int) -> Scene:
    """A ball that is out of sight for exactly `hidden_frames` frames at a time. Events: hidden, when the last of
    it goes, and shown, when the first of it comes back; value = hue.

    Unlike the other scenes this one has a beginning: the ball is in view when a clip starts.
    """
    canvas, horizon, track = stage(rng, num_frames)
    radius, hue, centre = rng.uniform(5.0, 6.0), int(rng.integers(NUM_HUES)), rng.uniform(31.0, 33.0)
    in_view = rng.uniform(2.3, 2.6)
    course = Course(
        start=rng.uniform(0.15, 0.85) * in_view,
        in_view=in_view,
        away=hidden_frames / FRAME_RATE,
        side=-1.0 if rng.uniform() < 0.5 else 1.0,
        reach=min(centre, SIZE - centre) - HALF_WIDTH - 1.0,
    )

    side, out, waited = course.at(frame_times(num_frames))
    _ball(canvas, centre + side * (HALF_WIDTH - radius + out), horizon, radius, out > 0, hue / NUM_HUES)
    _column(canvas, centre, horizon)
    climbed = np.where(side < 0, waited, 1 - waited)  # up when the ball is on its way to the right
    low = horizon - LAMP_ABOVE_GROUND
    canvas.glow(
        np.full_like(out, centre), low + climbed * (LAMP_TOP - low), 3.0, 3.0, LAMP, 0.95 * (out == 0)
    )

    n = np.arange(len(track.waveform)) / synth.SAMPLE_RATE
    share = course.at(n)[1] / (2 * radius)
    swell = np.clip((share - SILENT_BELOW) / (FULL_ABOVE - SILENT_BELOW), 0, 1)
    tone = 0.45 * synth.sine(PITCHES[hue] * n) + 0.15 * synth.sine(2 * PITCHES[hue] * n)
    track.waveform += (swell * swell * (3 - 2 * swell)).astype(np.float32) * tone
    events = [Event(time, kind, value=hue / NUM_HUES) for time, kind in course.changes(track.seconds)]
    facts = {"objects": 1, "hue": hue / NUM_HUES, "pitch": PITCHES[hue], "hidden_frames": hidden_frames,
             "in_view_seconds": in_view}  # fmt: skip
    return Scene(canvas.frames(), track.waveform, within(events, num_frames), facts)


def _ball(
    canvas: Canvas, x: Array, horizon: float, radius: float, in_view: NDArray[np.bool_], hue: float
) -> None:
    """A ball on the ground with its shadow, in the frames in which it is in view (k,)."""
    colour, y, size = hsv(hue, 0.82, 1.0), np.full_like(x, horizon - radius), np.full_like(x, radius)
    canvas.glow(x, y + radius + 1.5, 0.75 * radius, 1.6, np.zeros(3), 0.45 * in_view)
    canvas.disc(x, y, size, size, 0.86 * colour, 1.0 * in_view)
    spot = 0.34 * radius
    canvas.glow(x - spot, y - spot, spot, spot, 0.45 * colour + 140, 0.75 * in_view)


def _column(canvas: Canvas, centre: float, horizon: float) -> None:
    """The pillar, over all that is drawn: 18 px of stone, lighter along the middle."""
    region = (slice(0, SIZE), slice(0, SIZE))
    foot = horizon + 3.5  # below the ball's shadow

    def body(columns: Array, rows: Array) -> Array:
        across = np.clip(HALF_WIDTH + 0.5 - np.abs(columns - centre), 0, 1)
        return (across * np.clip(rows - PILLAR_TOP, 0, 1) * np.clip(foot - rows, 0, 1)).astype(np.float32)[
            None
        ]

    def middle(columns: Array, rows: Array) -> Array:
        light = np.exp(-0.5 * ((columns - centre) / 3.5) ** 2).astype(np.float32)
        return 0.8 * light * body(columns, rows)

    canvas.shade(region, body, STONE)
    canvas.shade(region, middle, LIGHT_STONE)
