"""The command: measure a checkpoint, print the tables, keep every reading.

    python -m rflav_lib.metrics.toy checkpoints/toy-landscape --clips 500 --out outputs/toy-landscape.json

With --out the file is written anew after every ten clips, and the same command goes on from there; more --clips later
goes on too. Ctrl-C ends it in order: what was measured is kept and printed.
"""

import argparse
import shlex
import sys
from contextlib import nullcontext

from tqdm.auto import tqdm

from rflav_lib.allocator import keep_freed_memory
from rflav_lib.files import output_file
from rflav_lib.locks import only_writer
from rflav_lib.metrics.toy.clips import WORLDS
from rflav_lib.metrics.toy.figures import table
from rflav_lib.metrics.toy.report import EXACT, GENERATED, Measurement
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.precision import DTYPES

INTERRUPTED = 130


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.metrics.toy",
        description="How well a model of a toy world does what it was asked, beside real clips.",
    )
    parser.add_argument("checkpoint", help="pipeline folder of a toy-landscape or toy-dance model")
    parser.add_argument("--clips", type=int, default=200, help="of each set (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=40, help="of each clip (default: %(default)s)")
    parser.add_argument(
        "--steps-per-frame", type=int, default=4, help="N: Euler steps a frame (default: %(default)s)"
    )
    parser.add_argument(
        "--guidance-scale", type=float, default=1.0, help="classifier-free guidance (default: 1, none)"
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default=EXACT,
        help="of the sampler's matrix products (default: %(default)s)",
    )
    parser.add_argument(
        "--world", choices=WORLDS, help="of the model; told by its classes, and needed where it has none"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-codecs", action="store_true", help="leave out real clips through the codecs")
    parser.add_argument(
        "--out", type=output_file, help="JSON file for figures and single readings; gone on with"
    )
    parser.add_argument("--anew", action="store_true", help="replace the file instead of going on with it")
    options = parser.parse_args(arguments)
    for name in ("clips", "frames", "steps_per_frame"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if options.seed < 0:
        parser.error(f"--seed must be 0 or more, not {options.seed}")
    return options


def run(options: argparse.Namespace, measurement: Measurement, pipeline: RFLAVPipeline, command: str) -> bool:
    """Measure and write batch by batch; whether it came to its end."""
    done = measurement.clips
    with tqdm(total=max(options.clips, done), initial=done, unit="clip") as bar:
        try:
            for count in measurement.measure(pipeline, options.clips):
                if options.out:
                    measurement.write(options.out, command)
                bar.update(count - bar.n)
        except KeyboardInterrupt:
            return False
    return True


def show(options: argparse.Namespace, measurement: Measurement) -> None:
    """The tables."""
    settings = measurement.settings
    print(f"{options.checkpoint}: {measurement.clips} clips of {settings['frames']} frames", end=", ")
    print(f"N = {settings['steps_per_frame']}, guidance {settings['guidance_scale']:g}", end=", ")
    print(f"{settings['dtype']}, seed {settings['seed']}; value (95 % interval)\n")
    print(table(measurement.figures()))
    by_class = measurement.by_class()
    if by_class:
        print(f"\n{GENERATED}, by class\n\n{table(by_class[GENERATED])}")


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; with --out, keep everything as JSON."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    try:
        pipeline = RFLAVPipeline.from_pretrained(options.checkpoint)
        measurement = Measurement.new(
            pipeline, options.frames, options.steps_per_frame, options.seed, not options.no_codecs,
            options.guidance_scale, options.dtype, options.world,
        )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        with only_writer(options.out) if options.out else nullcontext():
            if options.out and options.out.is_file() and not options.anew:
                measurement.go_on(options.out)
            command = "python -m rflav_lib.metrics.toy " + shlex.join(arguments)
            whole = run(options, measurement, pipeline, command)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if measurement.clips:
        show(options, measurement)
    if whole:
        return 0
    kept = f", kept in {options.out}" if options.out and measurement.clips else ""
    print(f"interrupted after {measurement.clips} clips{kept}: the same command goes on", file=sys.stderr)
    return INTERRUPTED


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
