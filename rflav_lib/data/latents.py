"""Clips encoded once, so that training does not run the codecs at every step."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from einops import rearrange
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.data.windows import Window, draw_place
from rflav_lib.files import whole
from rflav_lib.image_codec import encode_frames
from rflav_lib.mel import MelCodec

CLIPS_AT_ONCE = 8  # keeps memory flat: that many clips of frames are decoded at a time


@dataclass(frozen=True)
class LatentClips:
    """Encoded clips of equal length, in memory as float16.

    Attributes:
        video: latents (clips k c h w).
        audio: mel segments (clips k f m).
        labels: class of each clip (clips,), int64; None in a world without classes.
        class_names: names of the labels, in order.
    """

    video: Tensor
    audio: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.video)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of a frame's latents."""
        return tuple(self.video.shape[2:])

    def draw_window(self, generator: torch.Generator, frames: int) -> Window:
        """A random window of `frames` frames with its clip's label: see `draw_place`."""
        clip, start = draw_place([self.video.shape[1]] * len(self), frames, generator)
        label = None if self.labels is None else int(self.labels[clip])
        return *self.window(clip, start, frames), label

    def window(self, clip: int, start: int, frames: int) -> tuple[Tensor, Tensor]:
        """`frames` frames of one clip from `start` on: video (k c h w) and audio (k f m), float32."""
        stop = start + frames
        return self.video[clip, start:stop].float(), self.audio[clip, start:stop].float()


def encode_toy_clips(
    world: str,
    seed: int,
    count: int,
    clip_frames: int,
    vae: AutoencoderKL,
    mel: MelCodec,
    cache_folder: str | Path | None = None,
) -> LatentClips:
    """Make `count` clips of a toy world and encode them; with `cache_folder`, only the first time.

    The file's name holds a fingerprint of everything that went in (world, seed, counts, mel settings,
    weights of the VAE), so a changed codec can never meet latents of an old one.

    Raises:
        ValueError: a cached file that cannot be read; delete it to encode anew.
    """
    facts = {
        "world": world,
        "seed": seed,
        "count": count,
        "clip_frames": clip_frames,
        "mel": {key: value for key, value in mel.config.items() if not key.startswith("_")},
        "vae": _weights_fingerprint(vae),
    }
    if cache_folder is None:
        return _encode(world, seed, count, clip_frames, vae, mel)
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = Path(cache_folder) / f"{world}-{fingerprint}.safetensors"
    if not path.is_file():
        encoded = _encode(world, seed, count, clip_frames, vae, mel)
        tensors = {name: tensor for name, tensor in vars(encoded).items() if isinstance(tensor, Tensor)}
        with whole(path) as draft:
            save_file(tensors, draft, metadata={"facts": json.dumps(facts, sort_keys=True)})
    return _read(path, CLASSES[world])


def _encode(
    world: str, seed: int, count: int, clip_frames: int, vae: AutoencoderKL, mel: MelCodec
) -> LatentClips:
    video, audio, labels = [], [], []
    with tqdm(total=count, desc=f"encoding {world}", unit="clip") as progress:
        for first in range(0, count, CLIPS_AT_ONCE):
            clips = [
                make_clip(world, seed, index, clip_frames)
                for index in range(first, min(first + CLIPS_AT_ONCE, count))
            ]
            frames = torch.cat([torch.from_numpy(made.clip.frames) for made in clips])
            latents = encode_frames(vae, frames)
            video.append(rearrange(latents, "(b k) c h w -> b k c h w", b=len(clips)).half())
            waveforms = torch.stack([torch.from_numpy(made.clip.waveform) for made in clips])
            audio.append(mel.encode(waveforms).half())
            labels += [made.label for made in clips]
            progress.update(len(clips))
    stored = torch.tensor(labels) if CLASSES[world] else None
    return LatentClips(torch.cat(video), torch.cat(audio), stored, CLASSES[world])


def _read(path: Path, class_names: tuple[str, ...]) -> LatentClips:
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
        return LatentClips(tensors["video"], tensors["audio"], tensors.get("labels"), class_names)
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{path}: not a readable cache of latents ({error}); delete it to encode anew"
        ) from error


def _weights_fingerprint(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]
