"""What log lines need, collected on the device at every step and read only when a line is due."""

from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """Means over the steps since the reading before, over all processes.

    Attributes:
        video_by_position, audio_by_position: weighted losses at each place of the window (paper's k), Eq. 10.
        nothing: what a model that predicts zero would have lost on the same samples, both modalities together.
        grad_norm: norm of the gradient of the last step, before clipping.
        trouble: None, or which step and samples went wrong, and how.
    """

    video_by_position: tuple[float, ...]
    audio_by_position: tuple[float, ...]
    nothing: float
    grad_norm: float
    trouble: str | None

    @property
    def video(self) -> float:
        """Weighted video loss."""
        return sum(self.video_by_position) / len(self.video_by_position)

    @property
    def audio(self) -> float:
        """Weighted audio loss."""
        return sum(self.audio_by_position) / len(self.audio_by_position)


class Meter:
    """Collects losses without waiting for the device: nothing here is read before `read`."""

    def __init__(self, accelerator: Accelerator, diverged_above: float) -> None:
        self._accelerator, self._limit = accelerator, diverged_above
        self._micro: list[tuple[Tensor, Tensor]] = []
        self._steps: list[tuple[int, Tensor, Tensor, Tensor, list[range]]] = []
        self._numbers: list[range] = []

    def add_batch(self, numbers: range, video: Tensor, audio: Tensor, nothing: Tensor) -> None:
        """Weighted errors (b k) of a micro-batch: of video, of audio, and of predicting zero (both)."""
        by_position = torch.stack([part.detach().mean(0) for part in (video, audio, nothing)])
        by_sample = (video.detach() + audio.detach()).mean(1)
        self._micro.append((by_position, by_sample))
        self._numbers.append(numbers)

    def end_step(self, step: int, norm: Tensor) -> None:
        """Close a step, counted from 0, with the norm of its gradient."""
        by_position = torch.stack([part for part, _ in self._micro]).mean(0)
        by_sample = torch.cat([part for _, part in self._micro])
        self._steps.append((step, by_position, by_sample, norm.detach(), self._numbers))
        self._micro, self._numbers = [], []

    @property
    def unread(self) -> bool:
        """Whether steps have ended since the last reading."""
        return bool(self._steps)

    def read(self) -> Reading:
        """Wait for the device, and for the other processes; then begin anew. All processes must call it together."""
        accelerator, taken = self._accelerator, self._steps
        self._steps = []
        norms = torch.stack([norm.float() for _, _, _, norm, _ in taken])
        parts = accelerator.reduce(torch.stack([part for _, part, _, _, _ in taken]), reduction="mean")
        # NaN and infinity survive sums
        totals = (parts[:, :2].sum(1).mean(1) + norms.to(parts.device)).tolist()
        video, audio, nothing = parts.mean(0).tolist()
        reading = Reading(tuple(video), tuple(audio), sum(nothing) / len(nothing), norms[-1].item(), None)
        bad = next((place for place, total in enumerate(totals) if not abs(total) < float("inf")), None)
        if bad is not None:
            step, numbers = taken[bad][0], self._suspects(taken[bad], finite=False)
            trouble = f"loss or gradient is not finite any more at step {step + 1}{numbers}"
        elif reading.video + reading.audio > self._limit * reading.nothing:
            step, numbers = taken[-1][0], self._suspects(taken[-1], finite=True)
            trouble = (
                f"diverging: the loss, {reading.video + reading.audio:.3g} up to step {step + 1}, is more than "
                f"{self._limit:g} times what predicting zero would lose ({reading.nothing:.3g}){numbers}"
            )
        else:
            return reading
        return replace(reading, trouble=trouble)

    def _suspects(self, taken: tuple, finite: bool) -> str:
        """The samples at fault: those without a finite loss, or else the one with the largest."""
        _, _, by_sample, _, ranges = taken
        numbers, losses = [number for part in ranges for number in part], by_sample.tolist()
        mine = list(zip(losses, numbers, strict=True))
        everyone = gather_object(mine) if self._accelerator.num_processes > 1 else mine
        wrong = sorted(number for loss, number in everyone if not abs(loss) < float("inf"))
        if wrong and not finite:
            return (
                f" (samples {', '.join(map(str, wrong[:8]))}{', ...' * (len(wrong) > 8)} of {len(everyone)})"
            )
        return f" (sample {max(everyone)[1]} of {len(everyone)} has the largest loss)"
