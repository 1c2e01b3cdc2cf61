"""Griffin-Lim's rounds, spectrum -> sound -> spectrum, with nothing computed twice.

`torch.istft` and `torch.stft` give the same, in nearly twice the time: at each call they work out the sum of the
overlapping windows, transform frames that are zero where the window is, and lay them out for one another.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


class FrameTransform:
    """Between sounds (b s) and spectra (b frames bins) of a fixed number of frames, frame i centred at i * hop.

    Spectra are those of `torch.stft` but for a turn of each bin, the same in every frame: the window begins at
    the first sample of what is transformed, not in its middle. `turn` goes from torch's to these.

    Args:
        window: (win_length,), no longer than `n_fft`.
        n_fft, hop_length: as in `torch.stft`.
        frames: how many; a sound has (frames - 1) * hop samples.
    """

    def __init__(self, window: Tensor, n_fft: int, hop_length: int, frames: int) -> None:
        self.n_fft, self.hop, self.frames = n_fft, hop_length, frames
        self.samples = (frames - 1) * hop_length
        self._width = len(window)
        self._hops = -(-self._width // hop_length)
        # samples of a window before its frame's centre
        self._before = n_fft // 2 - (n_fft - self._width) // 2
        self._window = window
        self._envelope = self._overlapped(window.square().expand(1, frames, -1))
        # whole turns are left out while numbers are whole: nothing is lost to rounding
        turns = torch.arange(n_fft // 2 + 1) * ((n_fft - self._width) // 2) % n_fft
        self.turn = torch.polar(torch.ones_like(window[:1]), turns.to(window) * (2 * torch.pi / n_fft))

    def sound(self, spectrum: Tensor) -> Tensor:
        """Complex (b frames bins) -> the sound (b s) whose windowed frames come closest; real, s = `samples`."""
        frames = torch.fft.irfft(spectrum, n=self.n_fft)[..., : self._width]
        return self._overlapped(frames * self._window) / self._envelope

    def spectrum(self, sound: Tensor) -> Tensor:
        """The other way, the sound mirrored at both ends: (b s) -> complex (b frames bins)."""
        padded = F.pad(sound, (self._before, self._width - self._before), mode="reflect")
        return torch.fft.rfft(padded.unfold(-1, self._width, self.hop) * self._window, n=self.n_fft)

    def _overlapped(self, frames: Tensor) -> Tensor:
        """The sum of frames (b frames width), each where it belongs: (b s)."""
        whole = frames.new_zeros(len(frames), self.frames + self._hops - 1, self.hop)
        for number in range(self._hops):
            piece = frames[..., number * self.hop : (number + 1) * self.hop]
            whole[:, number : number + self.frames, : piece.shape[-1]] += piece
        return whole.flatten(1)[:, self._before : self._before + self.samples]


def find_phases(
    transform: FrameTransform,
    magnitude: Tensor,
    rounds: int,
    momentum: float,
    past: Tensor | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """Fast Griffin-Lim (Perraudin et al. 2013): magnitudes (b bins frames) -> sound (b s).

    Args:
        transform: of as many frames as `magnitude` has.
        magnitude: what the sound's spectrum should have, whatever its phases.
        rounds: of the search.
        momentum: in [0, 1), counted as torchaudio does.
        past: samples (b p) at the beginning that are known; they are put back in every round, so the phases after
            them go on from them.
        start: phases to begin with, as complex numbers of size one (frames bins); zero phases if None.
    """
    momentum /= 1 + momentum
    magnitude = magnitude.mT.contiguous()
    spectrum, before = magnitude * transform.turn, None
    if start is not None:
        spectrum = spectrum * start
    for _ in range(rounds):
        sound = transform.sound(spectrum)
        if past is not None:
            sound[:, : past.shape[1]] = past
        rebuilt = transform.spectrum(sound)
        moved = rebuilt if before is None else torch.sub(rebuilt, before, alpha=momentum)
        parts = torch.view_as_real(moved)
        squares = parts * parts  # much faster than the absolute value of complex numbers
        spectrum = moved * (magnitude * (squares[..., 0] + squares[..., 1]).clamp_(min=1e-32).rsqrt_())
        before = rebuilt
    return transform.sound(spectrum)


def uneven_phases(frames: int, bins: int) -> Tensor:
    """Nearly zero phases to begin with, as complex numbers of size one (frames bins); always the same.

    From exact zeros, a click halfway between two frames stays symmetric round after round, and may settle a whole
    window's slope away from its place. Any unevenness decides for one side.
    """
    angles = 1e-3 * torch.randn(frames, bins, generator=torch.Generator().manual_seed(0))
    return torch.polar(torch.ones(()), angles)
