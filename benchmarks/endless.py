"""Does it really never end? Memory, speed, class and synchrony of one stream, from its first minute to its last.

    python benchmarks/endless.py --frames 20000 --out results/endless.json     # 33 minutes of video
    python benchmarks/endless.py --frames 600                                  # a minute, to try it

One stream of the bundled model, in bf16. Its clips are measured minute by minute: resident memory, seconds for a frame,
share of 40-frame clips whose picture and sound are of the class asked for, and the median offset of sound and
picture. Any value that is not finite would stop it: clips refuse them. Ctrl-C ends the run; what was measured is kept.
"""

import argparse
import json
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
from rflav_lib.files import whole
from rflav_lib.media import Clip
from rflav_lib.metrics.toy import WORLD, Reading, read_clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import provenance

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
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )  # the peak: the best that other systems tell


def minutes(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Run the stream; what was measured in each minute of video, and in the part of one at the end."""
    pipe = RFLAVPipeline.from_pretrained(options.checkpoint)
    label = list(CLASSES[WORLD]).index(options.y)
    generator = torch.Generator().manual_seed(options.seed)
    stream = pipe.stream(
        options.steps_per_frame, CLIP_FRAMES, options.y, generator=generator, dtype=torch.bfloat16
    )
    read_clip(next(stream), label, pipe)  # warm-up: also what trackers build on first use
    readings: list[Reading] = []
    seconds, done = 0.0, 0
    with tqdm(total=options.frames, unit="frame") as progress:
        while done < options.frames:
            start = time.perf_counter()
            clip: Clip = next(stream)
            seconds += time.perf_counter() - start
            readings.append(read_clip(clip, label, pipe))
            done += len(clip)
            progress.update(len(clip))
            if done % MINUTE < CLIP_FRAMES or done >= options.frames:
                yield summary(readings, seconds, done)
                readings, seconds = [], 0.0


def summary(readings: list[Reading], seconds: float, done: int) -> dict[str, Any]:
    """The figures of one minute."""
    offsets = [abs(reading.offset_ms) for reading in readings if reading.offset_ms is not None]
    return {
        "frames": done,
        "clips": len(readings),
        "resident (MB)": round(resident_megabytes(), 1),
        "frame (ms)": round(1000 * seconds / (len(readings) * CLIP_FRAMES), 2),
        "class seen": float(np.mean([reading.seen == reading.asked for reading in readings])),
        "class heard": float(np.mean([reading.heard == reading.asked for reading in readings])),
        "median offset (ms)": float(np.median(offsets)) if offsets else None,
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=600, help="frames to make (default: %(default)s)")
    parser.add_argument("--steps-per-frame", type=int, default=4, help="the paper's N (default: %(default)s)")
    parser.add_argument(
        "--y", choices=CLASSES[WORLD], default="fireworks", help="class (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument("--out", type=Path, help="write the figures of every minute to this JSON file")
    options = parser.parse_args(arguments)
    for name in ("frames", "steps_per_frame"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    options.command = shlex.join(["python", "benchmarks/endless.py", *arguments])
    return options


def main(arguments: list[str]) -> None:
    """Measure, print minute by minute, and write if asked to."""
    options, measured = parse(arguments), []
    try:
        for minute in minutes(options):
            measured.append(minute)
            tqdm.write("  ".join(f"{name} {value}" for name, value in minute.items()))
    except KeyboardInterrupt:
        print("interrupted: what was measured so far is kept", file=sys.stderr)
    if options.out and measured:
        report = {"command": options.command, **provenance(), "seed": options.seed, "minutes": measured}
        with whole(options.out) as draft:
            draft.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
