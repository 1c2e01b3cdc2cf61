"""Antialiased drawing on 64x64 frames, all frames of a clip at once.

Coordinates are in pixels, x to the right and y down; pixel i covers [i, i+1) and its centre is i + 0.5.
Colours are 0..255. Frame k shows the instant (k + 0.5) / 10 s, the middle of the sound that belongs to it.

Nothing is drawn over the whole frame unless it fills it: shapes are evaluated on a small patch around the
object and blended there, which is what makes clips quick to draw.
"""

import colorsys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE = 64
FRAME_RATE = 10
SHUTTER = 0.1
"""Half width in seconds of the triangular exposure that shows a sudden flash: see `flash`."""

Array = NDArray[np.floating]

# (sky at the top, sky at the horizon, ground): muted, so that a saturated or bright thing is an object.
# All classes share this palette: the background says nothing about the class.
PALETTE: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((18, 22, 46), (56, 62, 98), (26, 28, 42)),  # night
    ((46, 34, 60), (122, 86, 98), (42, 33, 44)),  # dusk
    ((16, 38, 48), (66, 102, 106), (24, 38, 42)),  # teal
    ((24, 36, 34), (86, 102, 86), (30, 37, 31)),  # forest
    ((38, 42, 52), (108, 113, 121), (37, 39, 45)),  # slate
    ((46, 34, 30), (126, 102, 82), (44, 36, 31)),  # umber
)

_CENTRES = np.arange(SIZE, dtype=np.float32) + 0.5


def frame_times(num_frames: int) -> Array:
    """Instants (k,) in seconds that the frames show: (k + 0.5) / 10."""
    return (np.arange(num_frames) + 0.5) / FRAME_RATE


def flash(times: Array, event: float | Array) -> Array:
    """How bright a flash at `event` is in frames at `times`: 1 - |dt| / 0.1 s, at least 0.

    A flash thus falls on two frames whose brightnesses add up to one and whose centroid is the event's
    exact time; the frame whose 0.1 s segment holds the event shows at least half of it.
    """
    return np.maximum(0.0, 1.0 - np.abs(times - event) / SHUTTER)


def hsv(hue: float, saturation: float, value: float) -> Array:
    """RGB (3,) in 0..255 of a hue, saturation and value in 0..1."""
    return np.asarray(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), dtype=np.float32) * 255


class Patch(NamedTuple):
    """A square around an object in each frame: flat indices (k p q) of its red values, offsets x (k 1 q), y
    (k p 1).
    """

    cells: NDArray[np.intp]
    x: Array
    y: Array


class Canvas:
    """The frames of a clip, float32 (k 3 h w) in 0..255, starting as sky and ground.

    Colours come before places here (numpy is several times slower at broadcasting over a last axis of 3);
    `frames` turns them round.
    """

    def __init__(self, num_frames: int, palette: int, horizon: float) -> None:
        sky, low, ground = (np.asarray(c, dtype=np.float32) for c in PALETTE[palette])
        height = np.clip(_CENTRES / horizon, 0, 1)[:, None]
        shade = 1 - 0.35 * np.clip((_CENTRES - horizon) / (SIZE - horizon), 0, 1)[:, None]
        below = np.clip((_CENTRES - horizon) / 1.5 + 0.5, 0, 1)[:, None]
        rows = (sky + (low - sky) * height**1.5) * (1 - below) + ground * shade * below
        self.rgb = np.empty((num_frames, 3, SIZE, SIZE), dtype=np.float32)
        self.rgb[:] = rows.T[:, :, None]
        self._flat = self.rgb.reshape(-1)

    def patch(
        self, x: Array, y: Array, size: tuple[int, int], frames: NDArray[np.intp] | None = None
    ) -> Patch:
        """Rectangles (width, height) around (x, y), each (k,); `frames` names the frames if not all of them.

        A rectangle never leaves the frame: near the border it is moved inside, so nothing visible is cut off.
        """
        frames = np.arange(len(self.rgb)) if frames is None else frames
        width, height = (min(SIZE, extent) for extent in size)
        left = np.clip(np.floor(x - width / 2 + 0.5).astype(np.intp), 0, SIZE - width)
        top = np.clip(np.floor(y - height / 2 + 0.5).astype(np.intp), 0, SIZE - height)
        rows, columns = top[:, None] + np.arange(height), left[:, None] + np.arange(width)
        index = ((frames[:, None] * 3 * SIZE + rows) * SIZE)[:, :, None] + columns[:, None, :]
        offset_x = (columns + 0.5 - x[:, None]).astype(np.float32)
        offset_y = (rows + 0.5 - y[:, None]).astype(np.float32)
        return Patch(index, offset_x[:, None, :], offset_y[:, :, None])

    def blend(self, patch: Patch, alpha: Array, colour: Array) -> None:
        """Lay `colour` (3,) over the patch with opacity `alpha` (k p q) in 0..1."""
        alpha = alpha.astype(np.float32, copy=False)
        keep = 1 - alpha
        for channel in range(3):
            index = patch.cells + channel * SIZE * SIZE
            self._flat[index] = self._flat.take(index) * keep + alpha * np.float32(colour[channel])

    def disc(
        self, x: Array, y: Array, rx: Array, ry: Array, colour: Array, opacity: float | Array = 1.0
    ) -> None:
        """A filled ellipse per frame with a soft edge; centre, radii and opacity (k,)."""
        patch = self.patch(x, y, (2 * int(np.ceil(np.max(rx))) + 4, 2 * int(np.ceil(np.max(ry))) + 4))
        rx3, ry3 = (np.asarray(r, dtype=np.float32).reshape(-1, 1, 1) for r in (rx, ry))
        distance = (np.sqrt((patch.x / rx3) ** 2 + (patch.y / ry3) ** 2) - 1) * np.minimum(rx3, ry3)
        self.blend(patch, coverage(distance) * np.reshape(opacity, (-1, 1, 1)), colour)

    def glow(self, x: Array, y: Array, sx: float, sy: float, colour: Array, opacity: Array) -> None:
        """A Gaussian spot of light per frame, standard deviations `sx`, `sy` px; opacity (k,) there."""
        lit = np.flatnonzero(opacity > 0.004)
        if len(lit) == 0:
            return
        patch = self.patch(
            x[lit], y[lit], (2 * int(np.ceil(2.8 * sx)) + 2, 2 * int(np.ceil(2.8 * sy)) + 2), lit
        )
        light = np.exp(-0.5 * (patch.x / sx) ** 2) * np.exp(-0.5 * (patch.y / sy) ** 2)
        self.blend(patch, light * opacity[lit].astype(np.float32).reshape(-1, 1, 1), colour)

    def limb(self, a: tuple[Array, Array], b: tuple[Array, Array], width: float, colour: Array) -> None:
        """A thick line with round ends from `a` to `b`, each (x (k,), y (k,)); `width` is its half
        thickness.
        """
        dx, dy = b[0] - a[0], b[1] - a[1]
        across, down = (int(np.ceil(np.abs(extent).max() + 2 * width)) + 4 for extent in (dx, dy))
        patch = self.patch((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (across, down))
        dx3, dy3 = (d.astype(np.float32).reshape(-1, 1, 1) for d in (dx, dy))
        along = np.clip((patch.x * dx3 + patch.y * dy3) / (dx3**2 + dy3**2 + 1e-6), -0.5, 0.5)
        distance = np.sqrt((patch.x - along * dx3) ** 2 + (patch.y - along * dy3) ** 2) - width
        self.blend(patch, coverage(distance), colour)

    def dots(self, x: Array, y: Array, sx: float, sy: float, strength: Array, colour: Array) -> None:
        """Many Gaussian dots: centres and strengths (k n); overlapping ones saturate instead of overflowing.

        A Gaussian is a product of one in x and one in y, so a frame full of them is a single small matrix
        product.
        """
        across = np.exp(-0.5 * ((_CENTRES - x.astype(np.float32)[..., None]) / sx) ** 2)
        down = np.exp(-0.5 * ((_CENTRES - y.astype(np.float32)[..., None]) / sy) ** 2)
        down *= strength.astype(np.float32)[..., None]
        light = np.matmul(down.swapaxes(1, 2), across)
        lit = np.flatnonzero(light.max(axis=(1, 2)) > 0.004)
        keep = np.exp(-light[lit])
        for channel in range(3):
            self.rgb[lit, channel] = (self.rgb[lit, channel] - colour[channel]) * keep + colour[channel]

    def shade(
        self, region: tuple[slice, slice], alpha: Callable[[Array, Array], Array], colour: Array
    ) -> None:
        """Lay `colour` over rows and columns `region` of all frames; `alpha(x (q,), y (p, 1))` -> (k p q)."""
        rows, columns = region
        opacity = alpha(_CENTRES[columns], _CENTRES[rows][:, None])
        for channel in range(3):
            view = self.rgb[:, channel, rows, columns]
            view += opacity * (np.float32(colour[channel]) - view)

    def frames(self) -> NDArray[np.uint8]:
        """The finished frames, uint8 (k h w 3)."""
        return np.ascontiguousarray(np.moveaxis((self.rgb + 0.5).astype(np.uint8), 1, -1))


def coverage(distance: Array) -> Array:
    """Share of a pixel inside a shape whose edge is `distance` px away (negative inside), over a 1.4 px
    soft edge.
    """
    edge = np.clip(0.5 - distance / 1.4, 0.0, 1.0)
    return edge * edge * (3 - 2 * edge)
