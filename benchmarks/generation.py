"""How fast is generation? The plain float32 sampler (the published way) against the fast one, in one run.

    python benchmarks/generation.py                                       # the bundled model; a minute on one CPU core
    python benchmarks/generation.py --model middle                        # hidden 384, depth 12, 16x16 latents
    python benchmarks/generation.py --model paper --device cuda           # FLAV-B/1, 324 M parameters
    python benchmarks/generation.py --threads 2 --out results/generation.json

Time to the first frame is that of pre-rolling; the steady state is the median over frames, the samplers taking turns.
`with picture and sound` is what a stream delivers, decoding and vocoder included.
"""

import argparse
import itertools
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from rflav_lib import ROOT
from rflav_lib.engine import FastSampler
from rflav_lib.files import whole
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import provenance
from rflav_lib.sampler import RollingSampler
from rflav_lib.schedule import RollingSchedule
from rflav_lib.transformer import RFLAVTransformer

BUNDLED = ROOT / "checkpoints" / "toy-landscape"
MODELS: dict[str, dict[str, Any]] = {
    "middle": {
        "latent_size": 16, "patch_size": 2, "hidden_size": 384, "depth": 12, "num_heads": 6, "n_mels": 64,
        "num_classes": 5,
    },
    "paper": {"num_classes": 9},
}  # fmt: skip
SAMPLERS: dict[str, Callable[..., RollingSampler]] = {
    "plain float32": RollingSampler,
    "fast float32": FastSampler,
    "fast bf16": lambda *settings: FastSampler(*settings, dtype=torch.bfloat16),
}


def model_of(name: str) -> RFLAVTransformer:
    """The bundled model, or one of another size with random weights."""
    if name == "bundled":
        return RFLAVPipeline.from_pretrained(BUNDLED).transformer.eval()
    torch.manual_seed(0)
    return RFLAVTransformer(**MODELS[name]).eval()


def timed(work: Callable[[], Any], device: str) -> tuple[Any, float]:
    """The result of `work`, and its seconds."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def sampling(model: RFLAVTransformer, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds to the first frame and of each further frame, for each sampler."""
    c, batch, device = model.config, options.batch, options.device
    model = model.to(device)
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(batch, c.window, c.in_channels, c.latent_size, c.latent_size, generator=generator)
    audio = torch.randn(batch, c.window, c.mel_frames, c.n_mels, generator=generator)
    video, audio, y = video.to(device), audio.to(device), torch.zeros(batch, dtype=torch.int64, device=device)
    samplers, windows, first = {}, {}, {}
    for name, make in SAMPLERS.items():
        samplers[name] = make(model, RollingSchedule(c.window), options.steps_per_frame)
        samplers[name].preroll(video, audio, y)  # warm-up
        windows[name], first[name] = timed(lambda s=samplers[name]: s.preroll(video, audio, y), device)
    seconds: dict[str, list[float]] = {name: [] for name in samplers}
    for _ in tqdm(range(options.frames), desc="frames", unit="frame"):
        for name, sampler in samplers.items():  # in turns: a slow moment hits all
            windows[name], took = timed(lambda s=sampler, w=windows[name]: s.roll(*w, generator, y), device)
            seconds[name].append(took)
    return {
        name: {"first frame (s)": first[name], "further frame (s)": statistics.median(seconds[name])}
        for name in samplers
    }


def streaming(options: argparse.Namespace) -> dict[str, float]:
    """Frames a second of the bundled model's stream, picture and sound included."""
    pipe = RFLAVPipeline.from_pretrained(BUNDLED).to(options.device)
    found = {}
    for label, steps, dtype in (
        ("float32, N = 2", 2, None), ("bf16, N = 2", 2, torch.bfloat16), ("bf16, N = 6", 6, torch.bfloat16),
    ):  # fmt: skip
        stream = pipe.stream(steps, 10, "rain", generator=torch.Generator().manual_seed(0), dtype=dtype)
        next(stream)  # warm-up
        chunks = max(1, options.frames // 10)
        _, took = timed(lambda s=stream, n=chunks: list(itertools.islice(s, n)), options.device)
        found[label] = 10 * chunks / took
    return found


def table(figures: dict[str, dict[str, float]]) -> str:
    """Milliseconds and how many times as fast as the plain sampler."""
    plain = figures["plain float32"]
    lines = [f"{'':16}" + "".join(f"{key:>22}{'times as fast':>15}" for key in plain)]
    for name, row in figures.items():
        cells = (f"{1000 * row[key]:>19.1f} ms{plain[key] / row[key]:>15.2f}" for key in plain)
        lines.append(f"{name:16}" + "".join(cells))
    return "\n".join(lines)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["bundled", *MODELS], default="bundled")
    parser.add_argument("--steps-per-frame", type=int, default=2, help="the paper's N (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=30, help="frames measured (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="clips at once (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write figures, settings and machine to this JSON file")
    options = parser.parse_args(arguments)
    for name in ("steps_per_frame", "frames", "batch", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here")
    options.command = shlex.join(["python", "benchmarks/generation.py", *arguments])
    return options


def main(arguments: list[str]) -> None:
    """Measure, print, and write if asked to."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    figures = sampling(model_of(options.model), options)
    print(f"{options.model} model, N = {options.steps_per_frame}, batch {options.batch}, sampler alone\n")
    print(table(figures))
    streams = streaming(options) if options.model == "bundled" else {}
    if streams:
        print("\nwith picture and sound (real time is 10 frames/s)")
        for name, rate in streams.items():
            print(f"  {name:16}{rate:6.1f} frames/s")
    if options.out:
        report = {
            "command": options.command, "provenance": provenance(options.device), "sampler": figures,
            "stream_frames_per_second": streams,
        }  # fmt: skip
        with whole(options.out) as draft:
            draft.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
