"""Real clips to draw windows from: a folder of video, or a toy world; and the draw, seeded and written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from rflav_lib import ROOT
from rflav_lib.av_probe import MediaInfo
from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.seeds import UNSEEN_SEED
from rflav_lib.data.toy import CLASSES, draw_label, make_clip
from rflav_lib.evaluation.config import EvaluateConfig
from rflav_lib.files import read_json
from rflav_lib.media import Clip
from rflav_lib.metrics.audioclip import BATCH as AUDIOCLIP_BATCH

DRAWS = {"train": 0, "conditions": 1, "held-out": 2, "copies": 3}  # a stream of random numbers each


@dataclass(frozen=True)
class Coding:
    """How real clips were coded before the evaluation reads them.

    Attributes:
        codec: of their files; "none" of clips that come from no file.
        channel: what is heard of several: "left", "mean"; "one" where there is one.
    """

    codec: str = "none"
    channel: str = "one"


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
    coding: Coding

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
        self._root, self.coding = root, _coding(root, self.folder.files[0].info)
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


def _coding(root: Path, info: MediaInfo) -> Coding:
    """As `prepare` has noted it; of clips that it did not make, as the first file has it."""
    if not (path := root / "prepare.json").is_file():
        channel = "mean" if info.channels > 1 else "one"  # see Clip.read
        return Coding(f"{info.video_codec} + {info.audio_codec}, as they came", channel)
    recipe = read_json(path, advice="delete it with train/ and test/, and prepare them anew")
    if not isinstance(recipe, dict):
        raise ValueError(f"{path}: holds no settings by name; delete it with train/ and test/")
    # what earlier clips were made with, when there was nothing to choose
    sound, channel = recipe.get("sound", "aac"), recipe.get("channel", "mean")
    return Coding(f"H.264 CRF {recipe.get('crf')} + {str(sound).upper()}", str(channel))


@dataclass(frozen=True)
class ToyPart:
    """Clips 0 to `clips` - 1 of one seed of a toy world, of `clip_frames` frames each: what one training run draws."""

    seed: int
    clips: int
    clip_frames: int


class ToySource:
    """Windows of the clips of a toy world, part after part, as training draws them; or of unseen ones."""

    coding = Coding()

    def __init__(self, world: str, parts: Sequence[ToyPart], frames: int, split: str) -> None:
        self.name, self.class_names = f"{world}, {split}", CLASSES[world]
        self._world, self._parts, self._frames = world, parts, frames
        self._ends = np.cumsum([part.clips * (part.clip_frames - frames + 1) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def window(self, number: int) -> Window:
        """Window `number`, in order of parts, then clips, then offsets."""
        which = int(np.searchsorted(self._ends, number, side="right"))
        part = self._parts[which]
        before = int(self._ends[which - 1]) if which else 0
        index, start = divmod(number - before, part.clip_frames - self._frames + 1)
        return toy_window(self._world, part.seed, index, start)

    def read(self, window: Window) -> Clip:
        """Made anew: the first frames of a longer clip are the shorter clip."""
        seed, index = map(int, window.clip.split("/"))
        return make_clip(self._world, seed, index, window.start + self._frames).clip.part(window.start)


def toy_window(world: str, seed: int, index: int, start: int) -> Window:
    """The window of a toy clip that begins with frame `start`."""
    label = draw_label(world, seed, index)
    return Window(f"{seed}/{index}", start, None if label is None else CLASSES[world][label])


def open_source(config: EvaluateConfig, held_out: bool = False) -> Source:
    """The training split, or what no training has seen.

    Raises:
        FileNotFoundError, ValueError: no such folder, or nothing in it that can be used.
    """
    if config.data in CLASSES:
        part = ToyPart(UNSEEN_SEED if held_out else 0, config.toy_clips, config.toy_frames)
        return ToySource(config.data, [part], config.frames, "unseen" if held_out else "train")
    split = config.held_out if held_out else config.split
    return FolderSource(ROOT / config.data, split, config.frames, config.source_size)


def training_parts(config: EvaluateConfig) -> list[ToyPart]:
    """All that the models of a toy world were trained on, as the config says; empty if it does not."""
    return [ToyPart(*part) for part in config.training]


def open_training(config: EvaluateConfig, seen: Source) -> Source:
    """Every training window: of all parts, where the config names them, else of the training split `seen`."""
    parts = training_parts(config)
    return ToySource(config.data, parts, config.frames, "all training clips") if parts else seen


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


def _at_most(count: int, there: int) -> int:
    """As many as asked for, or there are (AIST++'s 20 test clips have some 1,600 windows), in AudioCLIP's batches."""
    return count if there >= count else there - there % AUDIOCLIP_BATCH if there >= AUDIOCLIP_BATCH else there


@dataclass(frozen=True)
class Windows:
    """The drawn windows of an evaluation: N each, of `held_out` as many as there are, if those are fewer.

    reference and control are the two halves of one draw without repetition, `conditions` are of the same split (they
    give joint samples their class, a2v its sound, v2a its picture). For the memorisation check there are `held_out`, of
    clips that no training saw, and `copies`, drawn from all training windows; without the check both are empty.
    """

    reference: list[Window]
    control: list[Window]
    conditions: list[Window]
    held_out: list[Window]
    copies: list[Window]

    @classmethod
    def drawn(cls, config: EvaluateConfig, seen: Source, held_out: Source | None) -> "Windows":
        """Draw them from what training has seen and from what it has not; errors as `draw` has them."""
        n, seed = config.samples, config.seed
        both = draw(seen, "train", 2 * n, seed)
        conditions = draw(seen, "conditions", n, seed)
        if held_out is None:
            return cls(both[0::2], both[1::2], conditions, [], [])
        copies = draw(open_training(config, seen), "copies", n, seed)
        unseen = draw(held_out, "held-out", _at_most(n, len(held_out)), seed)
        return cls(both[0::2], both[1::2], conditions, unseen, copies)

    def as_json(self) -> dict[str, list]:
        """Lists of [clip, first frame, class]."""
        return {name: [window.as_list() for window in windows] for name, windows in vars(self).items()}
