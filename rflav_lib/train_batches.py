"""Drawing the samples of a step, and having them ready before the step asks for them.

Sample i of step s is a pure function of (seed, s, i): its clip, its place in the clip, its times, noise and
label dropout. So a resumed run sees exactly what an uninterrupted one would have seen, and processes differ
without any bookkeeping.
"""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rflav_lib.data.windows import TrainingClips
from rflav_lib.schedule import RollingSchedule
from rflav_lib.train_config import TrainConfig


@dataclass(frozen=True)
class Batch:
    """Clean video (b k c h w) and audio (b k f m), their noise, times (b k), and labels (b,) or None."""

    video: Tensor
    audio: Tensor
    t: Tensor
    video_noise: Tensor
    audio_noise: Tensor
    y: Tensor | None

    def to(self, device: torch.device) -> "Batch":
        """Move every tensor; from pinned memory, without waiting for it."""
        return Batch(*(None if x is None else x.to(device, non_blocking=True) for x in vars(self).values()))

    def pin_memory(self) -> "Batch":
        """Copy to memory from which a GPU reads by itself."""
        return Batch(*(None if x is None else x.pin_memory() for x in vars(self).values()))


class Samples:
    """Draws samples by number.

    Args:
        config: says seed, window, theta and class dropout.
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
        self.schedule = RollingSchedule(config.window, config.preroll_probability)

    def draw(self, step: int, samples: range) -> Batch:
        """The given samples of a step, by number; the same whoever draws them."""
        drawn = [self._draw_one(step, number) for number in samples]
        video, audio, t, video_noise, audio_noise, labels = zip(*drawn, strict=True)
        y = None if labels[0] is None else torch.stack(labels)
        return Batch(*(torch.stack(part) for part in (video, audio, t, video_noise, audio_noise)), y)

    def _draw_one(self, step: int, number: int) -> tuple:
        seed = np.random.SeedSequence((self.config.seed, step, number)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed))
        video, audio, label = self.data.draw_window(generator, self.config.window)
        t = self.schedule.draw(1, generator)[0]
        video_noise, audio_noise = (torch.randn(x.shape, generator=generator) for x in (video, audio))
        if label is None:
            return video, audio, t, video_noise, audio_noise, None
        classes = len(self.data.class_names)
        if not 0 <= label < classes:
            raise ValueError(
                f"data: sample {number} of step {step} has label {label}, but there are {classes} classes, 0 to "
                f"{classes - 1}: {', '.join(self.data.class_names)}"
            )
        return video, audio, t, video_noise, audio_noise, self._drop_labels(torch.tensor(label), generator)


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
        return key, self._pool.submit(self._draw, *key)

    def _forget(self) -> None:
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()

    def _draw(self, step: int, micro: int) -> Batch:
        batch = self.samples.draw(step, self.numbers(micro))
        return batch.pin_memory() if self.device.type == "cuda" else batch
