"""Folders of real video with sound, as windows of frames for training."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from rflav_lib.av_probe import MediaInfo
from rflav_lib.data.clip_index import Found, opened_index
from rflav_lib.image_codec import letterbox, to_uint8
from rflav_lib.media import Clip
from rflav_lib.numbers_given import whole_number

FULL_SIZE_FRAMES = 10  # frames held at the size of the file at once: 62 MB at 1920x1080
NO_CLASS = -1  # what a DataLoader collates where there are no classes


@dataclass(frozen=True)
class ClipFile:
    """A file that can be used.

    Attributes:
        path: where it lies.
        label: index into `ClipFolder.class_names`; None where there are no classes.
        frames: how many it has at the folder's frame rate.
        info: its streams, sizes, rates and times.
    """

    path: Path
    label: int | None
    frames: int
    info: MediaInfo


class ClipFolder(Dataset):
    """Every window of `frames` frames in the clips of `<root>/<split>/[class/]`.

    Item i is one window; len() counts them, at every offset of every file, in order of files, then offsets:

        frames    uint8 (k size size 3), letterboxed as the paper does (`image_codec.letterbox`)
        waveform  float32 (s,), the sound of these frames, s = frames * sample_rate / frame_rate, rounded
        label     int, an index into `class_names`; -1 where there are no classes

    What is in the files is looked up once, in parallel, and kept in `.rflav-clips.json` in the root; later only
    files that changed are looked at. Nothing is left out in silence: see `left_out` and `report`.

    Args:
        root: the folder that holds the splits.
        split: "train" or "test", or another folder of the root.
        frames: in a window (paper: T = 10).
        size: of the square pictures in pixels.
        frame_rate: frames per second.
        sample_rate: samples per second.
        strict: raise where something would be left out.
        workers: files looked at at once; None for one a core.
        index_file: where to keep the index instead, for a root that cannot be written.

    Attributes:
        files: the `ClipFile`s that can be used, in order of their paths.
        class_names: all classes of all splits; the stored list, so a label means the same everywhere.
        left_out: (path, reason) of everything else that lies there, and of classes whose folder has gone.

    Raises:
        FileNotFoundError: no such folder. ValueError: bad numbers, or a split that is no name; no clip that can be
            used; with `strict`, anything that would be left out. MediaError, when an item is read: a file that
            turns out to be damaged.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        frames: int = 10,
        size: int = 64,
        frame_rate: float = 10,
        sample_rate: int = 16000,
        strict: bool = False,
        workers: int | None = None,
        index_file: str | Path | None = None,
    ) -> None:
        frames, size = whole_number(frames, "frames"), whole_number(size, "size")
        sample_rate = whole_number(sample_rate, "sample_rate")
        if not 0 < frame_rate < float("inf"):
            raise ValueError(f"frame_rate must be a positive number, got {frame_rate}")
        self.root, self.split, self.frames, self.size = Path(root), split, frames, size
        self.frame_rate, self.sample_rate = frame_rate, sample_rate
        cores = workers or os.cpu_count() or 1
        index_file = None if index_file is None else Path(index_file)
        with opened_index(self.root, split, index_file, cores) as (self.class_names, found):
            self._take(found, strict)

    def _take(self, found: list[Found], strict: bool) -> None:
        frame_rate, frames = self.frame_rate, self.frames
        usable, left_out = [], []
        for entry in found:
            count = 0 if entry.info is None else entry.info.frames_at(frame_rate)
            if entry.info is not None and count >= frames:
                label = None if entry.class_name is None else self.class_names.index(entry.class_name)
                usable.append(ClipFile(self.root / entry.place, label, count, entry.info))
            else:
                short = f"has {count} frames at {frame_rate:g} fps, a window takes {frames}"
                left_out.append((self.root / entry.place, entry.reason or short))
        self.files, self.left_out = tuple(usable), tuple(left_out)
        self._ends = np.cumsum([file.frames - frames + 1 for file in usable], dtype=np.int64)
        if not usable or (strict and left_out):
            raise ValueError(self.report())

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One window; negative indices count from the end."""
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} windows, none has number {index}")
        which = int(np.searchsorted(self._ends, number, side="right"))
        file = self.files[which]
        start = number - (int(self._ends[which - 1]) if which else 0)
        clip = self.read(file, start, self.frames)
        return {
            "frames": torch.from_numpy(clip.frames),
            "waveform": torch.from_numpy(clip.waveform),
            "label": NO_CLASS if file.label is None else file.label,
        }

    def read(self, file: ClipFile, start: int = 0, frames: int | None = None) -> Clip:
        """`frames` frames (None: all) of one file from frame `start` on, letterboxed, with their sound."""
        return Clip.concatenate(list(self.pieces(file, FULL_SIZE_FRAMES, start, frames)))

    def pieces(
        self, file: ClipFile, frames_each: int, start: int = 0, frames: int | None = None
    ) -> Iterator[Clip]:
        """The same in clips of `frames_each` frames, the last maybe shorter, decoded once and in order.

        Memory holds one piece, at the size of the file and letterboxed.
        """
        begin = start / self.frame_rate
        for clip in Clip.pieces(
            file.path, frames_each, self.frame_rate, self.sample_rate, begin, frames, file.info
        ):
            small = to_uint8(letterbox(clip.frames, self.size)).permute(0, 2, 3, 1).contiguous().numpy()
            yield Clip(small, clip.waveform, self.frame_rate, self.sample_rate)

    def report(self) -> str:
        """What is there and what was left out, a line for each file that was."""
        lines = [f"{self!r}"]
        if not self.files:
            lines = [f"{self.root / self.split}: no clip that can be used"]
        lines += [f"  left out: {path.relative_to(self.root)}: {reason}" for path, reason in self.left_out]
        text = "\n".join(lines)
        return text.encode("utf-8", "backslashreplace").decode()  # names may hold bytes that are no text

    def __repr__(self) -> str:
        seconds = sum(file.frames for file in self.files) / self.frame_rate
        return (
            f"ClipFolder({self.root / self.split}: {len(self.files)} clips, {seconds:.1f} s, "
            f"{len(self.class_names)} classes, {len(self) if self.files else 0} windows of {self.frames} frames, "
            f"{len(self.left_out)} left out)"
        )
