"""How fast are media files read, and does memory grow with them? H.264 and AAC at 256x256, 25 frames a second.

    python benchmarks/media.py                                    # half a minute on one CPU core
    python benchmarks/media.py --seconds 60 --out results/media.json

What is measured: benchmarks/README.md. The goal is 300 frames a second on two cores, and equal memory.
"""

import argparse
import multiprocessing
import os
import resource
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler

from rflav_lib.data.clips import ClipFolder
from rflav_lib.files import output_file, write_json
from rflav_lib.media import Clip
from rflav_lib.provenance import provenance

SIZE, FRAME_RATE, SAMPLE_RATE = 256, 25, 44100
LONGER = 4  # how many times as long the file is whose reading may take no more memory
PIECE = 50  # frames read at once


def make_clip(seconds: int) -> Clip:
    """Waves that travel over a noisy ground, and a chord: neither still nor noise, like most video."""
    rng, k = np.random.default_rng(0), np.arange(seconds * FRAME_RATE)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    ground = rng.normal(0, 12, (SIZE, SIZE, 3))
    frames = np.empty((len(k), SIZE, SIZE, 3), np.uint8)
    for number in k:
        waves = [np.sin(9 * x + 7 * y * (c + 1) - number / (4 + c)) for c in range(3)]
        frames[number] = np.clip(128 + 70 * np.stack(waves, axis=-1) + np.roll(ground, number, 1), 0, 255)
    time_axis = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    tones = (0.2 * np.sin(2 * np.pi * pitch * time_axis) for pitch in (220, 277, 330))
    chord = sum(tones, np.zeros_like(time_axis))
    return Clip(frames, chord.astype(np.float32), FRAME_RATE, SAMPLE_RATE)


def read_through(path: Path, frame_rate: float) -> float:
    """Seconds to read a whole file in pieces."""
    start = time.perf_counter()
    for _ in Clip.pieces(path, PIECE, frame_rate):
        pass
    return time.perf_counter() - start


def peak_megabytes(path: Path) -> float:
    """The most memory that this process ever held, after reading a file: ask a fresh process."""
    read_through(path, FRAME_RATE)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def elsewhere(work: Callable[..., float], *arguments: Any, processes: int = 1) -> list[float]:
    """Run in fresh processes at once."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return pool.starmap(work, [arguments] * processes)


def windows_a_second(root: Path, workers: int, count: int) -> float:
    """Windows of ten frames, drawn at random, through a DataLoader; the workers' start is not counted."""
    folder = ClipFolder(root, frames=10, size=64)
    sampler = RandomSampler(folder, num_samples=count + 4, generator=torch.Generator().manual_seed(0))
    batches = iter(
        DataLoader(
            folder,
            batch_size=4,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=None if workers == 0 else 1,
        )
    )
    next(batches)
    start = time.perf_counter()
    for _ in batches:
        pass
    return count / (time.perf_counter() - start)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """All figures."""
    (folder / "train").mkdir()
    clip = make_clip(options.seconds)
    short = clip.save(folder / "train" / "short.mp4", crf=23)
    long = Clip.concatenate([clip] * LONGER).save(folder / "long.mp4", crf=23)
    frames = options.seconds * FRAME_RATE
    rate = partial(elsewhere, read_through, short)
    return {
        "all frames, one process (frames/s)": frames / rate(FRAME_RATE)[0],
        "all frames, two processes (frames/s)": sum(frames / s for s in rate(FRAME_RATE, processes=2)),
        "to 10 fps, one process (frames/s of the file)": frames / rate(10)[0],
        "to 10 fps, two processes (frames/s of the file)": sum(frames / s for s in rate(10, processes=2)),
        "random windows, no workers (windows/s)": windows_a_second(folder, 0, options.windows),
        "random windows, two workers (windows/s)": windows_a_second(folder, 2, options.windows),
        f"peak memory, {options.seconds} s (MB)": elsewhere(peak_megabytes, short)[0],
        f"peak memory, {LONGER * options.seconds} s (MB)": elsewhere(peak_megabytes, long)[0],
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="of the file (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=40, help="random windows read (default: %(default)s)")
    parser.add_argument(
        "--out", type=output_file, help="also write figures, machine and command to this JSON file"
    )
    options = parser.parse_args(arguments)
    for name in ("seconds", "windows"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    options.command = shlex.join(["python", "benchmarks/media.py", *arguments])
    return options


def main(arguments: list[str]) -> None:
    """Measure, print, and write if asked to."""
    options = parse(arguments)
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, Path(folder))
    for name, figure in figures.items():
        print(f"{name:52}{figure:10,.0f}")
    if load and load > 0.5 * (os.cpu_count() or 1):
        print(f"\nThis machine had other work (load {load}): do not trust the times.")
    if options.out:
        report = {
            "command": options.command,
            "provenance": {**provenance(), "load_before": load},
            "figures": figures,
        }
        write_json(options.out, report)


if __name__ == "__main__":
    main(sys.argv[1:])
