"""One sampler of `benchmarks/generation.py`, alone in a process: compared with the plain one, then timed.

Alone, so that its peak of memory holds nothing of the others. The process is asked for one figure after the other:
processes of several samplers can take turns.
"""

import math
import multiprocessing
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rflav_lib import ROOT, profiling
from rflav_lib.attention import Modulation
from rflav_lib.engine import FastSampler
from rflav_lib.files import whole
from rflav_lib.sampler import RollingSampler, append_noise
from rflav_lib.schedule import RollingSchedule
from rflav_lib.transformer import OutputHead, RFLAVTransformer

BUNDLED = ROOT / "checkpoints" / "toy-landscape"
Window = tuple[Tensor, Tensor]


def plain_sampler(model: RFLAVTransformer, schedule: RollingSchedule, steps_per_frame: int) -> RollingSampler:
    """The published way, for models with memory frames too."""
    return RollingSampler(model, schedule, steps_per_frame, memory=model.memory_layout)


@dataclass(frozen=True)
class Kind:
    """A way to sample: how it is made, what its products are computed in, and the error beyond which it is wrong."""

    make: Callable[..., RollingSampler]
    limit: float
    dtype: torch.dtype = torch.float32
    tf32: bool = False


def _bf16(**how: Any) -> Kind:
    return Kind(partial(FastSampler, dtype=torch.bfloat16, **how), 5e-2, torch.bfloat16)


PLAIN, TF32 = "plain float32", "plain TF32"
KINDS: dict[str, Kind] = {
    PLAIN: Kind(plain_sampler, 1e-4),
    TF32: Kind(plain_sampler, 1e-2, tf32=True),
    "fast float32": Kind(FastSampler, 1e-4),
    "fast bf16": _bf16(),
    "compiled float32": Kind(partial(FastSampler, compiled=True), 1e-4),
    "compiled bf16": _bf16(compiled=True),
}


@dataclass(frozen=True)
class Job:
    """What a process measures. `settings` are those of a model with random weights, None is the bundled model;
    `reference` is the file of what the plain sampler makes, written by it where it is missing.
    """

    sampler: str
    settings: dict[str, Any] | None
    steps_per_frame: int
    batch: int
    threads: int
    device: str
    reference: Path


def model_of(settings: dict[str, Any] | None, device: str) -> RFLAVTransformer:
    """The bundled model, or one of other sizes with random weights, none of them zero: see `open_layers`."""
    if settings is None:
        return RFLAVTransformer.from_pretrained(BUNDLED / "transformer").to(device).eval()
    torch.manual_seed(0)
    with torch.device(device):
        model = RFLAVTransformer(**settings)
    open_layers(model)
    return model.eval()


@torch.no_grad()
def open_layers(model: RFLAVTransformer) -> None:
    """Draw the layers that begin at zero: with gates and outputs of zero every sampler, a broken one too, is right.

    Biases are drawn wider: they open the gates, so that one block's attention that is left out moves a model of twelve
    blocks by a fifth and more, and bf16 by less than a hundredth.
    """
    for module in model.modules():
        layer = module[1] if isinstance(module, Modulation) else getattr(module, "linear", None)
        if isinstance(module, Modulation | OutputHead) and isinstance(layer, nn.Linear):
            layer.weight.normal_(0, 0.02)
            layer.bias.normal_(0, 0.2)


def allow_tf32(allowed: bool) -> None:
    """Whether float32 products of a GPU may round their factors to 10 bits."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def first_noise(model: RFLAVTransformer, batch: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Noise of a first window, and a label for each clip."""
    c, generator = model.config, torch.Generator().manual_seed(0)
    video = (batch, c.window, c.in_channels, c.latent_size, c.latent_size)
    audio = (batch, c.window, c.mel_frames, c.n_mels)
    pictures, sounds = (torch.randn(shape, generator=generator).to(device) for shape in (video, audio))
    return pictures, sounds, torch.zeros(batch, dtype=torch.int64, device=device)


def timed(work: Callable[[], Any], device: str) -> tuple[Any, float]:
    """The result of `work`, and its seconds."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def relative_error(ours: Window, theirs: Window, start: Window) -> float:
    """The largest difference of two windows over the largest way that a number went from `start`; of video and audio,
    the larger one.

    Raises:
        ValueError: nothing moved, so there is nothing to compare.
    """
    found = []
    for our, their, begun in zip(ours, theirs, start, strict=True):
        moved = (their - begun).abs().max().item()
        if not moved:
            raise ValueError("the plain sampler moves nothing: this model's velocities are zero")
        found.append((our - their).abs().max().item() / moved)
    return math.nan if any(map(math.isnan, found)) else max(found)


def refusal(sampler: str, error: float) -> str | None:
    """Why a sampler with this relative error is not to be timed; None if it is right."""
    if error <= KINDS[sampler].limit:
        return None
    return (
        f"{sampler} is wrong, and is not timed: it is off by {error:.2g} of what the plain sampler moves, and "
        f"{KINDS[sampler].limit:g} is allowed"
    )


class Alone:
    """A sampler and its model, to be asked in this order: `warm_up`, `compared`, `first`, `further`, `memory`."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self.job, self.kind = job, KINDS[job.sampler]
        allow_tf32(self.kind.tf32)
        model = self._model()
        self._noise = first_noise(model, job.batch, job.device)
        self.sampler = self._made_of(model)
        if job.device != "cpu":
            if isinstance(self.sampler, FastSampler):
                self.sampler.network.release_model()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()  # never again: replayed CUDA graphs allocate nothing

    def warm_up(self) -> float:
        """Seconds of a first pre-rolling: packing, compiling, recording."""
        self._window, seconds = timed(partial(self.sampler.preroll, *self._noise), self.job.device)
        return seconds

    def compared(self) -> float:
        """Relative error of the pre-rolled window, and of one roll of the plain sampler's window; the larger one.

        The plain sampler in float32 has none, and writes what the others are compared with.
        """
        path = self.job.reference
        if self.job.sampler == PLAIN:
            if not path.is_file():
                rolled = self._rolled(self._window)[1]
                with whole(path) as draft:
                    torch.save({"window": self._window, "rolled": rolled}, draft)
            return 0.0
        theirs = torch.load(path, map_location=self.job.device, weights_only=True)
        start, rolled = self._rolled(theirs["window"])
        video, audio, _ = self._noise
        errors = [
            relative_error(self._window, theirs["window"], (video, audio)),
            relative_error(rolled, theirs["rolled"], start),
        ]
        return math.nan if any(map(math.isnan, errors)) else max(errors)

    def first(self) -> float:
        """Seconds to the first frame, and the stream is begun."""
        video, audio, y = self._noise
        self._stream = self.sampler.stream(video, audio, torch.Generator().manual_seed(1), y)
        return self.further()

    def further(self) -> float:
        """Seconds of a further frame."""
        return timed(partial(next, self._stream), self.job.device)[1]

    def memory(self) -> dict[str, float]:
        """Most megabytes since the sampler was made: of tensors and held by the allocator on a GPU, else of the whole
        process, libraries included, where Linux tells.
        """
        if self.job.device != "cpu":
            return {
                "peak (MB)": torch.cuda.max_memory_allocated() / 2**20,
                "peak reserved (MB)": torch.cuda.max_memory_reserved() / 2**20,
            }
        status = Path("/proc/self/status")
        lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
        kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        return {"peak (MB)": kilobytes[0] / 2**10} if kilobytes else {}

    def work(self) -> dict[str, float]:
        """GFLOP of a step's matrix products, and GFLOP/s of large ones in the same type. Not before `memory`."""
        device, model = torch.device(self.job.device), self._model()
        sampler = self.sampler if isinstance(self.sampler, FastSampler) else self._made_of(model)
        return {
            "GFLOP of a step": profiling.step_flops(sampler, model, *self._noise) / 1e9,
            "matmul peak (GFLOP/s)": profiling.peak_flops(self.kind.dtype, device) / 1e9,
        }

    def profile(self) -> dict[str, Any]:
        """Where the time of a step goes, of a sampler made anew."""
        model = self._model()
        samplers = {self.job.sampler: self._made_of(model)}
        return profiling.profiles(model, samplers, *self._noise)[self.job.sampler]

    def _model(self) -> RFLAVTransformer:
        return model_of(self.job.settings, self.job.device)

    def _made_of(self, model: RFLAVTransformer) -> RollingSampler:
        return self.kind.make(model, RollingSchedule(model.config.window), self.job.steps_per_frame)

    def _rolled(self, window: Window) -> tuple[Window, Window]:
        """A window with noise appended, and what a roll makes of it."""
        memory = self.sampler.empty_memory(*window)
        memory = memory and memory.after(window[0][:, 0], window[1][:, 0])
        generator = torch.Generator().manual_seed(2)
        start = append_noise(window[0], generator), append_noise(window[1], generator)
        rolled = self.sampler.roll(*window, generator.manual_seed(2), self._noise[2], memory)
        return start, rolled


class Process:
    """An `Alone` in a process of its own. `ask` calls one of its methods there."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = job.sampler
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(job, theirs))
        self._process.start()
        theirs.close()

    def ask(self, what: str) -> Any:
        """The answer of a method.

        Raises:
            RuntimeError: it failed or the process died; the message ends with the reason.
        """
        try:
            self._pipe.send(what)
            answer, failed = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RuntimeError(
                f"{self._name}: its process died (exit code {self._process.exitcode})"
            ) from None
        if failed:
            raise RuntimeError(f"{self._name}: {what} failed\n{failed}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def _serve(job: Job, pipe: Any) -> None:
    """Answer until the other side closes."""
    alone = None
    while True:
        try:
            what = pipe.recv()
        except EOFError:
            return
        try:
            alone = alone or Alone(job)
            pipe.send((getattr(alone, what)(), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))
