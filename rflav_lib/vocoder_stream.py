"""Griffin-Lim without end: sound in pieces that join without a click, from mel frames that come in pieces."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rflav_lib.stream_state import check_missing
from rflav_lib.undo import all_or_nothing

if TYPE_CHECKING:
    from rflav_lib.vocoder import GriffinLim

BLOCK = 40  # mel frames that one search settles
CONTEXT = 8  # frames on each side that take part: a window of 2048 samples reaches over 6.4 of 160
FADE = 320  # samples over which the estimate of one block passes into that of the next
SHARE = 0.75  # of the vocoder's rounds for a block: fewer than for a whole clip, as much of a block's edge is known


class GriffinLimStream:
    """Turns log-mel frames into a waveform while they arrive.

    Phases are searched block by block. A block sees `CONTEXT` frames of the past, whose samples stay as they
    were handed out through every round, so the phases it finds go on from them; and `CONTEXT` frames of the
    future, whose estimate fades into that of the next block. How the frames are cut into pushes does not
    matter: blocks are counted in frames.

    Args:
        vocoder: the settings, the filter bank and the unmixing of mel bins.
        batch: sounds at once.
    """

    def __init__(self, vocoder: "GriffinLim", batch: int = 1) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.vocoder, self.batch = vocoder, batch
        self._hop = vocoder.config.hop_length
        self._begin()

    def _begin(self) -> None:
        bins, device = self.vocoder.config.n_mels, self.vocoder.window.device
        self._waiting = torch.zeros(self.batch, bins, 0, device=device)  # log-mel not yet settled
        self._context: Tensor | None = None  # magnitudes of the last settled frames (b bins frames)
        self._past: Tensor | None = None  # their samples, as handed out
        self._tail: Tensor | None = None  # the last block's estimate of what follows them

    def push(self, log_mel: Tensor) -> Tensor:
        """Natural log-mel (b m frames) -> the samples that are settled by it (b s); s may be 0.

        If it is interrupted, the frames count as not pushed.

        Raises:
            ValueError: another batch or number of mel bins, NaN, or values no sound has.
        """
        self.vocoder.check(log_mel)
        if len(log_mel) != self.batch:
            raise ValueError(f"log_mel is for {len(log_mel)} sounds, this stream for {self.batch}")
        with all_or_nothing(self):
            self._waiting = torch.cat([self._waiting, log_mel.float().to(self._waiting.device)], dim=-1)
            pieces = [self._waiting.new_zeros(self.batch, 0)]
            while self._waiting.shape[-1] >= BLOCK + CONTEXT:
                pieces.append(self._settle(BLOCK, self._waiting[..., : BLOCK + CONTEXT]))
            return torch.cat(pieces, dim=-1)

    def flush(self) -> Tensor:
        """The rest (b s); then the stream is as new. All pieces together have hop_length samples a frame."""
        count = self._waiting.shape[-1]
        rest = (
            self._settle(count, self._waiting, last=True) if count else self._waiting.new_zeros(self.batch, 0)
        )
        self._begin()
        return rest

    @property
    def owed(self) -> int:
        """Samples of the frames that were pushed which have not been handed out: what `flush` would give."""
        # each block hands out half a hop more than is its own
        ahead = 0 if self._past is None else self._hop // 2
        return self._waiting.shape[-1] * self._hop - ahead

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the sound depends on: tensors, on the CPU."""
        kept = {"waiting": self._waiting, "context": self._context, "past": self._past, "tail": self._tail}
        return {name: None if tensor is None else tensor.cpu().clone() for name, tensor in kept.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream stood; the samples that follow are the same to the last bit.

        Raises:
            ValueError: it was of another number of sounds or mel bins, or lacks something; then this one is as it was.
        """
        check_missing(state, ("waiting", "context", "past", "tail"), "vocoder")
        theirs, ours = state["waiting"].shape[:2], self._waiting.shape[:2]
        if theirs != ours:
            raise ValueError(
                f"this state is of a stream of {tuple(theirs)} (sounds, mel bins), not {tuple(ours)}"
            )
        rest = [state[name] for name in ("context", "past", "tail")]
        bins, hop = self.vocoder.filter_bank.shape[0], self._hop
        shapes = [(self.batch, bins, CONTEXT), (self.batch, CONTEXT * hop), (self.batch, FADE)]
        begun = [None if part is None else tuple(part.shape) for part in rest]
        if begun not in ([None] * 3, shapes) or state["waiting"].shape[-1] >= BLOCK + CONTEXT:
            raise ValueError(
                "this state of a vocoder is damaged: its parts have other shapes than they should"
            )
        device = self._waiting.device
        context, past, tail = (None if part is None else part.to(device) for part in rest)
        self._waiting = state["waiting"].to(device)
        self._context, self._past, self._tail = context, past, tail

    def _settle(self, count: int, log_mel: Tensor, last: bool = False) -> Tensor:
        """Find the samples of the first `count` frames of `log_mel`, which goes on into the future.

        torch centres frame i at sample i * hop, the codec at (i + 1/2) * hop: so in torch's count the sound
        begins half a hop before zero, and ends half a hop early.
        """
        hop = self._hop
        spectra = self.vocoder.linear_magnitude(log_mel)
        # past both ends of the sound, frames are mirrored, as the codec's padding does with samples
        context = _mirror(spectra) if self._context is None else self._context
        after = [_mirror(torch.cat([context, spectra], dim=-1).flip(-1)).flip(-1)] if last else []
        spectra = torch.cat([context, spectra, *after], dim=-1)
        start, end = CONTEXT * hop, (CONTEXT + count) * hop
        rounds = max(1, round(SHARE * self.vocoder.config.iterations))
        estimate = self.vocoder.find_phases(spectra, rounds, self._past)
        if self._past is None or self._tail is None:  # at the beginning, both
            start -= hop // 2
        else:
            fade = torch.linspace(0, 1, FADE + 2, device=estimate.device)[1:-1]
            overlap = self._tail * (1 - fade) + estimate[:, start : start + FADE] * fade
            estimate = torch.cat([estimate[:, :start], overlap, estimate[:, start + FADE :]], dim=-1)
        if last:
            return estimate[:, start : end - hop // 2]
        # copies: a view would keep all of the block alive
        self._context = spectra[..., count : count + CONTEXT].clone()
        self._past = estimate[:, end - CONTEXT * hop : end].clone()
        self._tail = estimate[:, end : end + FADE].clone()
        self._waiting = self._waiting[..., count:].clone()
        return estimate[:, start:end]


def _mirror(spectra: Tensor) -> Tensor:
    """The `CONTEXT` frames before the first (b bins frames): ... 2 1 0 | 0 1 2, on and on where there are too few."""
    frames = spectra.shape[-1]
    place = torch.arange(-CONTEXT, 0, device=spectra.device) % (2 * frames)
    return spectra[..., torch.where(place < frames, place, 2 * frames - 1 - place)]
