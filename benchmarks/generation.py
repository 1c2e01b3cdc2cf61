"""How fast is generation? The plain float32 sampler (the published way) against the fast one, in one run.

    python benchmarks/generation.py --threads 2                           # the bundled model
    python benchmarks/generation.py --threads 2 --compiled                # with torch.compile too: minutes of warm-up
    python benchmarks/generation.py --threads 2 --model middle            # hidden 384, depth 12, 16x16 latents
    python benchmarks/generation.py --model paper --device cuda --batch 8 # FLAV-B/1; never run, for want of a GPU
    python benchmarks/generation.py --threads 2 --given                   # and audio-to-video, video-to-audio
    python benchmarks/generation.py --threads 2 --profile                 # and where the time goes

Time to the first frame is that of pre-rolling; the steady state is the median over frames, the samplers taking turns.
Warm-up (packing weights, compiling) is told apart. `with picture and sound` is what a stream delivers, decoding and
vocoder included. --given adds a further frame of audio-to-video and video-to-audio, whose steps go down a gradient,
in float32. --profile adds the share of each kind of work, the floating-point operations of a step, and what
the machine's matrix products reach at best, so that one sees how much there is left to win.
"""

import argparse
import itertools
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from rflav_lib import ROOT, profiling
from rflav_lib.engine import FastSampler
from rflav_lib.files import output_file, write_json
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import provenance
from rflav_lib.sampler import Frames, RollingSampler
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


def plain_sampler(model: RFLAVTransformer, schedule: RollingSchedule, steps_per_frame: int) -> RollingSampler:
    """The published way, for models with memory frames too."""
    return RollingSampler(model, schedule, steps_per_frame, memory=model.memory_layout)


SAMPLERS: dict[str, Callable[..., RollingSampler]] = {
    "plain float32": plain_sampler,
    "fast float32": FastSampler,
    "fast bf16": partial(FastSampler, dtype=torch.bfloat16),
}
COMPILED: dict[str, Callable[..., RollingSampler]] = {
    "compiled float32": partial(FastSampler, compiled=True),
    "compiled bf16": partial(FastSampler, dtype=torch.bfloat16, compiled=True),
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


def samplers_of(model: RFLAVTransformer, options: argparse.Namespace) -> dict[str, RollingSampler]:
    """The samplers that take part, by name; the plain one first."""
    makers = SAMPLERS | (COMPILED if options.compiled else {})
    schedule = RollingSchedule(model.config.window)
    return {name: make(model, schedule, options.steps_per_frame) for name, make in makers.items()}


def first_noise(model: RFLAVTransformer, options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """Noise of a first window, and a label for each clip."""
    c, generator = model.config, torch.Generator().manual_seed(0)
    video = (options.batch, c.window, c.in_channels, c.latent_size, c.latent_size)
    audio = (options.batch, c.window, c.mel_frames, c.n_mels)
    pictures, sounds = (
        torch.randn(shape, generator=generator).to(options.device) for shape in (video, audio)
    )
    return pictures, sounds, torch.zeros(options.batch, dtype=torch.int64, device=options.device)


def sampling(model: RFLAVTransformer, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds of warm-up, to the first frame and of each further frame, for each sampler."""
    device = options.device
    video, audio, y = first_noise(model, options)
    samplers = samplers_of(model, options)
    streams, warm, first, peak = {}, {}, {}, {}
    for name, sampler in samplers.items():
        _, warm[name] = timed(partial(sampler.preroll, video, audio, y), device)
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        streams[name] = sampler.stream(video, audio, torch.Generator().manual_seed(1), y)
        _, first[name] = timed(partial(next, streams[name]), device)
        if device != "cpu":
            peak[name] = torch.cuda.max_memory_allocated() / 2**20
    seconds: dict[str, list[float]] = {name: [] for name in samplers}
    for _ in tqdm(range(options.frames), desc="frames", unit="frame"):
        for name, stream in streams.items():  # in turns: a slow moment hits all
            seconds[name].append(timed(partial(next, stream), device)[1])
    return {
        name: {
            "warm-up (s)": warm[name], "first frame (s)": first[name],
            "further frame (s)": statistics.median(seconds[name]),
            **({"peak (MB)": peak[name]} if peak else {}),
        }
        for name in samplers
    }  # fmt: skip


def one_side_given(model: RFLAVTransformer, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds of a further frame made beside given ones, by the plain and the fast sampler in turns."""
    video, audio, y = first_noise(model, options)
    schedule, frames = RollingSchedule(model.config.window), max(1, options.frames // 3)
    found = {}
    for task, clip, noise in (("audio_to_video", audio, video), ("video_to_audio", video, audio)):
        clip = torch.randn(len(clip), frames + 1, *clip.shape[2:]).to(clip)
        made: dict[str, Frames] = {}
        seconds: dict[str, list[float]] = {}
        for name in ("plain float32", "fast float32"):
            sampler = SAMPLERS[name](model, schedule, options.steps_per_frame)
            made[name], seconds[name] = getattr(sampler, task)(clip, noise, y=y), []
            next(made[name])  # pre-rolling
        for _ in tqdm(range(frames), desc=task, unit="frame"):
            for name, stream in made.items():
                seconds[name].append(timed(partial(next, stream), options.device)[1])
        found[task] = {name: statistics.median(each) for name, each in seconds.items()}
    return found


def streaming(options: argparse.Namespace) -> dict[str, float]:
    """Frames a second of the bundled model's stream, picture and sound included."""
    pipe = RFLAVPipeline.from_pretrained(BUNDLED).to(options.device)
    found = {}
    kinds = [("float32", None, False), ("bf16", torch.bfloat16, False)]
    kinds += [("compiled bf16", torch.bfloat16, True)] * options.compiled
    for (kind, dtype, compiled), steps in itertools.product(kinds, (2, 6)):
        label = f"{kind}, N = {steps}"
        generator = torch.Generator().manual_seed(0)
        stream = pipe.stream(steps, 10, "rain", generator=generator, dtype=dtype, compiled=compiled)
        next(stream)  # warm-up
        chunks = max(1, options.frames // 10)
        _, took = timed(partial(list, itertools.islice(stream, chunks)), options.device)
        found[label] = 10 * chunks / took
    return found


def table(figures: dict[str, dict[str, float]]) -> str:
    """Milliseconds and how many times as fast as the plain sampler."""
    plain, keys = figures["plain float32"], ("first frame (s)", "further frame (s)")
    lines = [f"{'':18}" + "".join(f"{key:>22}{'times as fast':>15}" for key in keys) + f"{'warm-up':>12}"]
    for name, row in figures.items():
        cells = [f"{1000 * row[key]:>19.1f} ms{plain[key] / row[key]:>15.2f}" for key in keys]
        lines.append(f"{name:18}" + "".join(cells) + f"{row['warm-up (s)']:>10.1f} s")
        lines[-1] += f"{row['peak (MB)']:>10.0f} MB at most" if "peak (MB)" in row else ""
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
    parser.add_argument(
        "--compiled", action="store_true", help="measure torch.compile too; it warms up for minutes"
    )
    parser.add_argument("--given", action="store_true", help="measure audio-to-video and video-to-audio too")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    parser.add_argument(
        "--out", type=output_file, help="write figures, settings and machine to this JSON file"
    )
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
    model = model_of(options.model).to(options.device)
    figures = sampling(model, options)
    print(f"{options.model} model, N = {options.steps_per_frame}, batch {options.batch}, sampler alone\n")
    print(table(figures))
    streams = streaming(options) if options.model == "bundled" else {}
    if streams:
        print("\nwith picture and sound (real time is 10 frames/s)")
        for name, rate in streams.items():
            print(f"  {name:22}{rate:6.1f} frames/s")
    given = one_side_given(model, options) if options.given else {}
    for task, row in given.items():
        plain, fast = (1000 * seconds for seconds in row.values())
        print(
            f"{task}, further frame: {plain:.1f} ms plain, {fast:.1f} ms fast: {plain / fast:.2f} times as fast"
        )
    report = {
        "command": options.command, "provenance": provenance(options.device), "sampler": figures,
        "stream_frames_per_second": streams, "given": given,
    }  # fmt: skip
    if options.profile:
        report["profile"] = profiling.profiles(
            model, samplers_of(model, options), *first_noise(model, options)
        )
        print(profiling.table(report["profile"]))
    if options.out:
        write_json(options.out, report)


if __name__ == "__main__":
    main(sys.argv[1:])
