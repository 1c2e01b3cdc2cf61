"""What would generation hold on a GPU? Counted on the CPU, for want of one.

    python benchmarks/gpu_memory.py --batch 8 --out results/gpu-memory.json     # FLAV-B/1, ten minutes on two vCPUs
    python benchmarks/gpu_memory.py --model tiny --batch 1

One roll of a full window, by tensors that say they are on a GPU (`tests/pretend_gpu.py`): the code takes the branches
that it takes there, and every allocation is recorded. Weights are those of model and network together, each once.
Pre-rolling is left out: it has no more frames at any step. Not in it: workspaces of libraries, what the allocator
keeps, the codecs, and what a compiler saves or spends; so compiled samplers are not here.
"""

import argparse
import gc
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, nothing needs to be installed

from benchmarks.generation import MODELS
from benchmarks.generation_alone import KINDS, PLAIN, first_noise, model_of
from rflav_lib.engine import FastSampler
from rflav_lib.files import output_file, write_json
from rflav_lib.peak_memory import working_bytes
from rflav_lib.provenance import provenance
from rflav_lib.schedule import RollingSchedule
from tests.pretend_gpu import pretend_gpu

SAMPLERS = (PLAIN, "fast float32", "fast bf16")
MEBI = 2**20


def held(modules: Iterable[nn.Module]) -> int:
    """Bytes of all parameters and buffers, those that are shared counted once."""
    tensors: list[Tensor] = [
        tensor for module in modules for tensor in (*module.parameters(), *module.buffers())
    ]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


@torch.no_grad()
def count(sampler: str, settings: dict[str, Any] | None, batch: int) -> dict[str, float]:
    """Megabytes of weights and, at most, beside them, in one roll of one step."""
    with pretend_gpu():
        model = model_of(settings, "cuda")
        made = KINDS[sampler].make(model, RollingSchedule(model.config.window), 1)
        modules: list[nn.Module] = [model]
        if isinstance(made, FastSampler):
            made.network.release_model()
            modules.append(made.network.network)
        weights = held(modules)
        video, audio, y = first_noise(model, batch, "cuda")
        memory = made.empty_memory(video, audio)
        roll = partial(made.roll, video, audio, torch.Generator().manual_seed(0), y, memory)
        working = working_bytes(roll, "cpu")
    return {
        "weights (MB)": weights / MEBI,
        "beside them (MB)": working / MEBI,
        "both (MB)": (weights + working) / MEBI,
    }


def with_ratios(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Each row's megabytes over the plain sampler's."""
    plain = rows[PLAIN]["both (MB)"]
    return {name: {**row, "of plain": row["both (MB)"] / plain} for name, row in rows.items()}


def table(rows: dict[str, dict[str, float]]) -> str:
    """A row a sampler."""
    names = ("weights (MB)", "beside them (MB)", "both (MB)", "of plain")
    lines = [f"{'':16}" + "".join(f"{name:>18}" for name in names)]
    for sampler, row in rows.items():
        cells = "".join(f"{row[name]:>18.0f}" for name in names[:-1])
        lines.append(f"{sampler:16}{cells}{row['of plain']:>18.2f}")
    return "\n".join(lines)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="paper", help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=8, help="clips at once (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--out", type=output_file, help="JSON file")
    options = parser.parse_args(arguments)
    for name in ("batch", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    return options


def main(arguments: list[str]) -> None:
    """Count, print, write."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    rows = {}
    for sampler in tqdm(SAMPLERS, unit="sampler"):
        rows[sampler] = count(sampler, MODELS[options.model], options.batch)
        gc.collect()  # cycles hold models
    rows = with_ratios(rows)
    print(f"{options.model} model, batch {options.batch}: counted, not measured on a GPU\n\n{table(rows)}")
    if options.out:
        command = " ".join(["python benchmarks/gpu_memory.py", *arguments])
        settings = {"model": options.model, "batch": options.batch}
        write_json(
            options.out,
            {"command": command, "provenance": provenance(), "settings": settings, "samplers": rows},
        )


if __name__ == "__main__":
    main(sys.argv[1:])
