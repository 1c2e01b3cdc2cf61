"""Drawing the samples of a step, and having them ready before the step asks for them.

Sample i of step s is a pure function of (seed, s, i): its clip, its place in the clip, its times, noise and
label dropout. So a resumed run sees exactly what an uninterrupted one would have seen, and processes differ
without any bookkeeping.
"""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from rflav_lib.data.windows import TrainingClips
from rflav_lib.draws import generator_of
from rflav_lib.flow import VelocityModel, expand_time, rolled_out_noise
from rflav_lib.memory import MemoryLayout
from rflav_lib.train_config import TrainConfig


@dataclass(frozen=True)
class Batch:
    """Clean video (b k c h w) and audio (b k f m), their noise, times (b k), and labels (b,) or None.

    Memory slots, if the config has any, stand in front of the window: clean frames at t = 1, zeros at t = 0.
    """

    video: Tensor
    audio: Tensor
    t: Tensor
    video_noise: Tensor
    audio_noise: Tensor
    y: Tensor | None

    def to(self, device: torch.device) -> Self:
        """Move every tensor; from pinned memory, without waiting for it."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Copy to memory from which a GPU reads by itself."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed: dict[str, Any] = {
            name: None if tensor is None else change(tensor) for name, tensor in vars(self).items()
        }
        return replace(self, **changed)


@dataclass(frozen=True)
class RollOutBatch(Batch):
    """A batch that the model is to roll out itself: each sample from so much flow time further back, `back` (b,)."""

    back: Tensor

    def rolled_out(self, model: VelocityModel, steps: int) -> Batch:
        """The batch to train on: its noise leads through states that the model has made (`rolled_out_noise`)."""
        video_noise, audio_noise = rolled_out_noise(model, **vars(self), steps=steps)
        return Batch(self.video, self.audio, self.t, video_noise, audio_noise, self.y)


class Samples:
    """Draws samples by number.

    Args:
        config: says seed, window, theta and class dropout, and what is not the paper's.
        data: the encoded clips.
        drop_labels: the model's way to leave out labels, (label, generator) -> label.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingClips,
        drop_labels: Callable[[Tensor, torch.Generator], Tensor],
    ) -> None:
        self.config, self.data, self._drop_labels = config, data, drop_labels
        self.schedule = config.schedule
        self.memory = MemoryLayout(config.sink_frames, config.context_frames)

    def draw(self, step: int, samples: range) -> Batch:
        """The given samples of a step, by number; the same whoever draws them."""
        drawn = [self._draw_one(step, number) for number in samples]
        *frames, labels, backs = zip(*drawn, strict=True)
        y = None if labels[0] is None else torch.stack(labels)
        video, audio, t, video_noise, audio_noise = (torch.stack(part) for part in frames)
        if self.config.rollout_probability:
            return RollOutBatch(video, audio, t, video_noise, audio_noise, y, torch.stack(backs))
        return Batch(video, audio, t, video_noise, audio_noise, y)

    def _draw_one(self, step: int, number: int) -> tuple:
        config = self.config
        generator = generator_of(config.seed, step, number)
        past = self._draw_past(generator)
        video, audio, found = self.data.draw_window(generator, past + config.window)
        t, rolls = self.schedule.draw_phase(1, generator)
        history = [part[:past] if rolls else part[:0] for part in (video, audio)]
        video, audio, t = video[past:], audio[past:], t[0]
        video_noise, audio_noise = (torch.randn(x.shape, generator=generator) for x in (video, audio))
        label = None if found is None else self._drop_labels(self._checked(found, step, number), generator)
        # what is not the paper's is drawn last: switched off, it leaves all other draws as they are
        back = self._draw_back(generator)
        if config.history_noise:
            strength = config.history_noise * torch.rand((), generator=generator)
            video_noise, audio_noise = (
                noise
                + expand_time(strength * t / (1 - t), noise) * torch.randn(noise.shape, generator=generator)
                for noise in (video_noise, audio_noise)
            )
            history = [x + strength * torch.randn(x.shape, generator=generator) for x in history]
        frames: tuple[Tensor, ...] = video, audio, t, video_noise, audio_noise
        if self.memory.frames:
            frames = self._with_memory(history, frames)
        return *frames, label, back

    def _draw_past(self, generator: torch.Generator) -> int:
        """How many frames the stream has emitted before a rolling window: 1 to `longest_past`."""
        if not self.memory.frames:
            return 0
        return int(torch.randint(1, self.config.longest_past + 1, (), generator=generator))

    def _draw_back(self, generator: torch.Generator) -> Tensor:
        """How far a sample is noised back for a roll-out: up to what one shift of the window clears, or 0."""
        if not self.config.rollout_probability:
            return torch.zeros(())
        chosen, share = torch.rand(2, generator=generator)
        return (chosen < self.config.rollout_probability) * share / self.config.window

    def _with_memory(self, history: list[Tensor], frames: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Put memory slots in front of a window: what the frames of `history` leave in them, as when sampling."""
        video, audio, t, video_noise, audio_noise = frames
        sources = self.memory.sources(len(history[0]))
        slots = [
            torch.stack([torch.zeros_like(part[0]) if n is None else past[n] for n in sources])
            for past, part in zip(history, (video, audio), strict=True)
        ]
        times = torch.tensor([float(n is not None) for n in sources])
        none = [torch.zeros_like(slot) for slot in slots]
        pairs = (
            (slots[0], video),
            (slots[1], audio),
            (times, t),
            (none[0], video_noise),
            (none[1], audio_noise),
        )
        return tuple(torch.cat(pair) for pair in pairs)

    def _checked(self, label: int, step: int, number: int) -> Tensor:
        classes = len(self.data.class_names)
        if not 0 <= label < classes:
            raise ValueError(
                f"data: sample {number} of step {step} has label {label}, but there are {classes} classes, 0 to "
                f"{classes - 1}: {', '.join(self.data.class_names)}"
            )
        return torch.tensor(label)


class BatchSource:
    """This process's batches in order, drawn `ahead` of time by a thread while a GPU computes.

    Drawing is a few kernels that let go of Python's lock, so one thread is enough, and unlike processes it needs
    no copy of the clips. A batch is a function of its numbers: `ahead` changes when it is drawn, never what it is.
    """

    def __init__(
        self, samples: Samples, process: int, processes: int, device: torch.device, ahead: int | None = None
    ) -> None:
        self.samples, self.device = samples, device
        self._process, self._processes = process, processes
        if ahead is None:  # on a CPU the same cores do both: two teams of threads would only fight for them
            ahead = samples.config.prefetch if device.type != "cpu" else 0
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches") if ahead else None
        self._queue: deque[tuple[tuple[int, int], Future[Batch]]] = deque()
        self.waited = 0.0  # seconds that steps have waited for their batches

    def take(self, step: int, micro: int) -> Batch:
        """Micro-batch `micro` of a step, on the device."""
        began = time.perf_counter()
        if self._pool is None:
            batch = self._draw(step, micro)
        else:
            if not self._queue or self._queue[0][0] != (step, micro):
                self._forget()
                self._queue.append(self._ordered((step, micro)))
            batch = self._queue.popleft()[1].result()
            self._fill((step, micro))
        self.waited += time.perf_counter() - began
        return batch.to(self.device)

    def numbers(self, micro: int) -> range:
        """Numbers of the samples in a micro-batch of this process."""
        size = self.samples.config.batch_size
        first = (micro * self._processes + self._process) * size
        return range(first, first + size)

    def close(self) -> None:
        """End the thread."""
        self._forget()
        if self._pool:
            self._pool.shutdown()

    def _fill(self, last: tuple[int, int]) -> None:
        if self._queue:
            last = self._queue[-1][0]
        while len(self._queue) < self._ahead:
            step, micro = last
            last = (step, micro + 1) if micro + 1 < self.samples.config.accumulation_steps else (step + 1, 0)
            self._queue.append(self._ordered(last))

    def _ordered(self, key: tuple[int, int]) -> tuple[tuple[int, int], "Future[Batch]"]:
        assert self._pool is not None, "batches are ordered only where there is a thread"
        return key, self._pool.submit(self._draw, *key)

    def _forget(self) -> None:
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()

    def _draw(self, step: int, micro: int) -> Batch:
        batch = self.samples.draw(step, self.numbers(micro))
        return batch.pin_memory() if self.device.type == "cuda" else batch
