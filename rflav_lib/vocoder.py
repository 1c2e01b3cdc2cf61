"""Log-mel -> waveform. `GriffinLim` needs no weights: it searches a waveform whose spectrogram fits.

Every vocoder here is a diffusers component called as `vocoder(log_mel (b m frames)) -> waveform (b s)`, with
`s = frames * hop_length`, so a pipeline does not care which one it holds. `vocoder.stream(batch)` does the same for
frames that come in pieces.
"""

from typing import Self

import torch
import torchaudio
from diffusers import ConfigMixin, ModelMixin  # noqa: F401 - diffusers finds ModelMixin in the module of a component
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from rflav_lib.arguments import plain_numbers
from rflav_lib.mel import Float32Module, MelCodec, check_log_mel, check_stft_settings, mel_filter_bank
from rflav_lib.numbers_given import check_real, whole_number
from rflav_lib.phase_search import FrameTransform, find_phases, uneven_phases
from rflav_lib.vocoder_stream import GriffinLimStream

LOUDEST_LOG_MEL = 20.0  # far above full scale (about 6); beyond it lies a model that has diverged


class GriffinLim(Float32Module, ConfigMixin):
    """Phase reconstruction by fast Griffin-Lim (torchaudio), for the mel spectrograms of `MelCodec`.

    First the linear spectrum is recovered from the mel bins by non-negative multiplicative updates, which
    keep what the mel bins say, where a clamped pseudo-inverse does not. Then `iterations` rounds of
    Griffin-Lim find phases. Deterministic: phases start at zero; in a stream, at fixed uneven ones (`phase_search`).

    Measured on one thread, 4 s of sound take 0.7 s. Round trip of a recorded 1.6 s sound: mean
    |log-mel difference| 0.14 with 256 mel bins, 0.18 with 64. Clicks come back within 1 ms of their place.

    Args:
        sample_rate, n_fft, win_length, hop_length, n_mels, f_min, f_max: as in `MelCodec`.
        iterations: rounds of phase search, of which a stream takes three quarters; time grows in proportion.
        momentum: of the fast variant, in [0, 1).

    Raises:
        ValueError: a setting that is no number of its kind or out of range; names it. Some that `MelCodec` takes are
            refused here: windows no longer than a hop, between which nothing is heard, and an odd n_fft.
    """

    config_name = "config.json"
    _keep_in_fp32_modules = ["filter_bank", "window"]
    _unmixing_rounds = 30  # the mel error is below 0.001 after these, for a tenth of the whole time

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 2048,
        win_length: int = 1024,
        hop_length: int = 160,
        n_mels: int = 256,
        f_min: float = 0.0,
        f_max: float = 8000.0,
        iterations: int = 64,
        momentum: float = 0.99,
    ) -> None:
        super().__init__()
        check_stft_settings(sample_rate, n_fft, win_length, hop_length)
        if win_length <= hop_length:
            raise ValueError(
                f"win_length must be above hop_length, got {win_length} and {hop_length}: "
                "there is no sound between windows that do not overlap"
            )
        if n_fft % 2:
            raise ValueError(f"n_fft must be even to find phases, not {n_fft}")
        whole_number(iterations, "iterations")
        check_real(momentum, "momentum")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
        self.register_to_config(**plain_numbers(self.config))
        self.register_buffer("filter_bank", mel_filter_bank(sample_rate, n_fft, n_mels, f_min, f_max))
        self.register_buffer("window", torch.hann_window(win_length, periodic=True))

    @classmethod
    def from_codec(cls, mel: MelCodec, iterations: int = 64, momentum: float = 0.99) -> Self:
        """The vocoder that undoes this codec's log-mel."""
        names = ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels", "f_min", "f_max")
        return cls(**{name: mel.config[name] for name in names}, iterations=iterations, momentum=momentum)

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Tensor:
        """Natural log-mel `(b m frames)` -> waveform `(b frames*hop_length)`, float32.

        Loud input can give samples beyond [-1, 1]; they are left alone here, and clipped where a file
        is written. The result lies on the vocoder's device.

        Raises:
            TypeError: not floating point. ValueError: wrong shape, NaN, or values no sound has.
        """
        return self._find_waveform(self.linear_magnitude(log_mel))

    def stream(self, batch: int = 1) -> GriffinLimStream:
        """A stream that takes log-mel in pieces and gives sound in pieces, without end."""
        return GriffinLimStream(self, batch)

    @torch.no_grad()
    def linear_magnitude(self, log_mel: Tensor) -> Tensor:
        """Natural log-mel (b m frames) -> linear magnitudes (b bins frames), each frame on its own.

        Raises:
            TypeError: not floating point. ValueError: wrong shape, NaN, or values no sound has.
        """
        self.check(log_mel)
        with torch.autocast(self.window.device.type, enabled=False):
            return self._unmix(log_mel.float().to(self.window.device).exp())

    def check(self, log_mel: Tensor) -> None:
        """Raise what `forward` raises for an input that is no log-mel (b m frames) of this vocoder."""
        check_log_mel(log_mel, self.config.n_mels)
        if log_mel.max() > LOUDEST_LOG_MEL:
            raise ValueError(
                f"log_mel reaches {log_mel.max():.1f}, no sound does: "
                "pass natural logarithms, as MelCodec.decode gives"
            )

    @torch.no_grad()
    def find_phases(self, magnitude: Tensor, rounds: int, past: Tensor | None = None) -> Tensor:
        """Griffin-Lim on magnitudes (b bins frames): (b (frames-1)*hop) samples, frame i centred at i * hop.

        For streams. torchaudio's, which whole clips use, cannot be told what is known already: here the samples
        `past` (b s) at the beginning. Without them and from the same start both find the same, torchaudio's in
        nearly twice the time.
        """
        cfg, (bins, frames) = self.config, magnitude.shape[-2:]
        transform = FrameTransform(self.window, cfg.n_fft, cfg.hop_length, frames)
        start = uneven_phases(frames, bins).to(magnitude.device)
        with torch.autocast(self.window.device.type, enabled=False):
            return find_phases(transform, magnitude, rounds, cfg.momentum, past, start)

    def _unmix(self, mel: Tensor) -> Tensor:
        """Mel magnitude (b m frames) -> a non-negative spectrum (b bins frames) with these mel values.

        Multiplicative updates for the Kullback-Leibler divergence (Lee and Seung, 1999), from the smoothest
        start.
        """
        bank = self.filter_bank  # bins m
        share = bank / bank.sum(dim=1, keepdim=True).clamp(min=1e-12)
        spectrum = share @ (mel / bank.sum(dim=0).clamp(min=1e-12)[:, None])
        for _ in range(self._unmixing_rounds):
            spectrum = spectrum * (share @ (mel / (bank.T @ spectrum).clamp(min=1e-12)))
        return spectrum

    def _find_waveform(self, magnitude: Tensor) -> Tensor:
        """Magnitude (b bins frames) -> waveform (b s), aligned to the sample with what `MelCodec` hears.

        torchaudio centres frame i at sample i * hop; the codec at (i + 1/2) * hop. So the frames are mirrored
        past both ends, as the codec's reflection does with the samples, and the cut starts half a hop early.
        """
        cfg = self.config
        frames, margin = magnitude.shape[-1], -(-cfg.n_fft // (2 * cfg.hop_length)) + 1
        place = torch.arange(-margin, frames + margin, device=magnitude.device) % (2 * frames)
        mirrored = magnitude[..., torch.where(place < frames, place, 2 * frames - 1 - place)]
        waveform = torchaudio.functional.griffinlim(
            mirrored,
            self.window,
            cfg.n_fft, cfg.hop_length, cfg.win_length,
            power=1.0, n_iter=cfg.iterations, momentum=cfg.momentum,
            length=(frames + 2 * margin - 1) * cfg.hop_length, rand_init=False,
        )  # fmt: skip
        start = margin * cfg.hop_length - cfg.hop_length // 2
        return waveform[..., start : start + frames * cfg.hop_length]
