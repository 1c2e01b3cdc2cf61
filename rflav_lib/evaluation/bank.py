"""The training windows in which the memorisation check looks for each sample's nearest.

Of video, and where a config does not say more: the windows of the reference and control sets, 2 N of all there are. A
copy of a clip that they lack is not found there. Of a toy world whose `training` is given: every window of all clips of
all training runs. They are made anew, a shard at a time, and what is kept of each frame is small: 16x16 pixels and the
loudness of 64 bands, 41 kB for 40 frames. Shards are files that are there whole or not at all, as those of clip sets.

That bank has every start, and no features of networks, because of what was measured with 14,400 toy clips. A window
that begins one frame beside a copy is as far from it as other clips are: at every second start copies have a chance of
0.6 to 0.7 instead of 1. And features tell too much: the toy model's codecs alone, with nothing generated, move the
features of the toy classifier by 0.14 (picture) and 0.25 (sound), while unseen clips lie 0.09 and 0.03 from the nearest
training window, so that copies have a chance of 0.53 and 0.38. In pixels they are at 1.8 grey levels, unseen clips at
11: a chance of 1.00. The vocoder costs more: by loudness in 64 bands it is 0.53 (256 copies). All that beside unseen
clips as they are; the check sends these through the codecs too (`memorisation.py`), and the report says what chance
copies then have.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rflav_lib.data.toy import make_clip
from rflav_lib.evaluation.clip_sets import digest
from rflav_lib.evaluation.memorisation import HEARD, SEEN, RawSpace
from rflav_lib.evaluation.networks import Measure
from rflav_lib.evaluation.sources import ToyPart, ToySource, Window, toy_window
from rflav_lib.evaluation.treatment import Treatment
from rflav_lib.files import json_digest
from rflav_lib.media import Clip
from rflav_lib.metrics.feature_set import comparable_versions
from rflav_lib.tensor_files import write_tensors

if TYPE_CHECKING:
    from rflav_lib.evaluation.run import Evaluation

SPACES = (SEEN, HEARD)
SHARD = 120  # clips


class Bank(Protocol):
    """Training windows, numbered."""

    def __len__(self) -> int:
        """Number of windows."""
        ...

    has_features: bool

    def parts(self, space: RawSpace | Measure) -> Iterator[Tensor]:
        """All windows in a space (m d), part after part; features only of a bank that has them."""
        ...

    def window(self, number: int) -> Window:
        """Which window it is."""
        ...

    def clip(self, number: int) -> Clip:
        """The window itself, as it is measured."""
        ...


class SetBank:
    """The windows of reference and control."""

    has_features = True

    def __init__(self, evaluation: "Evaluation") -> None:
        self.evaluation = evaluation
        self._windows = [
            (key, place, window)
            for key in ("reference", "control")
            for place, window in enumerate(getattr(evaluation.windows, key))
        ]

    def __len__(self) -> int:
        return len(self._windows)

    def parts(self, space: RawSpace | Measure) -> Iterator[Tensor]:
        """A set each; see `Bank`."""
        for key in ("reference", "control"):
            if isinstance(space, RawSpace):
                yield space.of_clips(self.evaluation.sets()[key].clips())
            else:
                yield self.evaluation.read(key, space).values

    def window(self, number: int) -> Window:
        """See `Bank`."""
        return self._windows[number][2]

    def clip(self, number: int) -> Clip:
        """See `Bank`."""
        key, place, _ = self._windows[number]
        return next(self.evaluation.sets()[key].clips(range(place, place + 1)))


@dataclass(frozen=True)
class Shard:
    """Some clips of one training run."""

    part: ToyPart
    numbers: range


class TrainingBank:
    """All clips of a toy world that models were trained on.

    Windows are numbered by shard, in it by start, then by clip.

    Args:
        world: of toy clips.
        training: its parts.
        frames: of a window.
        treatment: what clips go through: frame by frame, with no codec.
        folder: of the shards.
    """

    has_features = False

    def __init__(
        self, world: str, training: list[ToyPart], frames: int, treatment: Treatment, folder: Path
    ) -> None:
        self.world, self.training, self.frames = world, training, frames
        self.treatment, self.folder = treatment, folder
        self._source = ToySource(world, training, frames, "all training clips")

    def __len__(self) -> int:
        return len(self._source)

    def shards(self) -> list[Shard]:
        """All shards, in order of the windows' numbers."""
        return [
            Shard(part, range(first, min(first + SHARD, part.clips)))
            for part in self.training
            for first in range(0, part.clips, SHARD)
        ]

    def starts(self, shard: Shard) -> range:
        """First frames of the windows in each clip of a shard."""
        return range(shard.part.clip_frames - self.frames + 1)

    def path(self, shard: Shard) -> Path:
        """Where a shard lies. What decides its content is in its name: that of another recipe is never taken."""
        recipe = {
            "world": self.world,
            "clip_frames": shard.part.clip_frames,
            "resize": self.treatment.resize_name,
            "spaces": [space.name for space in SPACES],
            "versions": comparable_versions(),
        }
        span = f"{shard.numbers.start:06}-{shard.numbers.stop - 1:06}"
        return self.folder / f"{shard.part.seed}-{span}-{json_digest(recipe)}.safetensors"

    def missing(self) -> list[Shard]:
        """Shards that are not there, or damaged."""
        return [shard for shard in self.shards() if not self._is_whole(self.path(shard))]

    def _is_whole(self, path: Path) -> bool:
        if not path.is_file():
            return False
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
                return (file.metadata() or {}).get("sha256") == digest(tensors)
        except SafetensorError:
            return False

    def write(self, shard: Shard) -> None:
        """Make a shard's clips, and keep of their frames what distances need."""
        part = shard.part
        clips = [
            self.treatment(make_clip(self.world, part.seed, number, part.clip_frames).clip)
            for number in shard.numbers
        ]
        tensors = {space.name: torch.stack([space.of_frames(clip) for clip in clips]) for space in SPACES}
        write_tensors(self.path(shard), tensors, {"sha256": digest(tensors)})

    def parts(self, space: RawSpace | Measure) -> Iterator[Tensor]:
        """The windows of a shard that begin at one frame; see `Bank`.

        Raises:
            TypeError: asked for features of a network, which are not kept.
        """
        if not isinstance(space, RawSpace):
            raise TypeError(f"a bank of all training windows has no features: {space}")
        for shard in self.shards():
            with safe_open(self.path(shard), framework="pt") as file:
                frames = file.get_tensor(space.name)
            for start in self.starts(shard):
                yield space.points(frames[:, start : start + self.frames])

    def window(self, number: int) -> Window:
        """See `Bank`."""
        for shard in self.shards():
            count = len(self.starts(shard)) * len(shard.numbers)
            if number < count:
                break
            number -= count
        start, place = divmod(number, len(shard.numbers))
        return toy_window(self.world, shard.part.seed, shard.numbers[place], start)

    def clip(self, number: int) -> Clip:
        """See `Bank`."""
        return self.treatment(self._source.read(self.window(number)))
