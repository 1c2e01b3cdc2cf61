"""A set of N clips on disk, in shards that are there whole or not at all.

Every clip has a number, and what makes it depends on that number alone. So any number of processes may share the
work, and a run that was killed goes on with the shards that are missing.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from rflav_lib.media import Clip
from rflav_lib.tensor_files import write_tensors

Make = Callable[[Sequence[int]], list[Clip]]
"""Numbers of clips -> the clips."""


@dataclass(frozen=True)
class ClipSet:
    """N clips in a folder.

    Attributes:
        folder: of the shards.
        name: in words, for messages.
        samples: N.
        batch: clips of a shard.
        recipe: for the numbers of a shard, all that decides its clips; a shard of another recipe is refused.
    """

    folder: Path
    name: str
    samples: int
    batch: int
    recipe: Callable[[range], dict[str, Any]]

    def shards(self) -> list[range]:
        """The numbers of each shard's clips."""
        firsts = range(0, self.samples, self.batch)
        return [range(first, min(first + self.batch, self.samples)) for first in firsts]

    def path(self, shard: range) -> Path:
        """Where a shard lies. Its length is in its name: with another N the last one may be shorter."""
        return self.folder / f"{shard.start:06}-{shard.stop - 1:06}.safetensors"

    def missing(self) -> tuple[list[range], list[str]]:
        """Shards that have to be made, and what is wrong with those that are there but damaged.

        Raises:
            ValueError: a shard of another recipe.
        """
        todo, told = [], []
        for shard in self.shards():
            if not self.path(shard).is_file():
                todo.append(shard)
            elif damage := self._damage(shard):
                todo.append(shard)
                told.append(f"{self.path(shard)}: {damage}; made anew")
        return todo, told

    def write(self, shard: range, make: Make) -> None:
        """Make the clips of a shard and write them.

        Raises:
            ValueError: another number of clips than asked for.
        """
        clips = make(shard)
        if len(clips) != len(shard):
            raise ValueError(f"{self.name}: {len(shard)} clips were asked for, {len(clips)} came")
        lengths = {
            (clip.frames.shape, clip.waveform.shape, clip.frame_rate, clip.sample_rate) for clip in clips
        }
        if len(lengths) > 1:
            raise ValueError(
                f"{self.name}: clips {shard.start} to {shard.stop - 1} differ in length, size or rate"
            )
        tensors = {
            name: torch.from_numpy(np.stack([getattr(clip, name) for clip in clips])).contiguous()
            for name in ("frames", "waveform")
        }
        facts = {
            "recipe": self.recipe(shard),
            "rates": [clips[0].frame_rate, clips[0].sample_rate],
        }
        facts["sha256"] = digest(tensors, facts["rates"])
        # one entry: several would be written in any order
        write_tensors(self.path(shard), tensors, {"facts": json.dumps(facts, sort_keys=True)})

    def clips(self, numbers: range | None = None) -> Iterator[Clip]:
        """The clips with these numbers (None: all), one shard in memory at a time.

        Raises:
            ValueError: a shard that is missing or damaged.
        """
        wanted = range(self.samples) if numbers is None else numbers
        for shard in self.shards():
            inside = range(max(shard.start, wanted.start), min(shard.stop, wanted.stop))
            if not len(inside):
                continue
            path = self.path(shard)
            if not path.is_file():
                raise ValueError(f"{self.name}: {path} is missing; run the evaluation again to make it")
            if damage := self._damage(shard):
                raise ValueError(f"{path}: {damage}; run the evaluation again to make it anew")
            with safe_open(path, framework="pt") as file:
                frames, sounds = (file.get_tensor(name).numpy() for name in ("frames", "waveform"))
                rates = _facts(file.metadata())["rates"]
            for number in inside:
                yield Clip(frames[number - shard.start], sounds[number - shard.start], *rates)

    def _damage(self, shard: range) -> str:
        """What is wrong with a shard; empty if nothing. Raises a ValueError if it is of another recipe."""
        path = self.path(shard)
        try:
            with safe_open(path, framework="pt") as file:
                facts = _facts(file.metadata())
                tensors = {name: file.get_tensor(name) for name in ("frames", "waveform")}
                stored = dict(facts.get("recipe", {}))
        except (SafetensorError, ValueError, TypeError, AttributeError) as error:
            return f"cut short or damaged ({error})"
        wanted = json.loads(json.dumps(self.recipe(shard)))
        if stored != wanted:
            keys = [key for key in {**stored, **wanted} if stored.get(key) != wanted.get(key)]
            told = "; ".join(f"{key}: {stored.get(key)!r}, now {wanted.get(key)!r}" for key in sorted(keys))
            raise ValueError(
                f"{path} holds clips that were made otherwise ({told}); use another output_dir, delete {self.folder}, "
                "or set it back"
            )
        if len(tensors["frames"]) != len(shard) or facts.get("sha256") != digest(tensors, facts.get("rates")):
            return "its content does not fit its checksum"
        return ""


def _facts(metadata: dict[str, str] | None) -> dict[str, Any]:
    return json.loads((metadata or {}).get("facts", "{}"))


def digest(tensors: dict[str, torch.Tensor], facts: object = None) -> str:
    """SHA-256 of the bytes of tensors, and of what says how to read them."""
    found = hashlib.sha256(json.dumps(facts).encode())
    for name in sorted(tensors):
        found.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        found.update(tensors[name].numpy().tobytes())
    return found.hexdigest()
