r"""Train the toy worlds' image VAE, or measure a trained one.

    python -m rflav_lib.train_codec --out checkpoints/toy-vae
    python -m rflav_lib.train_codec --evaluate checkpoints/toy-vae        # PSNR per world and class
    python -m rflav_lib.train_codec --out checkpoints/toy-pillar-vae --worlds toy-pillar \
        --start checkpoints/toy-vae --steps 200 --learning-rate 1e-3

48 numbers for one is tight: a codec knows the scenes that it has seen, and no others. toy-vae makes a pair of
trousers of the pillar in toy-pillar, so that world has a codec of its own, which goes on from toy-vae.

The first command made the bundled codec: seed 0, 3600 steps of 16 frames, 22 minutes on 2 cores of an AMD
EPYC (AVX-512 bf16) that other work shared, with OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE (on a busy machine,
threads that spin while waiting slow it down many times over). Unseen frames: 40.0 dB toy-landscape,
37.2 dB toy-dance.

The VAE is a small diffusers `AutoencoderKL`: 64x64 frames to 8x8 latents of 4 channels. What makes its
latents easy for a flow model: a light KL term, noise on the latents while the decoder learns (so that it
forgives imperfect latents), and latents of zero mean and unit spread in every channel.
"""

import argparse
import copy
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from einops import rearrange
from torch import Tensor
from tqdm.auto import tqdm, trange

from rflav_lib.data.seeds import CODEC_SEED, kept_for
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.files import refuse_other, whole_folder
from rflav_lib.image_codec import ImageVAE, decode_latents, encode_frames, load_vae
from rflav_lib.locks import only_writer
from rflav_lib.numbers_given import LARGEST_SEED, finite_number, whole_number
from rflav_lib.precision import multiplies_bf16
from rflav_lib.tensor_files import safetensors_errors
from rflav_lib.weight_files import WEIGHTS  # by this file a folder is known as a codec's

WORLDS = ("toy-landscape", "toy-dance")  # of checkpoints/toy-vae; toy-pillar has a codec of its own
CLIP_FRAMES = 40


@dataclass(frozen=True)
class CodecTraining:
    """Settings of a training run.

    Attributes:
        steps, batch: optimiser steps of `batch` frames.
        learning_rate: highest one, after 100 steps of warm-up; falls to 0 along a cosine.
        kl_weight: of the KL divergence (mean over latent values) beside the pixel error.
        latent_noise: the decoder sees latents with Gaussian noise of up to this share of their spread.
        foreground: pixels far from the clip's still background count 1 + foreground times.
        pool: clips kept in memory; one is replaced at every step, so that no frame is seen often.
        worlds: whose clips are coded, in turn.
        seed: of weights, clips and order.
        checkpoint_seconds: a usable codec is written that often.
    """

    steps: int = 3600
    batch: int = 16
    learning_rate: float = 2e-3
    kl_weight: float = 1e-4
    latent_noise: float = 0.1
    foreground: float = 3.0
    pool: int = 480
    worlds: tuple[str, ...] = WORLDS
    seed: int = 0
    checkpoint_seconds: float = 120

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "pool"):
            whole_number(getattr(self, name), name)
        whole_number(self.seed, "seed", 0, LARGEST_SEED)
        for name in ("learning_rate", "kl_weight", "latent_noise", "foreground"):
            if finite_number(getattr(self, name), name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)!r}")


def new_codec() -> AutoencoderKL:
    """The untrained VAE, 1.6 M parameters: few channels where pictures are large, for speed."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )
    # a posterior of spread 1 would drown the picture at first; start narrow and let the KL term widen it
    torch.nn.init.constant_(vae.quant_conv.bias[4:], -6.0)
    return vae


class FramePool:
    """Clips of the worlds in turn, from which batches of frames are drawn; clips are replaced one by one.

    Args:
        clips: how many to hold.
        seed: of the clips and of the drawing.
        worlds: whose clips.
    """

    def __init__(self, clips: int, seed: int, worlds: Sequence[str] = WORLDS) -> None:
        self.seed, self.made, self.worlds = seed, 0, tuple(worlds)
        self.rng = np.random.default_rng(seed)
        self.frames = np.empty((clips, CLIP_FRAMES, 64, 64, 3), np.uint8)
        self.background = np.empty((clips, 64, 64, 3), np.uint8)
        for _ in trange(clips, desc="making clips", unit="clip"):
            self.replace_oldest()

    def replace_oldest(self) -> None:
        """Put a fresh clip in the place of the oldest one."""
        place = self.made % len(self.frames)
        world = self.worlds[self.made % len(self.worlds)]
        self.frames[place] = make_clip(world, self.seed, self.made, CLIP_FRAMES).clip.frames
        self.background[place] = np.median(self.frames[place], axis=0)  # the camera stands still
        self.made += 1

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` images (k 3 h w) in [-1, 1], and their distance from the background (k 1 h w), 0..1."""
        clips = self.rng.integers(len(self.frames), size=count)
        frames = self.frames[clips, self.rng.integers(CLIP_FRAMES, size=count)]
        images, still = (
            2 * (rearrange(torch.from_numpy(pixels), "k h w c -> k c h w").float() / 255) - 1
            for pixels in (frames, self.background[clips])
        )
        far = (2 * (images - still).abs().amax(1, keepdim=True)).clamp(max=1)
        return images, far


def codec_loss(vae: AutoencoderKL, images: Tensor, far: Tensor, config: CodecTraining) -> Tensor:
    """Weighted pixel error plus KL term, for images (k 3 h w) with distances as `FramePool.draw` gives."""
    posterior = vae.encode(images).latent_dist
    latents = posterior.sample()
    spread = latents.detach().float().std(dim=(0, 2, 3), keepdim=True)
    strength = config.latent_noise * torch.rand(len(latents), 1, 1, 1)
    decoded = vae.decode(latents + strength * spread * torch.randn_like(latents)).sample
    error = decoded.float() - images
    weight = 1 + config.foreground * far
    # the square is what PSNR measures; the absolute value keeps pulling where the square has gone flat
    pixels = (weight * (error.square() + 0.1 * error.abs())).mean()
    mean, log_variance = posterior.mean.float(), posterior.logvar.float()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return pixels + config.kl_weight * divergence


@torch.no_grad()
def standardised(vae: AutoencoderKL, images: Tensor) -> AutoencoderKL:
    """A copy that codes alike, with latents of mean 0 and spread 1 in each channel over `images` (k 3 h w).

    The change goes into the two 1x1 convolutions around the latents, so scaling_factor 1 and no shift_factor
    stay true for whoever opens the VAE with plain diffusers.
    """
    vae = copy.deepcopy(vae)
    latents = torch.cat([vae.encode(part).latent_dist.mode().float() for part in images.split(64)])
    mean, spread = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    channels = len(mean)
    inwards, outwards = vae.quant_conv, vae.post_quant_conv
    inwards.bias[:channels] -= mean
    inwards.weight[:channels] /= spread[:, None, None, None]
    inwards.bias[:channels] /= spread
    inwards.bias[channels:] -= 2 * spread.log()  # the second half is the posterior's log-variance
    outwards.bias += outwards.weight[:, :, 0, 0] @ mean
    outwards.weight *= spread[None, :, None, None]
    return vae


def save_codec(vae: AutoencoderKL, pool: FramePool, folder: Path) -> None:
    """Write a standardised bf16 copy to `folder`, whole or not at all."""
    stored = standardised(vae, pool.draw(1024)[0]).to(torch.bfloat16)
    with whole_folder(folder, WEIGHTS) as draft, safetensors_errors(folder):
        stored.save_pretrained(draft)


def train_codec(config: CodecTraining, folder: Path, start: Path | None = None) -> None:
    """Train a new codec, or `start`, and keep the newest state in `folder`. Ctrl-C stops early, and saves.

    Killed, it leaves the last state that was kept, a usable codec; the same call begins anew.

    Raises:
        ValueError: another process trains into this folder.
        OSError: it cannot be written, which is tried first, or holds something else than a codec.
        FloatingPointError: the loss is no number any more.
    """
    refuse_other(folder, WEIGHTS)  # before the work
    with only_writer(folder):
        _train(config, folder, start)


def _train(config: CodecTraining, folder: Path, start: Path | None) -> None:
    torch.manual_seed(config.seed)
    vae = load_vae(start.absolute()).train() if start else new_codec()
    if not isinstance(vae, AutoencoderKL):
        raise ValueError(f"{start}: a {type(vae).__name__}; only an AutoencoderKL can be trained here")
    pool = FramePool(config.pool, config.seed, config.worlds)
    optimiser = torch.optim.AdamW(vae.parameters(), config.learning_rate, (0.9, 0.99), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / 100, 0.5 + 0.5 * math.cos(math.pi * step / config.steps))
    )
    saved, quick = time.monotonic(), multiplies_bf16("cpu")
    progress = trange(config.steps, desc="training the codec", unit="step", mininterval=5)
    try:
        for step in progress:
            images, far = pool.draw(config.batch)
            with torch.autocast("cpu", torch.bfloat16, enabled=quick):
                loss = codec_loss(vae, images, far, config)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss.item()} at step {step}: lower --learning-rate")
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 0.5)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            pool.replace_oldest()
            if step % 50 == 0:
                progress.set_postfix(loss=f"{loss.item():.5f}")
            if time.monotonic() - saved > config.checkpoint_seconds:
                save_codec(vae, pool, folder)
                saved = time.monotonic()
    except KeyboardInterrupt:
        tqdm.write(f"stopped at step {progress.n} of {config.steps}; saving what there is")
    save_codec(vae, pool, folder)


def psnr(frames: np.ndarray | Tensor, decoded: np.ndarray | Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each frame in dB: two uint8 (k h w 3) -> float (k,)."""
    difference = torch.as_tensor(frames).float() - torch.as_tensor(decoded).float()
    return 10 * torch.log10(255**2 / difference.square().mean(dim=(1, 2, 3)).clamp(min=1e-3))


def evaluate(
    vae: ImageVAE, clips: int = 10, noise: float = 0.0, worlds: Sequence[str] = WORLDS
) -> dict[str, float]:
    """Mean PSNR in dB over unseen frames: one entry a class, and one a world (mean of its classes).

    Args:
        vae: the codec to measure.
        clips: per class, of 40 frames each.
        noise: spread of Gaussian noise put on the latents before decoding.
        worlds: whose clips.
    """
    generator = torch.Generator().manual_seed(0)
    result: dict[str, float] = {}
    for world in worlds:
        classes, means = CLASSES[world], dict[str, float]()
        for label, name in enumerate(classes or ("",)):
            number = label if classes else None
            made = [make_clip(world, CODEC_SEED, index, CLIP_FRAMES, number) for index in range(clips)]
            frames = np.concatenate([toy.clip.frames for toy in made])
            latents = encode_frames(vae, frames)
            latents += noise * torch.randn(latents.shape, generator=generator)
            means[f"{world}/{name}"] = psnr(frames, decode_latents(vae, latents)).mean().item()
        result |= means if classes else {}
        result[world] = sum(means.values()) / len(means)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--out", type=Path, help="train, and write the codec to this folder")
    task.add_argument("--evaluate", type=Path, metavar="FOLDER", help="measure the codec in this folder")
    defaults = CodecTraining()
    for name in ("steps", "batch", "learning_rate", "kl_weight", "latent_noise", "foreground", "seed"):
        value = getattr(defaults, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default {value}"
        )
    parser.add_argument(
        "--worlds", nargs="+", choices=CLASSES, default=WORLDS, help=f"default {' '.join(WORLDS)}"
    )
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="go on from this codec")
    options = vars(parser.parse_args(arguments))
    start = options.pop("start")
    out, folder = options.pop("out"), options.pop("evaluate")
    if purpose := kept_for(options["seed"]):
        parser.error(f"--seed {options['seed']} is kept for measuring ({purpose}); choose another")
    try:
        if out:
            train_codec(CodecTraining(**{**options, "worlds": tuple(options["worlds"])}), out, start)
        vae = load_vae((out or folder).absolute())
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for noise in (0.0, 0.1):
        print(f"PSNR on unseen frames, dB{f', with noise of {noise} on the latents' if noise else ''}")
        for name, value in evaluate(vae, noise=noise, worlds=options["worlds"]).items():
            print(f"  {name:26s} {value:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
