"""Clean frames that stay visible to the network after they have left the window.

The paper's model sees its window alone. Two things follow that the paper leaves open: frames made while the window
fills are conditioned on fewer frames than all later ones (its Fig. 5), and what is hidden for longer than the window
is forgotten. Memory frames stand in front of the window, at flow time 1, in two kinds that may be mixed:

    sink frames      the first S frames of the stream, for ever; as the attention sinks of Rolling Forcing (Liu et
                     al. 2025), which has them for video alone
    context frames   the last C frames that were emitted

Both are ordinary frames to the network: video and audio attention see them as they see the window's, earlier memory
does not see later, and causality holds. Each slot has a place of its own in the time tables. A slot that nothing has
filled yet holds zeros at flow time 0, the time of noise: "nothing is known here". So the number of frames that the
network takes never changes, and no mask is needed. The price is work: (m + T) / T of it, for m slots and a window of T.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from rflav_lib.numbers_given import whole_number
from rflav_lib.transfer import to_device


@dataclass(frozen=True)
class MemoryLayout:
    """How many slots there are: `sinks` in front, `context` behind them, next to the window.

    Raises:
        ValueError: what is no whole number, or below 0.
    """

    sinks: int = 0
    context: int = 0

    def __post_init__(self) -> None:
        for name in ("sinks", "context"):
            # as Python's own: a state of a stream holds them as plain values
            object.__setattr__(self, name, whole_number(getattr(self, name), name, least=0))

    @property
    def frames(self) -> int:
        """All slots."""
        return self.sinks + self.context

    def sources(self, emitted: int) -> list[int | None]:
        """The frame of the stream in each slot after `emitted` frames, None where there is none yet.

        While the stream is short, one frame may be in a sink and in the context.
        """
        sinks = [slot if slot < emitted else None for slot in range(self.sinks)]
        recent = range(emitted - self.context, emitted)
        return sinks + [frame if frame >= 0 else None for frame in recent]


@dataclass(frozen=True)
class Memory:
    """The slots of a batch of streams that have emitted equally many frames; never changed, only replaced.

    Attributes:
        layout: how many slots of which kind.
        video: (b m c h w), zeros in empty slots.
        audio: (b m f m).
        emitted: frames that the streams have emitted.
    """

    layout: MemoryLayout
    video: Tensor
    audio: Tensor
    emitted: int = 0

    @classmethod
    def empty(cls, layout: MemoryLayout, video: Tensor, audio: Tensor) -> Self:
        """Memory for windows like video (b k c h w) and audio (b k f m), before the first frame."""
        pictures, sounds = (
            part.new_zeros(len(part), layout.frames, *part.shape[2:]) for part in (video, audio)
        )
        return cls(layout, pictures, sounds)

    @property
    def times(self) -> Tensor:
        """Flow time of each slot (m,): 1 where there is a frame, 0 where there is none."""
        return torch.tensor([float(frame is not None) for frame in self.layout.sources(self.emitted)])

    def after(self, video: Tensor, audio: Tensor) -> Self:
        """Memory once the clean frame video (b c h w), audio (b f m) has been emitted."""
        video, audio = self._with(self.video, video), self._with(self.audio, audio)
        return replace(self, video=video, audio=audio, emitted=self.emitted + 1)

    def _with(self, slots: Tensor, frame: Tensor) -> Tensor:
        sinks, context = slots.split([self.layout.sinks, self.layout.context], dim=1)
        frame = frame[:, None]
        if self.emitted < self.layout.sinks:
            sinks = torch.cat([sinks[:, : self.emitted], frame, sinks[:, self.emitted + 1 :]], dim=1)
        if self.layout.context:
            context = torch.cat([context[:, 1:], frame], dim=1)
        return torch.cat([sinks, context], dim=1)

    def before(self, video: Tensor, audio: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Put the slots in front of a window video (b k c h w), audio (b k f m) and its times (b k) or (k,)."""
        times = to_device(self.times.to(t.dtype), t.device).expand(*t.shape[:-1], -1)
        return (
            torch.cat([self.video, video], dim=1), torch.cat([self.audio, audio], dim=1), torch.cat([times, t], dim=-1),
        )  # fmt: skip
