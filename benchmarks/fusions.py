"""Cost of the three fusions side by side, as ratios to (c), beside the ratios of the paper's Table 1.A.

python benchmarks/fusions.py
python benchmarks/fusions.py --size paper --device cuda --dtype bfloat16 --out results/fusions-paper.json

What is measured and how it compares with the paper's figures: benchmarks/README.md.
"""

import argparse
import gc
import os
import shlex
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rflav_lib import peak_memory
from rflav_lib.evaluation.paper import REFERENCE, cost_ratios, title_of
from rflav_lib.files import output_file, write_json
from rflav_lib.fusion import FUSIONS
from rflav_lib.provenance import provenance
from rflav_lib.transformer import RFLAVTransformer

SIZES: dict[str, dict[str, Any]] = {
    # the shape of the bundled toy model: 64x64 frames, 64 mel bins
    "toy": {
        "latent_size": 8,
        "patch_size": 2,
        "hidden_size": 192,
        "depth": 6,
        "num_heads": 6,
        "n_mels": 64,
        "num_classes": 5,
    },
    # the released size: 256x256 frames, 256 mel bins
    "paper": {},
}
WARM_UPS = 2


@dataclass(frozen=True)
class Cost:
    """What one forward of a full window costs with one fusion."""

    fusion: str
    parameters: int
    flops: int
    seconds: list[float]
    weight_bytes: int
    working_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Weights and working memory: what has to fit."""
        return self.weight_bytes + self.working_bytes

    @property
    def median_seconds(self) -> float:
        """Median over the repeats."""
        return statistics.median(self.seconds)

    def ratios(self, reference: "Cost") -> dict[str, float]:
        """Each figure over that of `reference`."""
        return {
            "parameters": self.parameters / reference.parameters,
            "flops": self.flops / reference.flops,
            "time": self.median_seconds / reference.median_seconds,
            "memory": self.peak_bytes / reference.peak_bytes,
            "working_memory": self.working_bytes / reference.working_bytes,
        }


def build(fusion: str, size: str, device: str, dtype: torch.dtype, seed: int) -> RFLAVTransformer:
    """A model of one of SIZES with random weights, ready for inference."""
    torch.manual_seed(seed)
    with torch.device(device):
        model = RFLAVTransformer(**SIZES[size], fusion=fusion)
    return nn.Module.to(model, dtype).eval()  # the method of ModelMixin warns about every cast


def window_of(model: RFLAVTransformer, batch: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Video (b k c h w), audio (b k f m) and rolling times (b k) of a full window, on the model's device."""
    config, generator = model.config, torch.Generator().manual_seed(seed)
    picture = (config.in_channels, config.latent_size, config.latent_size)
    video = torch.randn(batch, config.window, *picture, generator=generator)
    audio = torch.randn(batch, config.window, config.mel_frames, config.n_mels, generator=generator)
    t = torch.linspace(1, 0, config.window + 1)[1:].expand(batch, -1)
    return video.to(model.device, model.dtype), audio.to(model.device, model.dtype), t.to(model.device)


def count_flops(fusion: str, size: str, batch: int) -> int:
    """Floating point operations of one forward: two for each multiply-add of a matrix product or convolution.

    Counted on the meta device, where attention is made of plain matrix products: torch's counter does not
    know the fused attention of the CPU and would leave it out. What a causal mask hides is counted.
    """
    model = build(fusion, size, "meta", torch.float32, seed=0)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*window_of(model, batch, seed=0))
    return counter.get_total_flops()


@torch.no_grad()
def working_bytes(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Most bytes that one forward holds at any moment on top of weights and inputs."""
    device = inputs[0].device
    if device.type == "cuda":
        module(*inputs)  # the first call allocates workspaces of libraries once and for all
    return peak_memory.working_bytes(lambda: module(*inputs), device)


@torch.no_grad()
def time_interleaved(
    models: dict[str, RFLAVTransformer], batch: int, repeats: int, seed: int
) -> dict[str, list[float]]:
    """Seconds of each forward. The fusions take turns, so that a slow moment of the machine hits them all."""
    inputs = {fusion: window_of(model, batch, seed) for fusion, model in models.items()}
    seconds: dict[str, list[float]] = {fusion: [] for fusion in models}
    for repeat in range(-WARM_UPS, repeats):
        for fusion, model in models.items():
            _wait_for(model)
            start = time.perf_counter()
            model(*inputs[fusion])
            _wait_for(model)
            if repeat >= 0:
                seconds[fusion].append(time.perf_counter() - start)
    return seconds


def _wait_for(model: RFLAVTransformer) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def measure(options: argparse.Namespace) -> list[Cost]:
    """Everything, for the three fusions. Memory first, with one model on the device at a time."""
    dtype, working = getattr(torch, options.dtype), {}
    for fusion in FUSIONS:
        model = build(fusion, options.size, options.device, dtype, options.seed)
        working[fusion] = working_bytes(model, window_of(model, options.batch, options.seed))
        del model
        gc.collect()
    models = {fusion: build(fusion, options.size, options.device, dtype, options.seed) for fusion in FUSIONS}
    seconds = time_interleaved(models, options.batch, options.repeats, options.seed)
    return [
        Cost(
            fusion=fusion,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            flops=count_flops(fusion, options.size, options.batch),
            seconds=seconds[fusion],
            weight_bytes=sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())),
            working_bytes=working[fusion],
        )
        for fusion, model in models.items()
    ]


def table(costs: list[Cost]) -> str:
    """The figures and the ratios as text."""
    reference = next(cost for cost in costs if cost.fusion == REFERENCE)
    figures, ratios = [], []
    for cost in costs:
        title = title_of(cost.fusion)
        scaled = (
            cost.flops / 1e9,
            cost.median_seconds * 1e3,
            cost.peak_bytes / 1e6,
            cost.working_bytes / 1e6,
        )
        figures.append(_row(title, f"{cost.parameters:,}", *(f"{figure:,.2f}" for figure in scaled)))
        both = (*cost.ratios(reference).values(), *(cost_ratios(cost.fusion) or ()))
        ratios.append(_row(title, *(f"{ratio:.2f}" for ratio in both)))
    head = _row(
        "one forward of a full window", "parameters", "GFLOP", "median ms", "peak MB", "without weights"
    )
    ratio_head = _row(
        "ratio to (c)",
        "parameters",
        "FLOP",
        "time",
        "peak memory",
        "without weights",
        "paper: time",
        "memory",
    )
    return "\n".join([head, *figures, "", ratio_head, *ratios])


def _row(title: str, *cells: str) -> str:
    return f"{title:28}" + "".join(f"{cell:>16}" for cell in cells)


def report(costs: list[Cost], options: argparse.Namespace) -> dict[str, Any]:
    """The figures and all that stands behind them, ready for JSON."""
    reference = next(cost for cost in costs if cost.fusion == REFERENCE)
    return {
        "command": options.command,
        "provenance": {**provenance(options.device), "load_before": options.load_before},
        "setting": {
            name: getattr(options, name) for name in ("size", "device", "dtype", "batch", "repeats", "seed")
        },
        "costs": {
            cost.fusion: {
                "parameters": cost.parameters,
                "flops": cost.flops,
                "median_seconds": cost.median_seconds,
                "seconds": cost.seconds,
                "weight_bytes": cost.weight_bytes,
                "working_bytes": cost.working_bytes,
                "peak_bytes": cost.peak_bytes,
                "ratios": cost.ratios(reference),
                "paper_ratios": dict(zip(("time", "memory"), cost_ratios(cost.fusion) or (), strict=False)),
            }
            for cost in costs
        },
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description="Cost of the three fusions side by side.")
    parser.add_argument("--size", choices=SIZES, default="toy", help="default: %(default)s")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="default: %(default)s"
    )
    parser.add_argument("--batch", type=int, default=1, help="windows at once (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=15, help="timed forwards of each (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs (default: %(default)s)")
    parser.add_argument(
        "--out", type=output_file, help="also write figures, machine, versions and command to this JSON file"
    )
    options = parser.parse_args(arguments)
    for name in ("batch", "repeats", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, not {value}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here; use --device cpu")
    options.command = shlex.join(["python", "benchmarks/fusions.py", *arguments])
    return options


def main(arguments: list[str]) -> None:
    """Measure, print, and write if asked to."""
    options = parse(arguments)
    options.load_before = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    if options.threads:
        torch.set_num_threads(options.threads)
    costs = measure(options)
    print(f"{options.size} size, {options.dtype}, batch {options.batch}, {options.device}\n")
    print(table(costs))
    if options.load_before and options.load_before > 0.5 * (os.cpu_count() or 1):
        print(f"\nThis machine had other work (load {options.load_before}): do not trust the times.")
    if options.out:
        write_json(options.out, report(costs, options))
        print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
