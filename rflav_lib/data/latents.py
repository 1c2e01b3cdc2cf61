"""Clips encoded once, so that training does not run the codecs at every step.

    python -m rflav_lib.data.latents configs/latents/videos.yaml videos=/my/videos
    accelerate launch -m rflav_lib.data.latents configs/latents/videos.yaml videos=/my/videos   # several GPUs

A cache is a folder: `index.json` says what is in it and which codecs made it, `shard-*.safetensors` hold
latents and mel segments as float16. Shards are mapped into memory, so a data set may be larger than it.
"""

import argparse
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import Tensor

from rflav_lib import ROOT
from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.data.latent_cache.encoding import ClipEncoder, codec_facts
from rflav_lib.data.latent_cache.index import CacheIndex, Span, differences
from rflav_lib.data.latent_cache.sources import ClipSource, FolderSource, ToySource
from rflav_lib.data.latent_cache.writing import write_cache
from rflav_lib.data.windows import Window, draw_place
from rflav_lib.files import json_digest
from rflav_lib.image_codec import ImageVAE, load_vae
from rflav_lib.mel import MelCodec

TOY_SIZE = 64  # pixels along each side of a toy world's frames
LONGEST_WAIT = timedelta(days=7)  # of processes for each other


class LatentCache:
    """Windows of cached clips.

    Args:
        folder: where `python -m rflav_lib.data.latents` wrote.
        vae, mel: the codecs that one trains with; a cache of others is refused.

    Raises:
        ValueError: no cache, an unfinished or damaged one, or other codecs, with what differs.
    """

    def __init__(self, folder: str | Path, vae: ImageVAE, mel: MelCodec) -> None:
        self.folder = Path(folder)
        self.index = CacheIndex.read(self.folder)
        if found := differences(self.index.codecs, codec_facts(vae, mel)):
            raise ValueError(
                f"{self.folder}: encoded by other codecs than those in use: {', '.join(found)}; encode anew, or "
                "train with the cache's"
            )
        if not self.index.complete:
            raise ValueError(f"{self.folder}: not finished; the command that wrote it goes on")
        self._shards = [self.index.open_shard(self.folder, n) for n in range(self.index.num_shards)]
        self._lengths = np.diff(self.index.offsets)

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.index.clips)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of a frame's latents."""
        return self.index.latent_shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels, in order."""
        return self.index.class_names

    @property
    def labels(self) -> tuple[int | None, ...]:
        """The label of each clip."""
        return tuple(clip.label for clip in self.index.clips)

    def draw_window(self, generator: torch.Generator, frames: int) -> Window:
        """A random window with its clip's label: see `draw_place`.

        Raises:
            ValueError: a clip that is shorter than the window.
        """
        shortest = self.index.clips[int(self._lengths.argmin())]
        if shortest.frames < frames:
            raise ValueError(
                f"{self.folder}: {shortest.name} has {shortest.frames} frames, the window {frames}; encode anew "
                f"with min_frames={frames} to leave such clips out"
            )
        clip, start = draw_place(self._lengths, frames, generator)
        return *self.window(clip, start, frames), self.index.clips[clip].label

    def window(self, clip: int, start: int, frames: int) -> tuple[Tensor, Tensor]:
        """`frames` frames of one clip from `start` on: video (k c h w) and audio (k f m), float32.

        Raises:
            IndexError: no such clip, or not inside it.
        """
        if not 0 <= clip < len(self):
            raise IndexError(f"there are {len(self)} clips, none has number {clip}")
        if start < 0 or frames < 1 or start + frames > self._lengths[clip]:
            raise IndexError(
                f"frames {start} to {start + frames} are not inside clip {clip}, of {self._lengths[clip]} frames"
            )
        first = int(self.index.offsets[clip]) + start
        parts, last = [], first + frames
        while first < last:  # a window may lie in two shards
            shard, row = divmod(first, self.index.shard_frames)
            end = min(row + last - first, self.index.shard_frames)
            stored = self._shards[shard]
            parts.append([stored.get_slice(name)[row:end].float() for name in ("video", "audio")])
            first += end - row
        video, audio = (torch.cat(part) if len(parts) > 1 else part[0] for part in zip(*parts, strict=True))
        return video, audio


class LiveClips:
    """Windows that are read and encoded when they are drawn: what a cache saves. The windows are the same.

    Args:
        encoder: of the clips to draw from.
    """

    def __init__(self, encoder: ClipEncoder) -> None:
        self.encoder = encoder
        self._lengths = np.array([clip.frames for clip in encoder.source.clips])

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._lengths)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of a frame's latents."""
        return self.encoder.latent_shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels, in order."""
        return self.encoder.source.class_names

    def draw_window(self, generator: torch.Generator, frames: int) -> Window:
        """A random window with its clip's label: see `draw_place`."""
        clip, start = draw_place(self._lengths, frames, generator)
        return *self.encoder.encode([Span(clip, start, frames)]), self.encoder.source.clips[clip].label


def encode_toy_clips(
    world: str,
    seed: int,
    count: int,
    clip_frames: int,
    vae: ImageVAE,
    mel: MelCodec,
    cache_folder: str | Path,
) -> LatentCache:
    """`count` clips of a toy world, encoded the first time and opened from then on.

    The folder's name holds a fingerprint of everything that goes in (world, seed, counts, mel settings,
    weights of the VAE), so a changed codec can never meet latents of an old one.

    Raises:
        ValueError: no such world, or a number that is too small; a cache that is damaged: says what to delete.
    """
    facts = {
        "world": world, "seed": seed, "count": count, "clip_frames": clip_frames, **codec_facts(vae, mel),
    }  # fmt: skip
    folder = Path(cache_folder) / f"{world}-{json_digest(facts, 16)}"
    write_cache(folder, ClipEncoder(ToySource(world, seed, count, clip_frames), vae, mel, TOY_SIZE))
    return LatentCache(folder, vae, mel)


def source_of(config: LatentsConfig) -> ClipSource:
    """The clips that a configuration names."""
    if config.videos:
        folder = ClipFolder(
            ROOT / config.videos, config.split, config.min_frames, config.size, strict=config.strict
        )
        return FolderSource(folder)
    return ToySource(config.world, config.seed, config.clips, config.clip_frames)


def write_from_config(config: LatentsConfig) -> CacheIndex:
    """Make or finish the cache that a configuration describes; under `accelerate launch`, this process's share.

    Raises:
        ValueError: no such VAE or videos, nothing to encode, or a folder that holds another cache.
        OSError: the folder cannot be written.
    """
    # unlike Accelerator, PartialState does not look for itself whether several processes are to share the CPU
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    state = PartialState(cpu=cpu, timeout=LONGEST_WAIT)
    vae = load_vae(config.vae).to(state.device)
    mel = MelCodec(n_mels=config.n_mels, audio_scale=config.audio_scale, peak=config.audio_peak or None)
    with state.main_process_first():  # the others find its index of the videos
        source = source_of(config)
    return write_cache(ROOT / config.latents, ClipEncoder(source, vae, mel, config.size), config.shard_frames)


def main(arguments: list[str] | None = None) -> int:
    """Command line: a YAML file and `key=value` changes."""
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.data.latents", description=__doc__.splitlines()[0]
    )
    parser.add_argument("config", help="YAML file, e.g. configs/latents/videos.yaml")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="settings that override the file's")
    options = parser.parse_args(arguments)
    try:
        config = LatentsConfig.from_command_line(options.config, options.changes)
        index = write_from_config(config)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: whole shards stay; the same command goes on", file=sys.stderr)
        return 130
    if PartialState().is_main_process:
        print(_report(ROOT / config.latents, index))
    return 0


def _report(folder: Path, index: CacheIndex) -> str:
    lines = [
        f"{folder}: {len(index.clips)} clips, {index.num_frames} frames, {index.num_bytes / 1e6:.1f} MB",
        *(f"left out: {name}: {reason}" for name, reason in index.left_out.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
