"""The fast sampler: the numbers of `RollingSampler`, for less work.

What it leaves out, without changing a result beyond rounding:

- **frames that have not started.** In pre-rolling they neither move nor, with causal attention, matter to others;
- **modulations that are known.** Times repeat with every frame, so the time and class vectors of every block, a fifth
  of its weights (two fifths with joint attention), are computed once for a stream and not at every step; those of
  pre-rolling in one go, as its T N windows have T N different times between them, not T T N;
- **a second forward for guidance.** Labelled and unlabelled samples go through the network as one batch;
- **the laying out of weights.** On CPUs with AVX-512 they are packed for the kernels once, and GELU runs inside the
  product.

With `dtype=torch.bfloat16` matrix products run on bf16 copies of the weights, with everything between them in
float32. That is not exact, and about twice as fast on devices with instructions for it, far slower on others (see
`rflav_lib.precision`). `compiled=True` sends windows of two frames and more through `torch.compile`: the same numbers
within rounding, after a first step that takes a minute.
"""

from typing import Any

import torch
from torch import Tensor

from rflav_lib.arguments import check_dtype
from rflav_lib.fast_transformer import FastTransformer
from rflav_lib.memory import Memory
from rflav_lib.precision import warn_if_slow
from rflav_lib.sampler import Frames, Generators, Guidance, RollingSampler
from rflav_lib.schedule import RollingSchedule
from rflav_lib.transfer import to_device
from rflav_lib.transformer import RFLAVTransformer


class FastSampler(RollingSampler):
    """`RollingSampler` for an `RFLAVTransformer`, equal to it within rounding.

    Args:
        model, schedule, steps_per_frame, guidance_scale: as there.
        dtype: of the matrix products; None is the model's own, and exact.
        compiled: run the network through `torch.compile`; needs a C++ compiler on a CPU, a C compiler on a GPU.

    Raises:
        ValueError: a bad number or dtype. RuntimeError: `compiled`, and there is no compiler.
    """

    def __init__(
        self,
        model: RFLAVTransformer,
        schedule: RollingSchedule,
        steps_per_frame: int = 2,
        guidance_scale: Guidance = 1.0,
        dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__(model, schedule, steps_per_frame, guidance_scale, model.memory_layout)
        check_dtype(dtype)
        warn_if_slow(dtype, model.device)
        self.network = FastTransformer(model, dtype, compiled)
        self._causal, self._null_label = model.config.causal, model.null_label
        # labels of a GPU: tensor, version, values
        self._read: tuple[Tensor, int, tuple[int, ...]] | None = None

    def preroll(self, video: Tensor, audio: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As the plain sampler's, with what is known of all its steps computed first."""
        self._expect_all_times(y, len(video))
        return super().preroll(video, audio, y)

    def roll(
        self, video: Tensor, audio: Tensor, generator: Generators = None, y: Tensor | None = None,
        memory: Memory | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """As the plain sampler's. A window that pre-rolled elsewhere finds what it would have found there, to the bit:
        products of several threads round by the number of their rows, so the same times are computed together.
        """
        self._expect_all_times(y, len(video))
        return super().roll(video, audio, generator, y, memory)

    def _conditional_frames(self, *setting: Any) -> Frames:
        _, clip, *_, y = setting
        self._expect_all_times(y, len(clip))
        return super()._conditional_frames(*setting)

    def _expect_all_times(self, y: Tensor | None, batch: int) -> None:
        """Prepare the network for every time of the schedule, of rolling too, and of memory frames."""
        times = [t for t, _ in self.schedule.preroll_steps(self.steps_per_frame)]
        times += [torch.ones(1)] * bool(self.memory_layout.frames)
        self.network.expect(torch.cat(times), self._labels(y, batch))

    def _step(
        self, video: Tensor, audio: Tensor, t: Tensor, dt: Tensor, y: Tensor | None, memory: Memory | None
    ) -> tuple[Tensor, Tensor]:
        frames = len(t)
        moving = int((dt > 0).sum()) if self._causal else frames  # times fall with k: the first ones move
        rolling = bool((dt == dt[0]).all() and t[-1] + dt[-1] > 0 and t[0] > t[-1])
        inputs = video[:, :moving], audio[:, :moving], t[:moving]
        if memory is not None:
            inputs = memory.before(*inputs)
        velocity = self._at_known_times(*inputs, y, keep=rolling)
        dt = to_device(dt[:moving], video.device)
        moved = [
            torch.addcmul(state[:, :moving], dt.view(-1, *[1] * (state.ndim - 2)), speed[:, -moving:])
            for state, speed in zip((video, audio), velocity, strict=True)
        ]
        if moving == frames:
            return moved[0], moved[1]
        return torch.cat([moved[0], video[:, moving:]], 1), torch.cat([moved[1], audio[:, moving:]], 1)

    def _guided(self, video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._at_known_times(video, audio, t[0], y, keep=False)  # samples share their times

    def _at_known_times(
        self, video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor]:
        labels = self._labels(y, len(video))
        if self._scales == (1, 1):
            return self.network(video, audio, t, labels, keep)
        both = torch.cat([video, video]), torch.cat([audio, audio])
        halves = (velocity.chunk(2) for velocity in self.network(*both, t, labels, keep))
        video, audio = (n + s * (label - n) for (label, n), s in zip(halves, self._scales, strict=True))
        return video, audio

    def _labels(self, y: Tensor | None, batch: int) -> tuple[int, ...] | None:
        """Labels of the network's batch; with guidance, of the samples once more without a class."""
        if y is None:
            return None
        labels = self._values(y, batch)
        return labels if self._scales == (1, 1) else labels + (self._null_label,) * len(labels)

    def _values(self, y: Tensor, batch: int) -> tuple[int, ...]:
        """Labels (b,) as numbers. Those on a GPU are read once, until they change: each reading waits for the GPU.

        Raises:
            ValueError: labels that the model does not have, or not one for each sample.
        """
        # on the CPU numpy may change them unseen; both are read anew
        if y.device.type == "cpu" or y.is_inference():
            self.network.model.check_labels(y, batch)
            return tuple(y.tolist())
        if self._read is None or self._read[0] is not y or self._read[1] != y._version:
            self.network.model.check_labels(y, batch)
            self._read = y, y._version, tuple(y.tolist())
        return self._read[2]
