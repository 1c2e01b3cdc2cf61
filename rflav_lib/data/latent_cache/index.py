"""What a cache of latents says about itself: `index.json`, and how its frames lie in its shards.

All clips' frames stand one behind the other on one axis, cut into shards of `shard_frames` frames. So a
shard's size does not depend on the clips' lengths, and who writes which shard can be decided beforehand.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open

from rflav_lib.files import json_digest, read_json, whole
from rflav_lib.typed import typed

FORMAT = 1
BYTES_PER_NUMBER = 2  # float16
MOST = 2**40  # of frames, or numbers: more is a damaged file


@dataclass(frozen=True)
class CachedClip:
    """A clip of the cache.

    Attributes:
        name: unique; for a file, its path below the data set's folder.
        frames: how many.
        label: index of its class, or None.
        source: what tells whether the clip is still the same, e.g. a file's size and time of change.
    """

    name: str
    frames: int
    label: int | None
    source: dict[str, Any]


@dataclass(frozen=True)
class Span:
    """`frames` frames of clip number `clip` from `start` on."""

    clip: int
    start: int
    frames: int


@dataclass(frozen=True)
class CacheIndex:
    """A cache's description.

    Attributes:
        codecs: what encoded the clips: see `rflav_lib.data.latent_cache.encoding.codec_facts`.
        preprocessing: what was done to pictures before.
        source: where the clips come from.
        class_names: names of the labels, in order.
        clips: in the order of their frames.
        left_out: clips that are not in the cache, with the reason.
        latent_shape: (c, h, w) of a frame's latents.
        mel_shape: (f, m) of a frame's sound.
        shard_frames: frames in each shard; the last one may have fewer.
        complete: False as long as shards may be missing.
    """

    codecs: dict[str, Any]
    preprocessing: dict[str, Any]
    source: dict[str, Any]
    class_names: tuple[str, ...]
    clips: tuple[CachedClip, ...]
    left_out: dict[str, str]
    latent_shape: tuple[int, int, int]
    mel_shape: tuple[int, int]
    shard_frames: int
    complete: bool

    @cached_property
    def offsets(self) -> np.ndarray:
        """First frame of each clip on the common axis, and the end of the last one: int64 (clips + 1,)."""
        return np.cumsum([0, *(clip.frames for clip in self.clips)])

    @property
    def clips_digest(self) -> str:
        """Of which clips lie here, as what: the same for the same clips, whatever encoded them."""
        facts = {
            "source": self.source,
            "preprocessing": self.preprocessing,
            "clips": list(map(asdict, self.clips)),
        }
        return json_digest(facts, 16)

    @property
    def num_frames(self) -> int:
        """Frames of all clips."""
        return int(self.offsets[-1])

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return -(-self.num_frames // self.shard_frames)

    @property
    def num_bytes(self) -> int:
        """Size of all shards, but for their headers."""
        numbers = np.prod(self.latent_shape) + np.prod(self.mel_shape)
        return int(numbers) * BYTES_PER_NUMBER * self.num_frames

    def rows(self, shard: int) -> int:
        """Frames in a shard."""
        return min(self.shard_frames, self.num_frames - shard * self.shard_frames)

    def spans(self, shard: int) -> Iterator[Span]:
        """The parts of clips that a shard holds, in order."""
        first = shard * self.shard_frames
        last = first + self.rows(shard)
        clip = int(np.searchsorted(self.offsets, first, "right")) - 1
        while first < last:
            start, end = first - int(self.offsets[clip]), min(last, int(self.offsets[clip + 1]))
            yield Span(clip, start, end - first)
            first, clip = end, clip + 1

    def differences(self, other: Self) -> list[str]:
        """Where settings of two caches differ, as "key: this one's -> the other one's"; clips are not compared."""
        keys = (
            "codecs", "preprocessing", "source", "class_names", "latent_shape", "mel_shape", "shard_frames",
        )  # fmt: skip
        ours, theirs = ({key: getattr(index, key) for key in keys} for index in (self, other))
        return differences(ours, theirs)

    def write(self, folder: Path) -> None:
        """Write `index.json`, whole or not at all."""
        with whole(folder / "index.json") as draft:
            text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
            draft.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `index.json`.

        Raises:
            ValueError: there is none, or it is damaged.
        """
        path = folder / "index.json"
        if not path.is_file():
            raise ValueError(
                f"{folder}: no cache of latents here; python -m rflav_lib.data.latents CONFIG makes one"
            )
        try:
            stored = read_json(path)
            if stored.pop("format") != FORMAT:
                raise ValueError("written by another version of this library")
            stored["clips"] = tuple(typed(CachedClip, clip) for clip in stored["clips"])
            lists = ("class_names", "latent_shape", "mel_shape")
            index = typed(cls, {**stored, **{key: tuple(_list(stored[key])) for key in lists}})
            index._check()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: damaged ({error}); delete {folder} and encode anew") from error
        return index

    def _check(self) -> None:
        counts = [*self.latent_shape, *self.mel_shape, self.shard_frames, *(c.frames for c in self.clips)]
        if len(self.latent_shape) != 3 or len(self.mel_shape) != 2 or not self.clips:
            raise ValueError("shapes or clips are missing")
        if any(not 1 <= count <= MOST for count in counts):
            raise ValueError(f"a size that is not between 1 and {MOST}")
        for clip in self.clips:
            if clip.label is not None and not 0 <= clip.label < len(self.class_names):
                raise ValueError(f"clip {clip.name!r} has the unknown class {clip.label}")

    def shard_path(self, folder: Path, shard: int) -> Path:
        """Where a shard lies."""
        return folder / f"shard-{shard:05d}.safetensors"

    def open_shard(self, folder: Path, shard: int) -> Any:
        """A shard, mapped into memory: `get_slice("video")` is (rows c h w), `get_slice("audio")` (rows f m).

        Raises:
            ValueError: it is missing or damaged, or its tensors have other shapes than the index says.
        """
        path = self.shard_path(folder, shard)
        again = "delete it, and the command that wrote the cache writes it again"
        try:
            opened = safe_open(path, framework="pt")
            found = {
                name: (opened.get_slice(name).get_dtype(), *opened.get_slice(name).get_shape())
                for name in opened.keys()  # noqa: SIM118 - not a mapping
            }
        except FileNotFoundError as error:
            raise ValueError(
                f"{path}: is missing; the command that wrote the cache writes it again"
            ) from error
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path}: damaged ({error}); {again}") from error
        rows = self.rows(shard)
        wanted = {"video": ("F16", rows, *self.latent_shape), "audio": ("F16", rows, *self.mel_shape)}
        if found != wanted:
            raise ValueError(f"{path}: holds {found}, the index says {wanted}; {again}")
        return opened


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):  # a string would be taken apart into letters
        raise TypeError(f"{value!r} is no list")
    return value


def differences(stored: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """Where two nested dictionaries differ, each as "key.subkey stored -> wanted"."""
    found = []
    for key in stored.keys() | wanted.keys():
        ours, theirs = stored.get(key), wanted.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found += differences(ours, theirs, f"{prefix}{key}.")
        elif ours != theirs:
            found.append(f"{prefix}{key} {ours!r} -> {theirs!r}")
    return sorted(found)
