"""Waveform <-> log-mel <-> one segment of mel frames per video frame (paper, Fig. 2).

The model never sees sound as samples. It sees, for each video frame, a small picture of the sound that
belongs to it: `f` mel frames of `m` mel bins. `MelCodec` makes these segments and takes them apart again. It
is a diffusers component (config plus two stored tensors), so it travels inside a pipeline folder with the
settings it was trained with.

Numbers follow the released R-FLAV model: a magnitude spectrogram without centring, padded by reflection so
that `s` samples give exactly `s // hop_length` mel frames, each centred in its own stretch of `hop_length`
samples.
"""

import math
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
import torchaudio
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor

from rflav_lib.arguments import plain_numbers
from rflav_lib.numbers_given import as_whole, check_real

MEL_FLOOR = 1e-5  # smallest mel magnitude that is told apart from silence
MEL_CEILING = 200.0  # the mel magnitude that maps to +1
LOG_FLOOR = math.log(MEL_FLOOR)
LOG_CEILING = math.log(MEL_CEILING)
POWER_EPSILON = 1e-9  # inside the square root, as in the released model


class Float32Module(ModelMixin):
    """A diffusers component whose tensors stay float32 whatever the rest of the pipeline is cast to.

    A mel filter bank rounded to bfloat16 is a different filter bank. `pipe.to(torch.bfloat16)` therefore
    moves these components between devices but leaves their precision alone.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_precision(tensor: Tensor) -> Tensor:
            converted = fn(tensor)
            return converted if converted.dtype == tensor.dtype else tensor.to(converted.device)

        return super()._apply(keep_precision, recurse)


def check_stft_settings(sample_rate: int, n_fft: int, win_length: int, hop_length: int) -> None:
    """Refuse settings that cannot give `samples // hop_length` frames.

    Raises:
        ValueError: a size that is no whole number or not positive, or sizes that do not fit each other; names them.
    """
    sizes = {"sample_rate": sample_rate, "n_fft": n_fft, "win_length": win_length, "hop_length": hop_length}
    for name, size in sizes.items():
        if as_whole(size) is None:
            raise ValueError(f"{name} must be a whole number, not {size!r}")
    if min(sample_rate, n_fft, win_length, hop_length) <= 0:
        raise ValueError(
            "sample_rate, n_fft, win_length and hop_length must be positive, "
            f"got {sample_rate}, {n_fft}, {win_length}, {hop_length}"
        )
    if win_length > n_fft:
        raise ValueError(f"win_length ({win_length}) must not exceed n_fft ({n_fft})")
    if hop_length > n_fft or (n_fft - hop_length) % 2:
        raise ValueError(
            f"n_fft - hop_length must be even and not negative, got n_fft={n_fft}, hop_length={hop_length}: "
            "the signal is padded by half the difference on each side"
        )


def mel_filter_bank(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> Tensor:
    """Slaney-scale, slaney-normalised mel filters, `(n_fft // 2 + 1, m)` (torchaudio).

    Raises:
        ValueError: `f_min` or `f_max` that is no number, `n_mels` that is no whole number; a range outside 0 to half
            the sample rate, or no bins.
    """
    check_real(f_min, "f_min")
    check_real(f_max, "f_max")
    if as_whole(n_mels) is None:
        raise ValueError(f"n_mels must be a whole number, not {n_mels!r}")
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ValueError(
            "mel range must satisfy 0 <= f_min < f_max <= sample_rate / 2, "
            f"got {f_min}..{f_max} Hz at {sample_rate} Hz"
        )
    if n_mels <= 0:
        raise ValueError(f"n_mels must be positive, got {n_mels}")
    return torchaudio.functional.melscale_fbanks(
        n_freqs=n_fft // 2 + 1, f_min=f_min, f_max=f_max, n_mels=n_mels, sample_rate=sample_rate,
        norm="slaney", mel_scale="slaney",
    )  # fmt: skip


class MelCodec(Float32Module, ConfigMixin):
    """Mono waveform <-> scaled log-mel segments, one segment per video frame.

    Args:
        sample_rate: samples per second.
        frame_rate: video frames per second; `sample_rate / frame_rate / hop_length` must be whole.
        n_fft, win_length, hop_length: STFT size, Hann window and step, in samples.
        n_mels: mel bins m. f_min, f_max: their range in Hz.
        audio_scale: the factor on the [-1, 1] segments that gives the model its variance.
        peak: each waveform is scaled to this absolute peak before anything else, as in the released model;
            None keeps its loudness. Silence stays silence.

    Values of `encode` lie in [-audio_scale, audio_scale] for ordinary sound. Sound louder than a log-mel of
    ln 200 (possible with `peak=None`, or for pure tones) lies above; it is neither clipped nor refused, and
    decodes exactly. All maths is float32, under autocast and in half-precision pipelines too.
    """

    config_name = "config.json"
    _keep_in_fp32_modules = ["filter_bank", "window"]

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 16000,
        frame_rate: float = 10,
        n_fft: int = 2048,
        win_length: int = 1024,
        hop_length: int = 160,
        n_mels: int = 256,
        f_min: float = 0.0,
        f_max: float = 8000.0,
        audio_scale: float = 1.0,
        peak: float | None = 0.95,
    ) -> None:
        super().__init__()
        check_stft_settings(sample_rate, n_fft, win_length, hop_length)
        check_real(frame_rate, "frame_rate")
        check_real(audio_scale, "audio_scale")
        check_real(1 if peak is None else peak, "peak")
        mel_frames = sample_rate / (frame_rate * hop_length) if frame_rate > 0 else 0.0
        if round(mel_frames) < 1 or not math.isclose(mel_frames, round(mel_frames)):
            raise ValueError(
                f"{sample_rate} Hz at {frame_rate} video frames a second with a hop of {hop_length} samples "
                f"gives {mel_frames:.4g} mel frames per video frame; choose numbers that give a whole one"
            )
        if not (math.isfinite(audio_scale) and audio_scale > 0):
            raise ValueError(f"audio_scale must be a positive number, got {audio_scale}")
        if peak is not None and not 0 < peak <= 1:
            raise ValueError(f"peak must lie in (0, 1], or be None to keep the loudness, got {peak}")
        self.register_to_config(**plain_numbers(self.config))
        self._frames_per_segment = round(mel_frames)
        self._padding = (n_fft - hop_length) // 2
        self.register_buffer("filter_bank", mel_filter_bank(sample_rate, n_fft, n_mels, f_min, f_max))
        self.register_buffer("window", torch.hann_window(win_length, periodic=True))

    @property
    def frames_per_segment(self) -> int:
        """f: mel frames that belong to one video frame."""
        return self._frames_per_segment

    def encode(self, waveform: Tensor, sample_rate: int | None = None) -> Tensor:
        """Waveform `(b s)` or `(s,)` in [-1, 1] -> scaled segments `(b k f m)`, float32.

        k = s // (sample_rate / frame_rate): samples after the last whole video frame give no segment, though
        they are heard by the reflected padding and count for the peak. A tensor does not know its rate: pass
        `sample_rate` where it is known, and sound of another rate is refused, not taken at the wrong pitch.

        Raises:
            TypeError: not a floating point tensor.
            ValueError: wrong number of axes, empty, NaN or infinite, shorter than a frame, or another rate.
        """
        if sample_rate not in (None, self.config.sample_rate):
            raise ValueError(
                f"the sound has {sample_rate} samples a second, this codec needs {self.config.sample_rate}: "
                "resample it (torchaudio.functional.resample, or Clip.read from a file)"
            )
        log_mel = self.log_mel(waveform)  # b m frames
        f = self._frames_per_segment
        k = log_mel.shape[-1] // f
        if k == 0:
            raise ValueError(
                f"waveform of {waveform.shape[-1]} samples is shorter than one video frame "
                f"({f * self.config.hop_length} samples)"
            )
        zero_to_one = (log_mel[..., : k * f] - LOG_FLOOR) / (LOG_CEILING - LOG_FLOOR)
        return rearrange(self.config.audio_scale * (2 * zero_to_one - 1), "b m (k f) -> b k f m", f=f)

    def decode(self, segments: Tensor) -> Tensor:
        """Scaled segments `(b k f m)` -> natural log-mel `(b m k*f)`, float32.

        The exact inverse of the scaling in `encode`, whatever the values.

        Raises:
            TypeError: not floating point.
            ValueError: another shape, or NaN.
        """
        expected = (self._frames_per_segment, self.config.n_mels)
        if segments.ndim != 4 or tuple(segments.shape[-2:]) != expected:
            raise ValueError(
                f"segments must have shape (b k f m) with f={expected[0]} and m={expected[1]}, "
                f"got {tuple(segments.shape)}"
            )
        check_finite_float(segments, "segments")
        zero_to_one = (segments.float() / self.config.audio_scale + 1) / 2
        log_mel = zero_to_one * (LOG_CEILING - LOG_FLOOR) + LOG_FLOOR
        return rearrange(log_mel, "b k f m -> b m (k f)")

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Waveform `(b s)` or `(s,)` -> natural log-mel `(b m s//hop_length)`, float32, floored at ln 1e-5.

        Frame i is centred at sample i * hop_length + hop_length / 2. The result lies on the codec's device.
        """
        batch = self._prepare(waveform)
        batch = batch.to(self.window.device)
        cfg = self.config
        with torch.autocast(batch.device.type, enabled=False):
            padded = F.pad(batch[:, None], (self._padding, self._padding), mode="reflect")[:, 0]
            spectrum = torch.stft(
                padded,
                cfg.n_fft,
                cfg.hop_length,
                cfg.win_length,
                self.window,
                center=False,
                return_complex=True,
            )
            power = torch.view_as_real(spectrum).square().sum(dim=-1)  # b bins frames
            mel = self.filter_bank.T @ torch.sqrt(power + POWER_EPSILON)  # b m frames
            return torch.log(mel.clamp(min=MEL_FLOOR))

    def _prepare(self, waveform: Tensor) -> Tensor:
        """Check, bring to float32 `(b s)`, scale to the peak."""
        if not isinstance(waveform, Tensor):
            kind = type(waveform).__name__
            raise TypeError(f"waveform must be a torch.Tensor, got {kind}; use torch.from_numpy")
        if waveform.ndim not in (1, 2):
            raise ValueError(f"waveform must be mono with shape (s,) or (b s), got {tuple(waveform.shape)}")
        check_finite_float(waveform, "waveform")
        batch = torch.atleast_2d(waveform.float())
        # reflection needs more samples than it adds
        shortest = max(self.config.hop_length, self._padding + 1)
        if batch.shape[-1] < shortest or batch.shape[0] == 0:
            raise ValueError(
                f"waveform {tuple(waveform.shape)} is too short: at least {shortest} samples are needed"
            )
        if self.config.peak is None:
            return batch
        loudest = batch.abs().amax(dim=-1, keepdim=True)
        return batch * (self.config.peak / loudest.clamp(min=1e-30))  # silence stays silence


def check_finite_float(tensor: Tensor, name: str) -> None:
    """TypeError unless floating point; ValueError on NaN or infinity. `name` is what the message calls it."""
    if not tensor.is_floating_point():
        raise TypeError(
            f"{name} must be floating point, got {tensor.dtype}; divide integer PCM by its full scale"
        )
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} contains NaN or infinite values")


def check_log_mel(log_mel: Tensor, n_mels: int) -> None:
    """Refuse what is no log-mel (b m frames) of `n_mels` bins.

    Raises:
        TypeError: not floating point.
        ValueError: wrong shape, or NaN.
    """
    if log_mel.ndim != 3 or log_mel.shape[1] != n_mels or 0 in log_mel.shape:
        raise ValueError(
            f"log_mel must have shape (b m frames) with m={n_mels} and nothing empty, got {tuple(log_mel.shape)}"
        )
    check_finite_float(log_mel, "log_mel")
