"""From a decoded frame to the picture that is meant: upright, unmirrored, with square pixels, RGB."""

from fractions import Fraction
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

NEARLY_SQUARE = 0.01  # pixels whose sides differ by less are left as they are


def orientation(frame: Any) -> tuple[int, bool]:
    """How the stored picture is to be shown: turned by so many degrees counter-clockwise, then mirrored or not.

    From the frame's display matrix, which phones write. Other angles are taken as the nearest quarter turn.
    Asking for a frame's side data makes a circle of references, so ask one frame, not each.
    """
    if Type.DISPLAYMATRIX not in frame.side_data:
        return 0, False
    a, b, _, c, d, *_ = np.frombuffer(frame.side_data[Type.DISPLAYMATRIX], np.int32).tolist()
    # a point (x, y), y down, goes to (a x + c y, b x + d y)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return (90 if b < 0 else 270), (b < 0) == (c < 0)
    return (180 if d < 0 else 0), (a < 0) != (d < 0)


class Renderer:
    """Makes pictures of one stream's frames; holds what makes the next one cheap.

    Args:
        rotation, mirrored: see `orientation`.
        pixel_aspect: width of a stored pixel over its height; None for square.
    """

    def __init__(self, rotation: int, mirrored: bool, pixel_aspect: Fraction | None) -> None:
        self.turns, self.mirrored, self.pixel_aspect = rotation // 90, mirrored, pixel_aspect
        self._reformatter = VideoReformatter()

    def picture(self, frame: Any) -> np.ndarray:
        """A decoded frame as it is meant to be seen: uint8 (h w 3)."""
        width = square_width(frame.width, self.pixel_aspect)
        # one thread: those of FFmpeg's scaler do not survive a fork, and a DataLoader's workers are forked
        rgb = self._reformatter.reformat(frame, width=width, format="rgb24", threads=1)
        pixels = np.rot90(rgb.to_ndarray(), self.turns)
        return pixels[:, ::-1] if self.mirrored else pixels


def square_width(width: int, pixel_aspect: Fraction | None) -> int:
    """Pixels a row needs so that they are square; damaged headers ask for absurd ones, which are not heard."""
    if not pixel_aspect or not 0.25 <= pixel_aspect <= 4 or abs(pixel_aspect - 1) < NEARLY_SQUARE:
        return width
    return round(width * pixel_aspect)
