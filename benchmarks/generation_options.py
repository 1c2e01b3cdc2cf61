"""The command line of `benchmarks/generation.py`."""

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path

import torch

from benchmarks.generation_alone import KINDS, TF32
from rflav_lib.files import output_file
from rflav_lib.precision import multiplies_bf16

COMPILED = [name for name in KINDS if name.startswith("compiled")]
BF16 = [name for name in KINDS if name.endswith("bf16")]


def parse(arguments: list[str], about: str, models: Iterable[str]) -> argparse.Namespace:
    """Options; exits with one clear line if they do not make sense. The plain sampler comes first, if it takes part."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--model", choices=list(models), default="bundled", help="default: %(default)s")
    parser.add_argument(
        "--steps-per-frame", type=int, default=2, help="N: Euler steps a frame (default: %(default)s)"
    )
    parser.add_argument("--frames", type=int, default=30, help="frames measured (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="clips at once (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument(
        "--compiled", action="store_true", help="measure torch.compile too; it warms up for minutes"
    )
    parser.add_argument(
        "--samplers", nargs="*", choices=KINDS, metavar="NAME",
        help=f"only these, of {', '.join(KINDS)}; no name: none (default: all that fit and are quick here, "
             "compiled ones if asked for)",
    )  # fmt: skip
    parser.add_argument("--given", action="store_true", help="measure audio-to-video and video-to-audio too")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    parser.add_argument("--attention", action="store_true", help="time the forms of attention too")
    parser.add_argument(
        "--reference", type=Path,
        help="folder in which to keep what the plain sampler makes, for later runs of the same code",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=output_file, help="write figures, settings and machine to this JSON file"
    )
    options = parser.parse_args(arguments)
    for name in ("steps_per_frame", "frames", "batch", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here")
    if options.samplers is None:
        left_out = ([] if options.compiled else COMPILED) + ([TF32] if options.device == "cpu" else [])
        # many times as slow as float32 where there are no instructions for it: nobody waits for that unasked
        left_out += [] if multiplies_bf16(options.device) else BF16
        options.samplers = [name for name in KINDS if name not in left_out]
    elif TF32 in options.samplers and options.device == "cpu":
        parser.error(f"--samplers {TF32!r}: only GPUs have TF32; give --device cuda")
    options.samplers = sorted(set(options.samplers), key=list(KINDS).index)
    options.command = shlex.join(["python", "benchmarks/generation.py", *arguments])
    return options
