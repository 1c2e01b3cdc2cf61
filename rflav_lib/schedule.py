"""Which frame of the window is how noisy when: rolling and pre-rolling times (Sec. 3.3, Eq. 6-8, Fig. 4).

In a window of T frames the time falls by 1/T from frame to frame: the first is nearly clean, the last nearly
noise. Rolling moves all of them up by 1/T, after which the first frame is clean and leaves. Pre-rolling gets
there from pure noise: it starts the frames one after the other. Times are computed in float64 and handed out in
float32, the same on every machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rflav_lib.numbers_given import finite_number, whole_number

TIME_MARGIN = 1e-6  # training keeps off the ends, where the logit of the weight is infinite


@dataclass(frozen=True)
class RollingSchedule:
    """Flow times of a rolling window.

    The paper's text has t_k < t_{k+1} after Eq. 6; its formula, its figure and the released code have t fall
    with k, and so do we.

    Attributes:
        window: frames in the window (paper: T).
        preroll_probability: share of training samples with pre-rolling times (paper: theta, Eq. 8).
        transition_probability: share of training samples with times from `transition`, taken from the rolling ones.
            0 is the paper's; for training alone, a sampler does not look at it.
    """

    window: int = 10
    preroll_probability: float = 0.2
    transition_probability: float = 0.0

    def __post_init__(self) -> None:
        whole_number(self.window, "window")
        for name in ("preroll_probability", "transition_probability"):
            finite_number(getattr(self, name), name)
        if not 0 <= self.preroll_probability <= 1:
            raise ValueError(f"preroll_probability must lie in [0, 1], not {self.preroll_probability!r}")
        if not 0 <= self.transition_probability <= 1 - self.preroll_probability:
            raise ValueError(
                f"transition_probability must lie in [0, 1 - preroll_probability = {1 - self.preroll_probability:g}], "
                f"not {self.transition_probability!r}"
            )

    def rolling(self, w: Tensor) -> Tensor:
        """t_k = 1 - (k + w) / T (Eq. 6): w in [0, 1] of shape (b,) -> (b k).

        Raises:
            ValueError: another w.
        """
        _check_progress(w)
        position = torch.arange(self.window, device=w.device, dtype=torch.float64)
        return (1 - (position + w.double()[:, None]) / self.window).to(w.dtype)

    def prerolling(self, w: Tensor) -> Tensor:
        """t_k = clamp(1 - (k/T + w), 0, 1) (Eq. 7): w in [0, 1] of shape (b,) -> (b k).

        At w = 1 all is pure noise. At w = 0 the first frame is clean and the last one at 1/T; shifted by one
        frame and with fresh noise behind, that is the window with which rolling begins (w = 1 of Eq. 6).

        Raises:
            ValueError: another w.
        """
        _check_progress(w)
        position = torch.arange(self.window, device=w.device, dtype=torch.float64)
        return (1 - (position / self.window + w.double()[:, None])).clamp(0, 1).to(w.dtype)

    def transition(self, w: Tensor, towards_rolling: Tensor) -> Tensor:
        """Times between pre-rolling and rolling: both arguments in [0, 1] of shape (b,) -> (b k).

        Eq. 6 is Eq. 7 at w / T: rolling is the last T-th of pre-rolling, in which the last frame starts. So
        pre-rolling at w T^(-u) goes over into rolling as u goes from 0 to 1, and the windows between them, in which
        most frames have started, become as frequent as the others. An idea of this library's, not of the paper's.
        """
        return self.prerolling(w * self.window**-towards_rolling)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Training times (b k) in [1e-6, 1 - 1e-6]: one w ~ U(0, 1) and one choice of phase a sample (Eq. 8).

        Raises:
            ValueError: `batch` is no whole number, or below 0.
        """
        return self.draw_phase(batch, generator)[0]

    def draw_phase(self, batch: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Training times (b k) as `draw` has them, and which samples roll (b,): frames have been emitted before.

        Raises:
            ValueError: `batch` is no whole number, or below 0.
        """
        batch = whole_number(batch, "batch", least=0)
        w = torch.rand(batch, generator=generator)
        is_rolling = torch.bernoulli(
            torch.full((batch, 1), 1 - self.preroll_probability), generator=generator
        ).bool()
        t = torch.where(is_rolling, self.rolling(w), self.prerolling(w))
        if self.transition_probability:  # only here: without it, the draws of a generator stay as they were
            share = self.transition_probability / (1 - self.preroll_probability)
            between, towards_rolling = torch.rand(2, batch, generator=generator)
            in_transition = is_rolling & (between < share)[:, None]
            t = torch.where(in_transition, self.transition(w, towards_rolling), t)
            is_rolling = is_rolling & ~in_transition
        return t.clamp(TIME_MARGIN, 1 - TIME_MARGIN), is_rolling[:, 0]

    def preroll_steps(self, steps_per_frame: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The T N Euler steps from pure noise to a window whose first frame is clean: (t (k,), dt (k,)) each.

        dt is 0 for a frame that has not started, so it stays the noise it is.
        """
        return self._steps(self.prerolling, self.window * check_steps(steps_per_frame))

    def roll_steps(self, steps_per_frame: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The N Euler steps in which every frame moves up by 1/T: pairs (t (k,), dt (k,)), dt = 1/(T N)."""
        return self._steps(self.rolling, check_steps(steps_per_frame))

    @staticmethod
    def _steps(times: Callable[[Tensor], Tensor], count: int) -> Iterator[tuple[Tensor, Tensor]]:
        w = 1 - torch.arange(count + 1, dtype=torch.float64) / count
        t = times(w)
        return zip(t[:-1].float(), t.diff(dim=0).float(), strict=True)


def _check_progress(w: Tensor) -> None:
    """Raise a ValueError unless this is w of Eq. 6 and 7; its values are looked at on the CPU alone, without a wait."""
    if not isinstance(w, Tensor) or not w.is_floating_point() or w.ndim != 1:
        shown = f"{w.dtype} {tuple(w.shape)}" if isinstance(w, Tensor) else repr(w)
        raise ValueError(f"w must be a tensor (b,) of floating point numbers in [0, 1], not {shown}")
    if w.device.type == "cpu" and not ((w >= 0) & (w <= 1)).all():
        raise ValueError(f"w must lie in [0, 1], not {w.tolist()}")


def check_steps(steps_per_frame: int) -> int:
    """`steps_per_frame` (N) if it is a whole number of at least 1, else a ValueError."""
    return whole_number(steps_per_frame, "steps_per_frame")
