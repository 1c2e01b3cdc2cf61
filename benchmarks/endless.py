"""Does it really never end? Memory, speed, class and synchrony of one stream, from its first minute to its last.

    python benchmarks/endless.py --frames 20000 --threads 2 --out results/endless.json     # 33 minutes of video
    python benchmarks/endless.py --frames 600                                              # a minute, to try it

One stream of the bundled model, in bf16 where the processor is quick in it. Its clips are measured minute by minute:
resident memory, seconds for a frame, share of 40-frame clips whose picture and sound are of the class asked for, and
the median offset of sound and picture. Any value that is not finite would stop it: clips refuse them. The file is
written anew after every minute, so whatever ends the run (Ctrl-C ends it in order) loses at most the minute it was in.
"""

import argparse
import resource
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from rflav_lib import ROOT
from rflav_lib.data.toy import CLASSES
from rflav_lib.files import output_file, write_json
from rflav_lib.media import Clip
from rflav_lib.metrics.toy import WORLD, Reading, read_clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.precision import quick_dtype, quick_name
from rflav_lib.provenance import fingerprint, provenance

BUNDLED = ROOT / "checkpoints" / "toy-landscape"
CLIP_FRAMES = 40  # what the trackers are shown at once
MINUTE = 600  # frames


def resident_megabytes() -> float:
    """Memory that the process holds now."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(
            line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmRSS")
        )
        return int(line.split()[1]) / 1024
    # the peak: the best that other systems tell
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def minutes(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the stream; what was measured in each minute of video, and in the part of one at the end."""
    pipe = RFLAVPipeline.from_pretrained(options.checkpoint)
    options.weights = fingerprint(pipe)
    label = list(CLASSES[WORLD]).index(options.y)
    generator = torch.Generator().manual_seed(options.seed)
    stream = pipe.stream(
        options.steps_per_frame, CLIP_FRAMES, options.y, generator=generator, dtype=quick_dtype("cpu"),
        compiled=options.compiled,
    )  # fmt: skip
    read_clip(next(stream), label, pipe)  # warm-up: also what trackers build on first use
    readings: list[Reading] = []
    seconds, done, minute = [], 0, 1
    with tqdm(total=options.frames, unit="frame") as progress:
        while done < options.frames:
            start = time.perf_counter()
            clip: Clip = next(stream)
            seconds.append((time.perf_counter() - start) / len(clip))
            check(clip, pipe)
            readings.append(read_clip(clip, label, pipe))
            done += len(clip)
            progress.update(len(clip))
            if done >= min(minute * MINUTE, options.frames):
                yield summary(readings, seconds, done)
                readings, seconds, minute = [], [], minute + 1


def check(clip: Clip, pipe: RFLAVPipeline) -> None:
    """Raise a RuntimeError unless the clip is whole: its frames, their samples exactly, nothing but finite values."""
    if len(clip) != CLIP_FRAMES or len(clip.waveform) != CLIP_FRAMES * pipe.samples_per_frame:
        raise RuntimeError(
            f"a clip of {len(clip)} frames with {len(clip.waveform)} samples: not what was asked for"
        )
    if not np.isfinite(clip.waveform).all():
        raise RuntimeError("NaN or infinite samples")


def summary(readings: list[Reading], seconds: list[float], done: int) -> dict[str, Any]:
    """The figures of one minute; `seconds` of a frame, clip by clip."""
    offsets = [abs(reading.offset_ms) for reading in readings if reading.offset_ms is not None]
    return {
        "frames": done,
        "clips": len(readings),
        "resident (MB)": round(resident_megabytes(), 1),
        # the median: one slow moment is none of its doing
        "frame (ms)": round(1000 * float(np.median(seconds)), 2),
        "class seen": float(np.mean([reading.seen == reading.asked for reading in readings])),
        "class heard": float(np.mean([reading.heard == reading.asked for reading in readings])),
        "median offset (ms)": float(np.median(offsets)) if offsets else None,
    }


def verdict(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """The last whole minute beside the first; memory beside the second, as the first still fills caches."""
    measured = [minute for minute in measured if minute["clips"] == measured[0]["clips"]]
    first, second, last = measured[0], measured[min(1, len(measured) - 1)], measured[-1]
    times = [minute["frame (ms)"] for minute in measured]
    return {
        "memory, last minute over second": round(last["resident (MB)"] / second["resident (MB)"], 4),
        "time of a frame, last minute over first": round(times[-1] / times[0], 3),
        "time of a frame, slowest minute over fastest": round(max(times) / min(times), 3),
        **{
            f"{name}, first and last minute": [first[name], last[name]]
            for name in ("class seen", "class heard", "median offset (ms)")
        },
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=600, help="frames to make (default: %(default)s)")
    parser.add_argument(
        "--steps-per-frame", type=int, default=4, help="N: Euler steps a frame (default: %(default)s)"
    )
    parser.add_argument(
        "--y", choices=CLASSES[WORLD], default="fireworks", help="class (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--compiled", action="store_true", help="through torch.compile")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--out", type=output_file, help="write the figures of every minute to this JSON file")
    options = parser.parse_args(arguments)
    for name in ("frames", "steps_per_frame", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    options.command = shlex.join(["python", "benchmarks/endless.py", *arguments])
    return options


def write(options: argparse.Namespace, measured: list[dict[str, Any]]) -> None:
    """Everything measured so far."""
    report = {
        "command": options.command, **provenance(), "weights": options.weights, "class": options.y,
        "dtype": quick_name("cpu"), "seed": options.seed, "verdict": verdict(measured), "minutes": measured,
    }  # fmt: skip
    write_json(options.out, report)


def main(arguments: list[str]) -> None:
    """Measure, print minute by minute, and write after each if asked to."""
    options, measured = parse(arguments), []
    torch.set_num_threads(options.threads)
    try:
        for minute in minutes(options):
            measured.append(minute)
            tqdm.write("  ".join(f"{name} {value}" for name, value in minute.items()))
            if options.out:
                write(options, measured)
    except KeyboardInterrupt:
        print("interrupted: what was measured so far is kept", file=sys.stderr)
    if measured:
        for name, value in verdict(measured).items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
