"""How fast is generation? The plain float32 sampler (the published way) against the fast one, in one run.

    python benchmarks/generation.py --threads 2                           # the bundled model
    python benchmarks/generation.py --threads 2 --compiled                # with torch.compile too: minutes of warm-up
    python benchmarks/generation.py --threads 2 --model middle            # hidden 384, depth 12, 16x16 latents
    python benchmarks/generation.py --model paper --device cuda --batch 8 # FLAV-B/1; never run, for want of a GPU
    python benchmarks/generation.py --threads 2 --given                   # and audio-to-video, video-to-audio
    python benchmarks/generation.py --threads 2 --profile                 # and where the time goes
    python benchmarks/generation.py --samplers "fast bf16" --out one.json # one sampler alone
    python benchmarks/generation.py --samplers --attention                # forms of attention, and no sampler

Time to the first frame is that of pre-rolling; the steady state is the median over frames, the samplers taking turns
(one after the other on a GPU). Each has a process of its own, and is timed only if it makes what the plain one
makes. Warm-up (packing weights, compiling) is told apart. `with picture and sound` is what a stream delivers, decoding
and vocoder included. --given adds a further frame of audio-to-video and video-to-audio, whose steps go down a
gradient, in float32. --profile adds the share of each kind of work. The file of --out is written after each figure.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, nothing needs to be installed

from benchmarks import generation_attention, generation_options
from benchmarks.generation_alone import (
    BUNDLED,
    KINDS,
    PLAIN,
    TF32,
    Job,
    Process,
    allow_tf32,
    first_noise,
    model_of,
    refusal,
    timed,
)
from rflav_lib import profiling
from rflav_lib.files import write_json
from rflav_lib.precision import quick_dtype
from rflav_lib.provenance import provenance
from rflav_lib.sampler import Frames
from rflav_lib.schedule import RollingSchedule

MODELS: dict[str, dict[str, Any] | None] = {
    "bundled": None,
    "tiny": {
        "latent_size": 4, "patch_size": 2, "hidden_size": 24, "depth": 1, "num_heads": 2, "n_mels": 16, "window": 3,
        "num_classes": 2,
    },
    "middle": {
        "latent_size": 16, "patch_size": 2, "hidden_size": 384, "depth": 12, "num_heads": 6, "n_mels": 64,
        "num_classes": 5,
    },
    "paper": {"num_classes": 9},
}  # fmt: skip
FIRSTS = 3  # times that a stream is begun; the median counts
TURN = 5  # frames that a sampler makes before the next one's turn
Rows = dict[str, dict[str, Any]]
Write = Callable[[], None]


def job_of(sampler: str, reference: Path, options: argparse.Namespace) -> Job:
    """What a process is told; `reference` is a folder."""
    o = options
    path = reference / f"{o.model}-batch{o.batch}-N{o.steps_per_frame}-{o.device.replace(':', '')}.pt"
    return Job(sampler, MODELS[o.model], o.steps_per_frame, o.batch, o.threads, o.device, path)


def sampling(options: argparse.Namespace, rows: Rows, write: Write) -> None:
    """Fill `rows` with the figures of each sampler, or with why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = {name: job_of(name, options.reference or Path(folder), options) for name in options.samplers}
        if jobs and options.samplers[0] != PLAIN:
            plain = job_of(PLAIN, options.reference or Path(folder), options)
            if not plain.reference.is_file():
                process = Process(plain)
                try:
                    process.ask("warm_up"), process.ask("compared")
                finally:
                    process.close()
        apart = options.device != "cpu"
        for group in [[name] for name in jobs] if apart else [list(jobs)]:
            _measure([jobs[name] for name in group], options.frames, rows, write)


def _measure(jobs: Sequence[Job], frames: int, rows: Rows, write: Write) -> None:
    """Figures of samplers that take turns."""
    processes: dict[str, Process] = {}
    try:
        for job in jobs:
            processes[job.sampler] = Process(job)
            rows[job.sampler] = {}
            _attempt(job.sampler, partial(_begin, processes[job.sampler], job.sampler, rows), rows, write)
        seconds: dict[str, list[float]] = {name: [] for name in processes if not rows[name].get("refused")}
        with tqdm(total=frames, desc="frames", unit="frame") as bar:
            for first in range(0, frames, TURN):
                count = min(TURN, frames - first)
                for name in seconds:  # in turns: a slow moment hits all
                    if not rows[name].get("refused"):
                        _attempt(name, partial(_go_on, processes[name], count, seconds[name]), rows)
                bar.update(count)
        for name, each in seconds.items():
            if not rows[name].get("refused"):
                rows[name] |= _steady(each, jobs[0].batch)
                _attempt(name, partial(_end, processes[name], name, jobs[0], rows), rows, write)
    finally:
        for process in processes.values():
            process.close()


def _attempt(name: str, work: Callable[[], Any], rows: Rows, write: Write = lambda: None) -> None:
    """Work for a row; a sampler that fails is refused, and the others go on."""
    try:
        work()
    except RuntimeError as error:
        rows[name]["refused"] = str(error)
        print(error, file=sys.stderr, flush=True)
    write()


def _begin(process: Process, name: str, rows: Rows) -> None:
    row = rows[name]
    row["warm-up (s)"] = process.ask("warm_up")
    row["allow TF32"] = KINDS[name].tf32
    row["relative error"] = process.ask("compared")
    if why := refusal(name, row["relative error"]):
        raise RuntimeError(why)
    row["first frame (s)"] = statistics.median(process.ask("first") for _ in range(FIRSTS))
    print(
        f"{name}: off by {row['relative error']:.1e}, first frame {row['first frame (s)']:.3f} s", flush=True
    )


def _go_on(process: Process, count: int, seconds: list[float]) -> None:
    """A turn: `count` further frames after one that does not count. That one finds cold caches, and the threads of
    the sampler before it still waiting busily; the steady state has neither.
    """
    seconds += [process.ask("further") for _ in range(1 + count)][1:]


def _end(process: Process, name: str, job: Job, rows: Rows) -> None:
    row = rows[name]
    row |= process.ask("memory")
    row |= process.ask("work")
    step = row["further frame (s)"] / job.steps_per_frame
    row["share of matmul peak"] = row["GFLOP of a step"] / step / row["matmul peak (GFLOP/s)"]


def _steady(seconds: Sequence[float], batch: int) -> dict[str, float]:
    further = statistics.median(seconds)
    return {"further frame (s)": further, "frames/s": batch / further}


def with_ratios(rows: Rows) -> Rows:
    """The rows, each with what it is to the plain sampler's: times as fast, and part of its peak of memory."""
    plain, found = rows.get(PLAIN, {}), {}
    for name, row in rows.items():
        ratios = {}
        if "further frame (s)" in plain and "further frame (s)" in row:
            ratios["times plain"] = plain["further frame (s)"] / row["further frame (s)"]
        if "peak (MB)" in plain and "peak (MB)" in row:
            ratios["peak over plain"] = row["peak (MB)"] / plain["peak (MB)"]
        found[name] = row | ratios
    return found


def one_side_given(options: argparse.Namespace, found: dict[str, dict[str, float]], write: Write) -> None:
    """Seconds of a further frame made beside given ones, by the plain and the fast sampler in turns."""
    model = model_of(MODELS[options.model], options.device)
    video, audio, y = first_noise(model, options.batch, options.device)
    schedule, frames = RollingSchedule(model.config.window), max(1, options.frames // 3)
    for task, clip, noise in (("audio_to_video", audio, video), ("video_to_audio", video, audio)):
        clip = torch.randn(len(clip), frames + 1, *clip.shape[2:]).to(clip)
        made: dict[str, Frames] = {}
        seconds: dict[str, list[float]] = {}
        for name in (PLAIN, "fast float32"):
            sampler = KINDS[name].make(model, schedule, options.steps_per_frame)
            made[name], seconds[name] = getattr(sampler, task)(clip, noise, y=y), []
            next(made[name])  # pre-rolling
        for _ in tqdm(range(frames), desc=task, unit="frame"):
            for name, stream in made.items():
                seconds[name].append(timed(partial(next, stream), options.device)[1])
        found[task] = {name: statistics.median(each) for name, each in seconds.items()}
        plain, fast = (1000 * each for each in found[task].values())
        print(f"{task}, further frame: {plain:.1f} ms plain, {fast:.1f} ms fast: {plain / fast:.2f} times as fast",
              flush=True)  # fmt: skip
        write()


def streaming(options: argparse.Namespace, found: dict[str, float], write: Write) -> None:
    """Frames a second of the bundled model's stream, picture and sound included."""
    from rflav_lib.pipeline import RFLAVPipeline  # here, as it needs the libraries of media files

    pipe = RFLAVPipeline.from_pretrained(BUNDLED).to(options.device)
    quick = quick_dtype(options.device)
    kinds = [("float32", None, False)] + [("bf16", quick, False)] * (quick is not None)
    kinds += [("compiled float32" if quick is None else "compiled bf16", quick, True)] * options.compiled
    print("\nwith picture and sound (real time is 10 frames/s)")
    for (kind, dtype, compiled), steps in itertools.product(kinds, (2, 6)):
        generator = torch.Generator().manual_seed(0)
        stream = pipe.stream(steps, 10, "rain", generator=generator, dtype=dtype, compiled=compiled)
        next(stream)  # warm-up
        chunks = max(1, options.frames // 10)
        _, took = timed(partial(list, itertools.islice(stream, chunks)), options.device)
        found[f"{kind}, N = {steps}"] = 10 * chunks / took
        print(f"  {f'{kind}, N = {steps}':22}{10 * chunks / took:6.1f} frames/s", flush=True)
        write()


def profiled(options: argparse.Namespace, found: Rows, write: Write) -> None:
    """Where the time of each sampler goes."""
    for name in options.samplers:
        process = Process(job_of(name, Path(), options))
        try:
            found[name] = process.ask("profile")
        finally:
            process.close()
        write()


def table(rows: Rows) -> str:
    """Milliseconds and how many times as fast as the plain sampler, as far as there are figures."""
    heads = {"first frame (s)": "first frame", "further frame (s)": "further frame"}
    plain = rows.get(PLAIN, {})
    lines = [f"{'':18}" + "".join(f"{head:>17}{'times':>9}" for head in heads.values()) + f"{'warm-up':>12}"]
    for name, row in rows.items():
        if "further frame (s)" not in row:
            lines.append(f"{name:18} no figures: {row.get('refused', '')}".rstrip().splitlines()[0])
            continue
        times = [f"{plain[key] / row[key]:>9.2f}" if key in plain else f"{'':9}" for key in heads]
        cells = [f"{1000 * row[key]:>14.1f} ms{ratio}" for key, ratio in zip(heads, times, strict=True)]
        lines.append(f"{name:18}" + "".join(cells) + f"{row['warm-up (s)']:>10.1f} s")
        lines[-1] += f"{row['peak (MB)']:>10.0f} MB at most" if "peak (MB)" in row else ""
        lines[-1] += f"{row['share of matmul peak']:>8.0%} of peak" if "share of matmul peak" in row else ""
    return "\n".join(lines)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    return generation_options.parse(arguments, __doc__.splitlines()[0], MODELS)


def main(arguments: list[str]) -> int:
    """Measure, print, and write if asked to; 1 if a sampler was wrong or failed."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    allow_tf32(False)
    report: dict[str, Any] = {
        "command": options.command, "provenance": provenance(options.device),
        "settings": {
            "model": options.model, "batch": options.batch, "steps per frame": options.steps_per_frame,
            "frames": options.frames, "allow TF32": {"matmul": False, "cudnn": False, TF32: {"matmul": True,
            "cudnn": True}},
        },
        "sampler": {}, "stream_frames_per_second": {}, "given": {},
    }  # fmt: skip

    def write() -> None:
        if options.out:
            write_json(options.out, report | {"sampler": with_ratios(report["sampler"])})

    sampling(options, report["sampler"], write)
    if options.samplers:
        print(f"{options.model} model, N = {options.steps_per_frame}, batch {options.batch}, sampler alone\n")
        print(table(report["sampler"]), flush=True)
    if options.attention:
        config = model_of(MODELS[options.model], "meta").config
        generation_attention.forms(
            config, options.batch, options.device, report.setdefault("attention (ms)", {}), write
        )
    if options.model == "bundled" and options.samplers:
        streaming(options, report["stream_frames_per_second"], write)
    if options.given:
        one_side_given(options, report["given"], write)
    if options.profile:
        profiled(options, report.setdefault("profile", {}), write)
        print(profiling.table(report["profile"]))
    write()
    return int(any(row.get("refused") for row in report["sampler"].values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
