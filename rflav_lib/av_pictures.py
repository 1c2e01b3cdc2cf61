"""The pictures of a media file at a wanted rate, from any instant on."""

from collections.abc import Iterator
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from rflav_lib.av_files import MediaError
from rflav_lib.av_orientation import Renderer
from rflav_lib.av_probe import SLACK, MediaInfo
from rflav_lib.av_source import best_stream, decoded, opened, seek

SAME = 1e-6  # s; time stamps nearer than this are equal
NEAR = 1.0  # s; no seeking for so little
FURTHER_BACK = (0.0, 2.0, 10.0)  # s; tried in turn where a file's seek points lead too far


def pictures(
    path: Path, info: MediaInfo, frame_rate: float, first: int, count: int, to_end: bool = False
) -> Iterator[np.ndarray]:
    """Frames first, first + 1, ... of the file's clip: `count` pictures uint8 (h w 3), one at a time.

    Frame k is what is on the screen at `info.start` + (k + 1/2) / frame_rate: in the middle of the sound that
    belongs to it (the clock of `data.toy`). Memory does not grow with the file. With `to_end` what follows the
    last frame is decoded too, so that damage in it does not go unseen.

    Raises:
        MediaError: damaged data, pictures that change their size, or fewer than the file says.
    """
    instants = [info.start + (first + k + 0.5) / frame_rate for k in range(count)]
    shown, picture, done = None, None, 0
    render: Renderer | None = None
    for frame, aspect in _from(path, info, instants[0]):
        render = render or Renderer(info.rotation, info.mirrored, aspect)
        while done < count and shown is not None and frame.time > instants[done] + SAME:
            picture = _checked(path, info, render, shown) if picture is None else picture
            yield picture
            done += 1
        if done == count and not to_end:
            return
        shown, picture = frame, None
    assert shown is not None and render is not None, "_from gives at least one frame, or raises"
    end = shown.time + float((shown.duration or 0) * shown.time_base)
    if end < info.video_end - SLACK - float((shown.duration or 0) * shown.time_base):
        raise MediaError(f"{path}: is truncated: video ends after {end:.2f} s of {info.video_end:.2f} s")
    picture = _checked(path, info, render, shown) if picture is None else picture
    for _ in range(count - done):
        yield picture


def _checked(path: Path, info: MediaInfo, render: Renderer, frame: Any) -> np.ndarray:
    picture = render.picture(frame)
    height, width, _ = picture.shape
    if (width, height) != (info.width, info.height):
        raise MediaError(f"{path}: its pictures change their size: {width}x{height} at {frame.time:.2f} s")
    return picture


def _from(path: Path, info: MediaInfo, instant: float) -> Iterator[tuple[Any, Any]]:
    """Decoded frames in order, the first of them on the screen at `instant` or before it."""
    for back in (*FURTHER_BACK, inf):
        target = instant - back
        from_start = target < info.video_start + NEAR
        with opened(path) as container:
            stream = best_stream(container, "video")
            if stream is None:
                raise MediaError(f"{path}: has no video stream any more: it was changed while it was read")
            if not (from_start or seek(container, stream, target)):
                continue
            frames = decoded(path, container, stream, after_seek=not from_start)
            first = next(frames, None)
            if not from_start and (first is None or first.time > instant + SAME):
                continue
            if first is None:
                raise MediaError(f"{path}: the video stream is empty")
            for frame in chain([first], frames):
                yield frame, stream.sample_aspect_ratio
            return
