"""What a sampler is given, looked at once before a stream begins: each mistake gets one error that names it.

Networks would notice some of it in words of their own, and some not at all: one mel frame where there should be ten
broadcasts.
"""

from typing import Any

import torch
from torch import Tensor

from rflav_lib.memory import MemoryLayout
from rflav_lib.transformer import RFLAVTransformer

AXES = {"video": ("b", "k", "c", "h", "w"), "audio": ("b", "k", "f", "m")}


def layout_of(model: Any, memory: MemoryLayout | None) -> MemoryLayout:
    """The memory slots of a model: what it says itself, else what is told.

    Raises:
        ValueError: both, and they differ.
    """
    own = getattr(model, "memory_layout", None)
    if memory is not None and own is not None and memory != own:
        raise ValueError(f"memory is {memory}, but this model has {own}: leave memory out")
    return memory or own or MemoryLayout()


def check_windows(model: Any, video: Tensor, audio: Tensor, window: int) -> None:
    """Raise a ValueError unless these are noise of one window for each of a batch, and of this model's shapes."""
    for name, noise in (("video", video), ("audio", audio)):
        _check_tensor(noise, f"{name} noise", name)
        if noise.shape[1] != window:
            raise ValueError(f"{name} noise has {noise.shape[1]} frames, but the window is {window}")
    if len(video) != len(audio):
        raise ValueError(f"video noise is for {len(video)} clips, audio noise for {len(audio)}")
    if isinstance(model, RFLAVTransformer) and window > model.config.window:
        raise ValueError(
            f"the schedule's window is {window}, but this model's is {model.config.window}: it takes no more frames"
        )
    for name, noise in (("video", video), ("audio", audio)):
        _check_frames(model, noise, f"{name} noise", name)


def check_given(model: Any, clip: Tensor, name: str) -> None:
    """Raise a ValueError unless this is a batch of clean frames (b l ...) of modality `name` that the model takes."""
    _check_tensor(clip, name, name)
    if not clip.shape[1]:
        raise ValueError(f"{name} must be a batch of at least one frame, got shape {tuple(clip.shape)}")
    _check_frames(model, clip, name, name)
    if not torch.isfinite(clip).all():
        raise ValueError(f"{name} contains NaN or infinite values")


def checked_labels(model: Any, y: Tensor | None, batch: int) -> Tensor | None:
    """Labels (b,) as int64, or None.

    Raises:
        ValueError: no tensor of whole numbers, one for each of the batch, or a class that the model does not have.
    """
    if y is None:
        return None
    if not isinstance(y, Tensor):
        raise ValueError(f"y must be a tensor of labels (b,), not {type(y).__name__}: torch.tensor([0, 1])")
    if y.dtype == torch.bool or y.is_floating_point() or y.is_complex():
        raise ValueError(f"labels must be whole numbers, not {y.dtype}")
    if tuple(y.shape) != (batch,):
        raise ValueError(f"y has shape {tuple(y.shape)}, this model needs {(batch,)}")
    y = y.long()
    if isinstance(model, RFLAVTransformer):
        model.check_labels(y, batch)
    return y


def _check_tensor(value: Any, what: str, name: str) -> None:
    kind = getattr(value, "dtype", type(value).__name__)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"{what} must be a tensor of floating point numbers, not {kind}")
    if value.ndim != len(AXES[name]):
        raise ValueError(f"{what} must have shape ({' '.join(AXES[name])}), got {tuple(value.shape)}")


def _check_frames(model: Any, frames: Tensor, what: str, name: str) -> None:
    """The shape of each frame, where the model tells it."""
    if not isinstance(model, RFLAVTransformer):
        return
    config = model.config
    video = config.in_channels, config.latent_size, config.latent_size
    needed = tuple(frames.shape[:2]) + (video if name == "video" else (config.mel_frames, config.n_mels))
    if tuple(frames.shape) != needed:
        raise ValueError(f"{what} has shape {tuple(frames.shape)}, this model needs {needed}")
