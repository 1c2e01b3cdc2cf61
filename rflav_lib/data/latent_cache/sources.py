"""Where the clips of a cache come from."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rflav_lib.av_sound import sound
from rflav_lib.data.clips import FULL_SIZE_FRAMES, ClipFolder
from rflav_lib.data.latent_cache.index import CachedClip
from rflav_lib.data.toy import CLASSES, check_world, draw_label, make_clip
from rflav_lib.media import Clip
from rflav_lib.numbers_given import LARGEST_SEED, whole_number


class ClipSource(Protocol):
    """Clips to encode.

    Attributes:
        facts: where they come from, ready for JSON.
        class_names: names of the labels, in order.
        clips: what there is.
        left_out: what there is not, and why.
    """

    facts: dict[str, Any]
    class_names: tuple[str, ...]
    clips: tuple[CachedClip, ...]
    left_out: dict[str, str]

    def pieces(self, clip: int, start: int, frames: int) -> Iterator[Clip]:
        """`frames` frames of a clip from `start` on, in pieces small enough to hold in memory."""
        ...

    def loudest(self, clip: int) -> float:
        """The largest absolute sample of a clip's whole sound."""
        ...


class ToySource:
    """`count` clips of a toy world, each of `clip_frames` frames: numbers 0 to count - 1 of a seed.

    Raises:
        ValueError: no such world, or a number that is too small.
    """

    left_out: dict[str, str] = {}

    def __init__(self, world: str, seed: int, count: int, clip_frames: int) -> None:
        check_world(world)
        seed = whole_number(seed, "seed", 0, LARGEST_SEED)
        count, clip_frames = whole_number(count, "count", 0), whole_number(clip_frames, "clip_frames")
        self.facts = {"world": world, "seed": seed}
        self.class_names = CLASSES[world]
        self.clips = tuple(
            CachedClip(f"{world} {seed} {number}", clip_frames, draw_label(world, seed, number), {})
            for number in range(count)
        )
        # a clip is made whole, and asked for in several pieces or for its sound
        self._make = lru_cache(2)(lambda number: make_clip(world, seed, number, clip_frames).clip)

    def pieces(self, clip: int, start: int, frames: int) -> Iterator[Clip]:
        """One piece: toy clips are made in memory anyway."""
        yield self._make(clip).part(start, start + frames)

    def loudest(self, clip: int) -> float:
        """The largest absolute sample of a clip."""
        return float(np.abs(self._make(clip).waveform).max())


class FolderSource:
    """The clips of a `ClipFolder`."""

    def __init__(self, folder: ClipFolder) -> None:
        self.folder = folder
        self.facts = {
            "split": folder.split, "frame_rate": folder.frame_rate, "sample_rate": folder.sample_rate,
        }  # fmt: skip
        self.class_names = tuple(folder.class_names)
        self.clips = tuple(
            CachedClip(self._name(file.path), file.frames, file.label, _state(file.path))
            for file in folder.files
        )
        self.left_out = {self._name(path): reason for path, reason in folder.left_out}

    def pieces(self, clip: int, start: int, frames: int) -> Iterator[Clip]:
        """Letterboxed, a few frames at a time."""
        yield from self.folder.pieces(self.folder.files[clip], FULL_SIZE_FRAMES, start, frames)

    def loudest(self, clip: int) -> float:
        """The largest absolute sample of a file's sound."""
        file = self.folder.files[clip]
        pieces = sound(file.path, file.info, self.folder.sample_rate)
        return max((float(np.abs(piece).max()) for piece in pieces), default=0.0)

    def _name(self, path: Path) -> str:
        name = path.relative_to(self.folder.root).as_posix()
        return name.encode("utf-8", "backslashreplace").decode()  # names may hold bytes that are no text


def _state(path: Path) -> dict[str, int]:
    state = path.stat()
    return {"bytes": state.st_size, "modified": state.st_mtime_ns}
