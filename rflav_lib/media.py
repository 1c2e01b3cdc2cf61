"""Clip: video frames and the sound that belongs to them; reads, writes, and shows itself."""

from dataclasses import dataclass

import numpy as np


class MediaError(Exception):
    """A media file cannot be read or written; the message names the file and the reason."""


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """Frames and mono sound of equal duration.

    Attributes:
        frames: uint8 `(k h w 3)`, RGB, at least one frame.
        waveform: float32 `(s,)`, nominally in [-1, 1]. s is k * sample_rate / frame_rate, rounded, give or take one sample.
        frame_rate: video frames per second.
        sample_rate: samples per second.

    Raises:
        TypeError: an array of another kind or dtype. ValueError: wrong shape, NaN, or durations that do not match.
    """

    frames: np.ndarray
    waveform: np.ndarray
    frame_rate: float = 10
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        _check_array(self.frames, "frames", np.uint8)
        _check_array(self.waveform, "waveform", np.float32)
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or 0 in self.frames.shape:
            raise ValueError(f"frames must have shape (k h w 3) with nothing empty, got {self.frames.shape}")
        if self.waveform.ndim != 1:
            raise ValueError(f"waveform must be mono with shape (s,), got {self.waveform.shape}")
        if not self.frame_rate > 0 or not self.sample_rate > 0:
            raise ValueError(f"rates must be positive, got frame_rate={self.frame_rate}, sample_rate={self.sample_rate}")
        if not np.isfinite(self.waveform).all():
            raise ValueError("waveform contains NaN or infinite values")
        expected = round(len(self.frames) * self.sample_rate / self.frame_rate)
        if abs(len(self.waveform) - expected) > 1:
            raise ValueError(
                f"{len(self.frames)} frames at {self.frame_rate} fps need {expected} samples at {self.sample_rate} Hz "
                f"(give or take one), got {len(self.waveform)}"
            )

    def __len__(self) -> int:
        """Number of video frames."""
        return len(self.frames)

    @property
    def duration(self) -> float:
        """Length in seconds: frames / frame_rate."""
        return len(self.frames) / self.frame_rate

    def __repr__(self) -> str:
        k, h, w, _ = self.frames.shape
        return (
            f"Clip({k} frames {w}x{h} @ {self.frame_rate:g} fps, {self.duration:.1f} s, "
            f"{len(self.waveform)} samples @ {self.sample_rate} Hz)"
        )


def _check_array(array: np.ndarray, name: str, dtype: type) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")
