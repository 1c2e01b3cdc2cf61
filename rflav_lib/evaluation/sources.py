"""Real clips to draw windows from: a folder of video, or a toy world; and the draw, seeded and written down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from rflav_lib import ROOT
from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.toy import CLASSES, draw_label, make_clip
from rflav_lib.evaluation.config import EvaluateConfig
from rflav_lib.media import Clip

UNSEEN_SEED = 2_000_003  # toy clips that no training run draws
DRAWS = {"train": 0, "conditions": 1, "held-out": 2}  # a stream of random numbers each


@dataclass(frozen=True)
class Window:
    """A window of real video: which clip, from which frame on, and the clip's class where it has one."""

    clip: str
    start: int
    label: str | None

    def as_list(self) -> list:
        """For JSON."""
        return [self.clip, self.start, self.label]


class Source(Protocol):
    """Real clips of one split."""

    name: str
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Number of windows."""
        ...

    def window(self, number: int) -> Window:
        """Window `number`."""
        ...

    def read(self, window: Window) -> Clip:
        """Its frames and sound."""
        ...


class FolderSource:
    """Every window of a split of a folder: see `ClipFolder`.

    Raises:
        FileNotFoundError: no such folder. ValueError: no clip that can be used.
    """

    def __init__(self, root: Path, split: str, frames: int, size: int) -> None:
        self.folder = ClipFolder(root, split, frames=frames, size=size)
        self.name, self.class_names = f"{root.name}, {split}", tuple(self.folder.class_names)
        self._files = {str(file.path.relative_to(root)): file for file in self.folder.files}
        self._root = root
        self._ends = np.cumsum([file.frames - frames + 1 for file in self.folder.files])

    def __len__(self) -> int:
        return len(self.folder)

    def window(self, number: int) -> Window:
        """Window `number`, in order of files, then offsets."""
        which = int(np.searchsorted(self._ends, number, side="right"))
        file = self.folder.files[which]
        start = number - (int(self._ends[which - 1]) if which else 0)
        label = None if file.label is None else self.folder.class_names[file.label]
        return Window(str(file.path.relative_to(self._root)), start, label)

    def read(self, window: Window) -> Clip:
        """Letterboxed to the source size."""
        return self.folder.read(self._files[window.clip], window.start, self.folder.frames)


class ToySource:
    """Windows of the first `clips` clips of a toy world, as training draws them; or of unseen ones."""

    def __init__(self, world: str, seed: int, clips: int, clip_frames: int, frames: int, split: str) -> None:
        self.name, self.class_names = f"{world}, {split}", CLASSES[world]
        self._world, self._seed, self._clips = world, seed, clips
        self._frames, self._offsets = frames, clip_frames - frames + 1

    def __len__(self) -> int:
        return self._clips * self._offsets

    def window(self, number: int) -> Window:
        """Window `number`."""
        index, start = divmod(number, self._offsets)
        label = draw_label(self._world, self._seed, index)
        return Window(f"{self._seed}/{index}", start, None if label is None else CLASSES[self._world][label])

    def read(self, window: Window) -> Clip:
        """Made anew: the first frames of a longer clip are the shorter clip."""
        seed, index = map(int, window.clip.split("/"))
        toy = make_clip(self._world, seed, index, window.start + self._frames).clip
        samples = round(toy.sample_rate / toy.frame_rate)
        sound = toy.waveform[window.start * samples :]
        return Clip(toy.frames[window.start :], sound, toy.frame_rate, toy.sample_rate)


def open_source(config: EvaluateConfig, held_out: bool = False) -> Source:
    """The training split, or what no training has seen.

    Raises:
        FileNotFoundError, ValueError: no such folder, or nothing in it that can be used.
    """
    split = config.held_out if held_out else config.split
    if config.data in CLASSES:
        seed = UNSEEN_SEED if held_out else 0
        settings = config.data, seed, config.toy_clips, config.toy_frames, config.frames
        return ToySource(*settings, "unseen" if held_out else "train")
    return FolderSource(ROOT / config.data, split, config.frames, config.source_size)


def draw(source: Source, draw_name: str, count: int, seed: int) -> list[Window]:
    """`count` different windows in random order. A longer list of the same seed begins with the shorter one.

    Raises:
        ValueError: the source has fewer windows.
    """
    if len(source) < count:
        raise ValueError(
            f"{source.name}: {count} different windows are needed, there are {len(source)}: take fewer samples, "
            "or more video; none is taken twice"
        )
    order = np.random.default_rng((seed, DRAWS[draw_name])).permutation(len(source))
    return [source.window(int(number)) for number in order[:count]]


@dataclass(frozen=True)
class Windows:
    """The drawn windows of an evaluation: N each.

    reference and control are the two halves of one draw without repetition, `conditions` are of the same split (they
    give joint samples their class, a2v its sound, v2a its picture), `held_out` may be empty.
    """

    reference: list[Window]
    control: list[Window]
    conditions: list[Window]
    held_out: list[Window]

    @classmethod
    def drawn(cls, config: EvaluateConfig, seen: Source, held_out: Source | None) -> "Windows":
        """Draw them from what training has seen and from what it has not; errors as `draw` has them."""
        n, seed = config.samples, config.seed
        both = draw(seen, "train", 2 * n, seed)
        unseen = [] if held_out is None else draw(held_out, "held-out", n, seed)
        return cls(both[0::2], both[1::2], draw(seen, "conditions", n, seed), unseen)

    def as_json(self) -> dict[str, list]:
        """Lists of [clip, first frame, class]."""
        return {name: [window.as_list() for window in windows] for name, windows in vars(self).items()}
