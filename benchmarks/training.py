"""How fast is training? Each setting against the plain float32 eager loop with the same maths, in one run.

    python benchmarks/training.py                                                # the toy size, on this CPU
    python benchmarks/training.py --size paper --device cuda --batch 4           # FLAV-B/1 at 256x256
    python benchmarks/training.py --size paper --device cuda --settings plain bf16 bf16+fused+compile
    python benchmarks/training.py --fusion joint_attention --out results/training.json

A setting is what `TrainConfig` switches: bf16 (autocast), fused (AdamW in one kernel), compile (torch.compile of the
blocks), checkpointing (of gradients). The settings take turns, so that a slow moment of the machine hits all.
`plain` is the loop as one would write it first: float32, no autocast, AdamW as it comes, the average updated
parameter by parameter, the loss read with `.item()` at every step. What the numbers mean: benchmarks/README.md.
"""

import argparse
import gc
import os
import shlex
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, nothing needs to be installed

from benchmarks.training_loop import SIZES, SWITCHES, Loop, config_of
from rflav_lib.files import output_file, write_json
from rflav_lib.fusion import FUSIONS
from rflav_lib.precision import multiplies_bf16
from rflav_lib.profiling import peak_flops
from rflav_lib.provenance import provenance
from rflav_lib.train_plan import count_flops
from rflav_lib.train_run import MODEL_KEYS

DEFAULT_SETTINGS = ["plain", "fused", "bf16", "bf16+fused", "bf16+fused+checkpointing"]
BATCH = 16
PAPER_BATCH = 4  # 16 windows in float32 would need about 172 GB
WARM_UPS = 2


@dataclass
class Measured:
    """One setting: seconds of each step, seconds of waiting for batches, peak bytes."""

    setting: str
    seconds: list[float]
    waited: list[float]
    peak_bytes: int = 0

    @property
    def median(self) -> float:
        """Median seconds of a step."""
        return statistics.median(self.seconds)


def measure(options: argparse.Namespace, done: Callable[[list[Measured]], None]) -> list[Measured]:
    """Memory first, one setting at a time; then steps, the settings taking turns. `done` gets what is known, as soon
    as there is more.
    """
    device, found = torch.device(options.device), []
    for setting in options.settings:
        found.append(Measured(setting, [], [], _loop(setting, options).peak_bytes()))
        _give_back(device)
    for group in [[row] for row in found] if options.one_at_a_time else [found]:
        _take_turns(group, options)
        _give_back(device)
        done([row for row in found if row.seconds])
    return found


def _take_turns(group: list[Measured], options: argparse.Namespace) -> None:
    """Time the steps of some settings."""
    loops = [_loop(row.setting, options) for row in group]
    for repeat in tqdm(range(-WARM_UPS, options.steps), unit="turn"):
        for loop, row in zip(loops, group, strict=True):
            seconds, waited = loop.timed_step()
            if repeat >= 0:
                row.seconds.append(seconds)
                row.waited.append(waited)
    for loop in loops:
        loop.close()


def _loop(setting: str, options: argparse.Namespace) -> Loop:
    config = config_of(options.size, setting, options.batch, options.fusion)
    return Loop(setting, config, torch.device(options.device))


def _give_back(device: torch.device) -> None:
    """What is no longer used: the next setting begins with an empty device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def rows(
    found: list[Measured], options: argparse.Namespace, speed: float, flops: int
) -> dict[str, dict[str, Any]]:
    """The figures of each setting."""
    plain = next((row for row in found if row.setting == "plain"), found[0])
    return {
        row.setting: {
            "samples_per_second": options.batch / row.median,
            "times_plain": plain.median / row.median,
            "loader_share": sum(row.waited) / sum(row.seconds),
            "peak_bytes": row.peak_bytes,
            "memory_of_plain": row.peak_bytes / plain.peak_bytes,
            "model_flops_utilisation": flops * options.batch / row.median / speed,
            "median_seconds": row.median,
            "seconds": row.seconds,
        }
        for row in found
    }


def table(figures: dict[str, dict[str, float]]) -> str:
    """As text."""
    head = ("samples/s", "times plain", "loader share", "peak MB", "of plain", "MFU")
    lines = [f"{'':30}" + "".join(f"{name:>14}" for name in head)]
    for setting, row in figures.items():
        cells = (
            f"{row['samples_per_second']:.2f}", f"{row['times_plain']:.2f}", f"{row['loader_share']:.1%}",
            f"{row['peak_bytes'] / 1e6:,.0f}", f"{row['memory_of_plain']:.2f}", f"{row['model_flops_utilisation']:.1%}",
        )  # fmt: skip
        lines.append(f"{setting:30}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(
        description="Speed and memory of training, against the plain float32 loop."
    )
    parser.add_argument("--size", choices=SIZES, default="toy", help="default: %(default)s")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument(
        "--fusion", choices=FUSIONS, default="conditioned_average", help="default: %(default)s"
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        help=f"default: {' '.join(DEFAULT_SETTINGS)}, those of bf16 where it is quick",
    )
    parser.add_argument(
        "--batch", type=int, help=f"windows a step (default: {BATCH}; {PAPER_BATCH} for the paper's size)"
    )
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument(
        "--one-at-a-time", action="store_true", help="do not hold all settings' models in memory at once"
    )
    parser.add_argument(
        "--out", type=output_file, help="also write figures, machine, versions and command to this JSON file"
    )
    options = parser.parse_args(arguments)
    if options.settings is None:
        quick = options.device == "cuda" or multiplies_bf16("cpu")
        options.settings = [name for name in DEFAULT_SETTINGS if quick or "bf16" not in name]
    if options.batch is None:
        options.batch = PAPER_BATCH if options.size == "paper" else BATCH
    for name in ("batch", "steps", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, not {value}")
    for setting in options.settings:
        if setting != "plain" and (unknown := set(setting.split("+")) - set(SWITCHES)):
            parser.error(
                f"--settings: {unknown.pop()!r} in {setting!r}; there are plain, and {', '.join(SWITCHES)}"
            )
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here; use --device cpu")
    options.command = shlex.join(["python", "benchmarks/training.py", *arguments])
    return options


def main(arguments: list[str]) -> None:
    """Measure, print, and write if asked to: after each group of settings that is timed."""
    options = parse(arguments)
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    if options.threads:
        torch.set_num_threads(options.threads)
    config = config_of(options.size, "plain", 1, options.fusion)
    settings = {
        "latent_size": config.latent_size,
        "num_classes": config.classes,
        "in_channels": 4,
        "mel_frames": 10,
    }
    flops = count_flops({**settings, **{key: getattr(config, key) for key in MODEL_KEYS}})
    speed = peak_flops(torch.bfloat16, torch.device(options.device))

    def write(found: list[Measured]) -> None:
        report = {
            "command": options.command,
            "provenance": {**provenance(options.device), "load_before": load},
            "setting": {
                name: getattr(options, name) for name in ("size", "device", "fusion", "batch", "steps")
            },
            "model_flops_per_sample": flops,
            "bf16_matmul_flops_per_second": speed,
            "figures": rows(found, options, speed, flops),
        }
        if options.out:
            write_json(options.out, report)

    figures = rows(measure(options, write), options, speed, flops)
    print(f"\n{options.size} size, {options.fusion}, batch {options.batch}, {options.device}; {flops / 1e9:,.1f} model "
          f"GFLOP a sample; bf16 matmul {speed / 1e12:.3g} TFLOP/s\n")  # fmt: skip
    print(table(figures))
    if load and load > 0.5 * (os.cpu_count() or 1):
        print(f"\nThis machine had other work (load {load}): do not trust the times.")
    if options.out:
        print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
