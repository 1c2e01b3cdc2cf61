"""Frames <-> latents over a diffusers VAE, `AutoencoderKL` or `AutoencoderTiny`, and the letterbox before.

Images are float (k 3 h w) in [-1, 1]; frames are uint8 (k h w 3). Latents are (z - shift) * scale with the
VAE's own `shift_factor` and `scaling_factor`, so that the flow model sees values of about unit spread.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from einops import rearrange
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor
from torch.nn import functional

from rflav_lib import ROOT
from rflav_lib.misfits import in_words
from rflav_lib.model_folder import check_finite, opening
from rflav_lib.weight_files import check_variant, weight_files

ImageVAE: TypeAlias = AutoencoderKL | AutoencoderTiny
KINDS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}

OVERSHOOT = 0.01  # beyond [-1, 1], that resampling and rounding may leave
DEFAULT_BATCH = 32  # frames at once; it bounds the memory of a long clip


def find_vae(place: str | Path) -> tuple[str, type[AutoencoderKL | AutoencoderTiny]]:
    """Where an image VAE lies, a folder or a repository of the model hub, and of which kind it is.

    A relative folder is one of the repository's, or else of the working folder. Of the hub, only its description is
    fetched.

    Raises:
        ValueError: there is none, or it is of another kind.
    """
    place, config = _described(place)
    return place, KINDS[config.get("_class_name", "AutoencoderKL")]


def latent_layout(place: str | Path) -> tuple[int, int]:
    """Channels of an image VAE's latents, and its `reduction`, by its description alone; found as `find_vae` does.

    Raises:
        ValueError: as `find_vae`, or the description does not say them.
    """
    place, config = _described(place)
    channels = config.get("latent_channels")
    if type(channels) is not int or channels < 1:
        raise ValueError(f"{place}: config.json says latent_channels {channels!r}, not how many there are")
    with opening(place):
        return channels, reduction(config)


def _described(place: str | Path) -> tuple[str, Mapping[str, Any]]:
    """Where an image VAE lies, and what its config.json says. Raises ValueError as `find_vae` does."""
    place = str(ROOT / place if (ROOT / place).is_dir() else place)
    with opening(place):
        try:
            config = AutoencoderKL.load_config(place)
        except OSError as error:
            reason = str(error).splitlines()[0]
            # which diffusers tells as a missing file
            if isinstance(error.__context__, LocalEntryNotFoundError):
                reason = "no such folder, and as a repository of the model hub it is out of reach"
            raise ValueError(f"{place}: no image VAE here: {reason}") from error
        kind = config.get("_class_name", "AutoencoderKL")
    if kind not in KINDS:
        raise ValueError(f"{place}: a {kind}, not one of {', '.join(KINDS)}")
    return place, config


def load_vae(place: str | Path, variant: str | None = None) -> ImageVAE:
    """Open an image VAE, found as `find_vae` does, in float32, safetensors only.

    Args:
        place: a folder, or a repository of the model hub.
        variant: of the weights, such as "fp16", where there are several.

    Raises:
        ValueError: there is none, it is of another kind, or its weights are damaged or do not fit its config.
    """
    check_variant(variant)
    place, kind = find_vae(place)
    if Path(place).is_dir():
        weight_files(Path(place), variant)
    with opening(place):
        # what is missing is told after diffusers has renamed the weights of old files
        vae, told = kind.from_pretrained(
            place, use_safetensors=True, output_loading_info=True, variant=variant
        )
        if wrong := in_words(told["missing_keys"], told["unexpected_keys"]):
            raise ValueError(f"weights do not fit the config beside them: {wrong}")
        check_finite(place, vae)
    return vae.eval()


def letterbox(frames: np.ndarray | Tensor, size: int) -> Tensor:
    """Fit frames into a black square: uint8 (k h w 3) -> float32 (k 3 size size) in [-1, 1].

    The longer side becomes `size`, the other keeps the ratio (rounded, at least 1); bicubic with antialias;
    the top and the left get the smaller half of the padding. The released code truncates the sides and lets
    bicubic overshoot leave [-1, 1]; here they are rounded and the values clamped.

    Raises:
        TypeError: frames that are not uint8.
        ValueError: a wrong shape, or a size below 1.
    """
    pixels = _checked_frames(frames)
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, not {size}")
    images = _unit_images(pixels)
    height, width = images.shape[-2:]
    longer = max(height, width)
    height, width = (max(1, round(side * size / longer)) for side in (height, width))
    images = functional.interpolate(images, (height, width), mode="bicubic", antialias=True)
    top, left = (size - height) // 2, (size - width) // 2
    images = functional.pad(images, (left, size - width - left, top, size - height - top))
    return (2 * images - 1).clamp(-1, 1)


def to_uint8(images: Tensor) -> Tensor:
    """Float images, nominally in [-1, 1] -> uint8 of the same shape: 127.5 x + 128, clamped, truncated.

    Raises:
        ValueError: NaN or infinite values, which have no colour.
    """
    if not torch.isfinite(images).all():
        raise ValueError("images contain NaN or infinite values: what made them is broken")
    return (127.5 * images.float() + 128).clamp(0, 255).to(torch.uint8)


def encode_frames(vae: ImageVAE, frames: np.ndarray | Tensor, batch_size: int = DEFAULT_BATCH) -> Tensor:
    """Encode frames as they are: uint8 (k h w 3) -> scaled float32 latents (k c h/f w/f) on the VAE's device.

    f is the VAE's reduction (8 as a rule). Frames of another size go through `letterbox` and `encode_images`.

    Raises:
        TypeError: frames that are not uint8. ValueError: see `encode_images`.
    """
    pixels = _checked_frames(frames)
    # a batch is converted when its turn comes: the whole clip as float32 would take four times its memory
    return _in_batches(lambda part: _encode(vae, 2 * _unit_images(part) - 1), pixels, batch_size)


def encode_images(vae: ImageVAE, images: Tensor, batch_size: int = DEFAULT_BATCH) -> Tensor:
    """Encode images: float (k 3 h w) in [-1, 1] -> scaled float32 latents (k c h/f w/f) on the VAE's device.

    The posterior's mean is taken, nothing is drawn. No gradient flows.

    Raises:
        TypeError: not floating point.
        ValueError: not three channels, sides not divisible by the VAE's reduction, values beyond [-1, 1] by more than
            0.01, NaN, a batch_size of 0.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = getattr(images, "dtype", type(images).__name__)
        raise TypeError(f"images must be a floating point tensor in [-1, 1], got {kind}; see encode_frames")
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ValueError(f"images must have shape (k 3 h w) with nothing empty, got {tuple(images.shape)}")
    if (largest := float(images.abs().max())) > 1 + OVERSHOOT:
        raise ValueError(f"images must lie in [-1, 1], but they reach {largest:.4g} in absolute value")
    return _in_batches(lambda part: _encode(vae, part), images, batch_size)


def decode_latents(vae: ImageVAE, latents: Tensor, batch_size: int = DEFAULT_BATCH) -> Tensor:
    """Decode scaled latents (k c h w) -> frames uint8 (k h*f w*f 3) on the VAE's device. No gradient flows.

    Raises:
        ValueError: channels that are not the VAE's, NaN in latents or result, a batch_size of 0.
    """
    channels = vae.config.latent_channels
    if latents.ndim != 4 or latents.shape[1] != channels or 0 in latents.shape:
        raise ValueError(f"this VAE takes latents (k {channels} h w), not empty; got {tuple(latents.shape)}")
    if not torch.isfinite(latents).all():
        raise ValueError("latents contain NaN or infinite values: nothing can be decoded from them")
    images = _in_batches(lambda part: to_uint8(_decode(vae, part)), latents, batch_size)
    return rearrange(images, "k c h w -> k h w c")


def reduction(vae: ImageVAE | Mapping[str, Any]) -> int:
    """Pixels a latent stands for along each side: 2 for each halving in the encoder (Stable Diffusion: 8).

    Args:
        vae: a codec, or the config of one.

    Raises:
        ValueError: a config that does not list its blocks.
    """
    config = vae if isinstance(vae, Mapping) else vae.config
    blocks = config.get("encoder_block_out_channels") or config.get("block_out_channels")
    if not isinstance(blocks, list | tuple) or not blocks:
        raise ValueError(f"block_out_channels is {blocks!r}, and no list of the encoder's blocks")
    return 2 ** (len(blocks) - 1)


@torch.no_grad()
def _encode(vae: ImageVAE, images: Tensor) -> Tensor:
    factor = reduction(vae)
    height, width = images.shape[-2:]
    if height % factor or width % factor:
        raise ValueError(f"images are {height}x{width}; this VAE needs multiples of {factor}: letterbox them")
    if not torch.isfinite(images).all():
        raise ValueError("images contain NaN or infinite values")
    encoded = vae.encode(images.to(vae.device, vae.dtype))
    # the tiny VAE has no posterior: what it returns is the mean already
    mean = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
    shift, scale = _shift_and_scale(vae)
    return (mean.float() - shift) * scale


@torch.no_grad()
def _decode(vae: ImageVAE, latents: Tensor) -> Tensor:
    shift, scale = _shift_and_scale(vae)
    latents = latents.to(vae.device, torch.float32) / scale + shift
    return vae.decode(latents.to(vae.dtype)).sample


def _shift_and_scale(vae: ImageVAE) -> tuple[float, float]:
    return getattr(vae.config, "shift_factor", None) or 0.0, vae.config.scaling_factor


def _in_batches(function: Callable[[Tensor], Tensor], values: Tensor, batch_size: int) -> Tensor:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    return torch.cat([function(part) for part in values.split(batch_size)])


def _unit_images(pixels: Tensor) -> Tensor:
    return rearrange(pixels, "k h w c -> k c h w").float() / 255


def _checked_frames(frames: np.ndarray | Tensor) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(frames)) if isinstance(frames, np.ndarray) else frames
    if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8:
        kind = getattr(pixels, "dtype", type(pixels).__name__)
        raise TypeError(f"frames must be uint8, 0..255, as a numpy array or a tensor, got {kind}")
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or 0 in pixels.shape:
        raise ValueError(f"frames must have shape (k h w 3) with nothing empty, got {tuple(pixels.shape)}")
    return pixels
