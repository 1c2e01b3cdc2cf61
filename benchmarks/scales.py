"""How strong should guidance be? Class, synchrony and likeness to real clips against the scale.

    python benchmarks/scales.py conditions --out results/conditions.json     # audio-to-video, video-to-audio (Table 3)
    python benchmarks/scales.py classes --out results/class_guidance.json    # classifier-free guidance, each modality
    python benchmarks/scales.py changes --out results/class_changes.json     # the same, class changed on the way
    python benchmarks/scales.py conditions --clips 10 --steps-per-frame 2    # smaller

The bundled model and the trackers of toy-landscape. `conditions` completes unseen real clips without telling the model
their class, beside joint generation, and beside the same made side with the given side of another clip: one of the
same class shows what synchrony comes from the class alone, one of another class what agreement comes by chance.
`classes` generates with guidance of both modalities, of the video alone and of the sound alone;
`changes` streams one class, asks for another after three seconds, and reads what is there four seconds later.
Results are written after each set of clips, and a run goes on where the one before stopped; Ctrl-C loses at most a set.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, nothing needs to be installed

from benchmarks.scales_reading import Figures, Ranges, figures
from rflav_lib import ROOT
from rflav_lib.allocator import keep_freed_memory
from rflav_lib.data.toy import CLASSES
from rflav_lib.draws import generator_of
from rflav_lib.files import output_file, read_json, write_json
from rflav_lib.locks import only_writer
from rflav_lib.media import Clip
from rflav_lib.metrics.toy import WORLD, real_clips
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.precision import quick_dtype, quick_name
from rflav_lib.provenance import fingerprint, provenance

BUNDLED = ROOT / "checkpoints" / "toy-landscape"
CONDITION_SCALES = (0.0, 1e3, 3e3, 1e4, 3e4, 1e5)
GUIDANCE_SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)
BEFORE_CHANGE, TO_TURN, CHANGE_CHUNK = 30, 40, 10
"""Frames of a stream before its class is changed, and frames that it then has to turn before it is read."""


def completed(
    task: str, scale: float, given: Sequence[Clip], options: argparse.Namespace, pipe: RFLAVPipeline
) -> list[Clip]:
    """Each given clip with its picture (a2v) or its sound (v2a) made anew; the class is not told."""
    made = []
    for number, clip in enumerate(tqdm(given, desc=f"{task} {scale:g}", unit="clip")):
        generator = torch.Generator().manual_seed(1000 * options.seed + number)
        half = {"audio": clip} if task == "a2v" else {"video": clip}
        made += pipe(
            steps_per_frame=options.steps_per_frame, generator=generator, condition_scale=scale, **half
        )
    return made


def swapped(task: str, made: Sequence[Clip], by: int) -> list[Clip]:
    """The made sides with the given sides of the clips `by` places further on."""
    pairs = zip(made, [*made[by:], *made[:by]], strict=True)
    return [
        Clip(a.frames, b.waveform, a.frame_rate, a.sample_rate)
        if task == "a2v"
        else Clip(b.frames, a.waveform, a.frame_rate, a.sample_rate)
        for a, b in pairs
    ]


def generated(y: list[int], guidance: Any, options: argparse.Namespace, pipe: RFLAVPipeline) -> list[Clip]:
    """Joint generation, one clip a label, ten at a time."""
    made = []
    generator = torch.Generator().manual_seed(options.seed)
    for first in tqdm(range(0, len(y), 10), desc=f"joint {guidance}", unit="batch"):
        made += pipe(options.frames, options.steps_per_frame, y[first : first + 10], guidance, generator)
    return made


def condition_sets(
    options: argparse.Namespace, pipe: RFLAVPipeline, labels: list[int], ranges: Ranges
) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """Names of the sets of clips and how to measure each: joint generation, then both tasks at every scale."""
    classes = len(CLASSES[WORLD])
    measure = partial(figures, ranges=ranges)
    yield "real", lambda: measure(list(real_clips(labels, options.frames)), labels)
    yield "joint", lambda: measure(generated(labels, 1.0, options, pipe), labels)
    given = list(real_clips(labels, options.frames))
    for scale in options.scales or CONDITION_SCALES:
        for task in ("a2v", "v2a"):

            def both(task: str = task, scale: float = scale) -> Figures:
                made = completed(task, scale, given, options, pipe)
                # `asked` is the class of the given side: of the sound's clip in a2v, of the picture's in v2a
                return {
                    **measure(made, labels),
                    "with the given side of another clip of the class": measure(
                        swapped(task, made, classes), labels
                    ),
                    "with the given side of another class": measure(
                        swapped(task, made, 1), labels[1:] + labels[:1]
                    ),
                }

            yield f"{task} {scale:g}", both


def class_sets(
    options: argparse.Namespace, pipe: RFLAVPipeline, labels: list[int], ranges: Ranges
) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """The same for classifier-free guidance."""
    measure = partial(figures, ranges=ranges)

    def guided(guidance: tuple[float, float]) -> Figures:
        return measure(generated(labels, guidance, options, pipe), labels)

    yield "real", lambda: measure(list(real_clips(labels, options.frames)), labels)
    for scale in options.scales or GUIDANCE_SCALES:
        modalities = {"both": (scale, scale), "video": (scale, 1.0), "audio": (1.0, scale)}
        for side, guidance in modalities.items() if scale != 1 else [("both", (1.0, 1.0))]:
            yield f"{side} {scale:g}", partial(guided, guidance)


def change_sets(
    options: argparse.Namespace, pipe: RFLAVPipeline, labels: list[int], ranges: Ranges
) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """The same for streams whose class is changed on the way: what they show and sound like once they have turned."""
    pairs = changes(labels)

    def turned(scale: float) -> Figures:
        made = [changed(pair, scale, n, options, pipe) for n, pair in enumerate(tqdm(pairs, unit="stream"))]
        return figures(made, [after for _, after in pairs], ranges)

    for scale in options.scales or GUIDANCE_SCALES:
        yield f"changed {scale:g}", partial(turned, scale)


def changes(labels: list[int]) -> list[tuple[int, int]]:
    """A class before and another one after for each stream: of n classes in turn, n (n - 1) are all ordered pairs."""
    classes = len(CLASSES[WORLD])
    return [(label, (label + 1 + n // classes % (classes - 1)) % classes) for n, label in enumerate(labels)]


def changed(
    pair: tuple[int, int], guidance: float, number: int, options: argparse.Namespace, pipe: RFLAVPipeline
) -> Clip:
    """The end of a stream that was asked for one class, and from frame `BEFORE_CHANGE` on for another."""
    generator = generator_of(options.seed, number)
    stream = pipe.stream(
        options.steps_per_frame, CHANGE_CHUNK, pair[0], guidance, generator, quick_dtype("cpu")
    )
    chunks = [next(stream) for _ in range(BEFORE_CHANGE // CHANGE_CHUNK)]
    stream.y = pair[1]
    chunks += [next(stream) for _ in range(-(-(TO_TURN + options.frames) // CHANGE_CHUNK))]
    return Clip.concatenate(chunks).part(-options.frames)


SWEEPS = {"conditions": condition_sets, "classes": class_sets, "changes": change_sets}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", choices=SWEEPS)
    parser.add_argument(
        "--clips", type=int, default=20, help="of each set, classes in turn (default: %(default)s)"
    )
    parser.add_argument("--frames", type=int, default=40, help="of each clip (default: %(default)s)")
    parser.add_argument(
        "--steps-per-frame", type=int, default=4, help="N: Euler steps a frame (default: %(default)s)"
    )
    parser.add_argument("--scales", type=float, nargs="+", help="instead of the usual ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    parser.add_argument(
        "--out",
        type=output_file,
        help="JSON file; sets that it holds from the same settings are not made again",
    )
    options = parser.parse_args(arguments)
    classes = len(CLASSES[WORLD])
    if options.clips < 2 * classes or options.clips % classes:
        parser.error(f"--clips must be a multiple of {classes}, at least {2 * classes}, not {options.clips}")
    for name in ("frames", "steps_per_frame"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    options.command = shlex.join(["python", "benchmarks/scales.py", *arguments])
    return options


def begun(options: argparse.Namespace, settings: dict[str, Any]) -> dict[str, Figures]:
    """The sets that a run with the same settings has left in the file."""
    if options.out is None or not options.out.is_file():
        return {}
    report = read_json(options.out)
    sets = report.get("sets") if isinstance(report, dict) else None
    if not isinstance(sets, dict) or report.get("settings") != settings:
        raise ValueError(
            f"{options.out}: no sweep of these weights and settings; give another --out, or delete it"
        )
    return sets


def measured_or_diverged(measure: Callable[[], Figures]) -> Figures:
    """The figures of a set, or that its scale drove the latents beyond all numbers: that is a finding too."""
    try:
        return measure()
    except ValueError as error:
        if "NaN" not in str(error):
            raise
        return {"diverged": str(error)}


def line(name: str, found: Figures) -> str:
    """One set in one line."""
    if "diverged" in found:
        return f"{name:12} diverged: {found['diverged']}"
    keys = ("class seen", "class heard", "seen as heard", "median offset (ms)", "events within 100 ms",
            "picture as usual", "sound as usual")  # fmt: skip
    values = {key: found[key]["value"] for key in keys}  # None in a file, where there was nothing to measure
    cells = [f"{key} {'–' if value is None else format(value, '.2f')}" for key, value in values.items()]
    if "clips with events" in found:  # older files do not tell
        cells.append(f"(events: of {found['clips with events']} of {found['clips']} clips)")
    return f"{name:12} " + "  ".join(cells)


def main(arguments: list[str]) -> int:
    """Measure set after set, print each, and write after each if asked to."""
    options = parse(arguments)
    try:
        with only_writer(options.out) if options.out else nullcontext():
            measure_all(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure_all(options: argparse.Namespace) -> None:
    """The sets that the file does not hold."""
    pipe = RFLAVPipeline.from_pretrained(options.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    names = ("sweep", "clips", "frames", "steps_per_frame", "seed")
    settings = {"weights": fingerprint(pipe), **{name: getattr(options, name) for name in names}}
    labels = [number % len(CLASSES[WORLD]) for number in range(options.clips)]
    ranges = Ranges(options.frames, pipe)
    sets = begun(options, settings)
    for name, measure in SWEEPS[options.sweep](options, pipe, labels, ranges):
        if name not in sets:
            sets[name] = measured_or_diverged(measure)
            if options.out:
                streams = {"dtype": quick_name("cpu")} if options.sweep == "changes" else {}
                report = {
                    "command": options.command,
                    **streams,
                    "settings": settings,
                    "provenance": provenance(),
                    "sets": sets,
                }
                write_json(options.out, report)
        tqdm.write(line(name, sets[name]))


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
