"""How well a model of toy-landscape does what it was asked, beside the same trackers on real clips.

    python -m rflav_lib.metrics.toy checkpoints/toy-landscape [--clips 200] [--out results/toy-landscape.json]

The worlds are made from known events, so class and synchrony of *generated* clips are measured exactly, without
a downloaded network. Real clips go through the same trackers twice: as they are, and through the codecs (image
VAE, mel, vocoder), which no model can beat.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.data.toy_trackers import audible_class, av_offset, visual_class
from rflav_lib.files import whole
from rflav_lib.image_codec import encode_frames
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import provenance

WORLD = "toy-landscape"
UNSEEN_SEED = 2_000_003  # real clips for comparison: no training run draws from this seed
CLOSE_MS = 100


@dataclass(frozen=True)
class Reading:
    """What the trackers read from one clip.

    Attributes:
        asked, seen, heard: label asked for, and read from pixels and from sound; None where nothing was
            recognised.
        offset_ms: median of sound minus picture; None where no event matched.
        share_close: share of the events seen that have their sound within 100 ms; NaN where none was seen.
    """

    asked: int
    seen: int | None
    heard: int | None
    offset_ms: float | None
    share_close: float


def read_clip(clip: Clip, asked: int, pipeline: RFLAVPipeline) -> Reading:
    """Run all trackers on a clip; the sound is read from its log-mel, with the pipeline's settings."""
    log_mel = pipeline.mel.log_mel(torch.from_numpy(clip.waveform))[0].numpy()
    offset = av_offset(clip.frames, log_mel, asked)
    milliseconds = None if math.isnan(offset.seconds) else 1000 * offset.seconds
    return Reading(asked, visual_class(clip.frames), audible_class(log_mel), milliseconds, offset.share)


def generated_clips(
    pipeline: RFLAVPipeline,
    labels: Sequence[int],
    num_frames: int,
    steps_per_frame: int,
    seed: int,
    batch: int = 10,
) -> Iterator[Clip]:
    """One clip for each label, generated in batches from one seed."""
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, len(labels), batch):
        yield from pipeline(
            num_frames, steps_per_frame, list(labels[first : first + batch]), generator=generator
        )


def real_clips(labels: Sequence[int], num_frames: int) -> Iterator[Clip]:
    """One unseen real clip for each label."""
    for index, label in enumerate(labels):
        yield make_clip(WORLD, UNSEEN_SEED, index, num_frames, label).clip


def through_codecs(clip: Clip, pipeline: RFLAVPipeline) -> Clip:
    """Encode and decode a clip: what is left of a real clip when only the codecs have touched it."""
    video = encode_frames(pipeline.vae, clip.frames)[None]
    return pipeline.decode(video, pipeline.mel.encode(torch.from_numpy(clip.waveform), clip.sample_rate))[0]


def share_with_interval(hits: Iterable[bool]) -> dict[str, float]:
    """A share and its 95 % Wilson interval."""
    hits = list(hits)
    n, p, z = len(hits), float(np.mean(hits)), 1.96
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return {"value": p, "low": max(0.0, centre - half), "high": min(1.0, centre + half)}


def median_with_interval(values: Sequence[float], seed: int = 0) -> dict[str, float]:
    """A median and its 95 % bootstrap interval (1000 resamples); NaN where there is nothing."""
    if not values:
        return dict.fromkeys(("value", "low", "high"), math.nan)
    resamples = np.random.default_rng(seed).choice(np.asarray(values), (1000, len(values)))
    low, high = np.quantile(np.median(resamples, axis=1), (0.025, 0.975))
    return {"value": float(np.median(values)), "low": float(low), "high": float(high)}


def summarise(readings: Sequence[Reading]) -> dict[str, dict[str, float]]:
    """The figures of a set of clips, each with its 95 % interval."""
    return {
        "asked class seen": share_with_interval(reading.seen == reading.asked for reading in readings),
        "asked class heard": share_with_interval(reading.heard == reading.asked for reading in readings),
        "clips with a measurable offset": share_with_interval(
            reading.offset_ms is not None for reading in readings
        ),
        "median size of A/V offset (ms)": median_with_interval(
            [abs(r.offset_ms) for r in readings if r.offset_ms is not None]
        ),
        "median share of events within 100 ms": median_with_interval(
            [r.share_close for r in readings if not math.isnan(r.share_close)]
        ),
    }


def measure(
    pipeline: RFLAVPipeline, clips: int, num_frames: int, steps_per_frame: int, seed: int, codecs: bool = True
) -> dict[str, list[Reading]]:
    """Readings of generated clips, real clips and, with `codecs`, real clips through the codecs; classes in turn."""
    labels = [index % len(CLASSES[WORLD]) for index in range(clips)]
    sets = {
        "generated": generated_clips(pipeline, labels, num_frames, steps_per_frame, seed),
        "real": real_clips(labels, num_frames),
    }
    if codecs:
        sets["real through codecs"] = (
            through_codecs(clip, pipeline) for clip in real_clips(labels, num_frames)
        )
    return {
        name: [
            read_clip(clip, label, pipeline)
            for clip, label in zip(tqdm(clips_of, desc=name, total=clips, unit="clip"), labels, strict=True)
        ]
        for name, clips_of in sets.items()
    }


def table(summaries: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a row a figure, a column a set."""
    names = list(summaries)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for figure in next(iter(summaries.values())):
        cells = (summaries[name][figure] for name in names)
        unit, scale = ("", 1) if "ms)" in figure else (" %", 100)
        shown = [
            f"{scale * c['value']:.1f}{unit} ({scale * c['low']:.1f}-{scale * c['high']:.1f})" for c in cells
        ]
        lines.append(f"| {figure} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def per_class(readings: Sequence[Reading]) -> dict[str, dict[str, dict[str, float]]]:
    """`summarise` for each class on its own."""
    names = CLASSES[WORLD]
    return {name: summarise([r for r in readings if r.asked == label]) for label, name in enumerate(names)}


def main(arguments: list[str] | None = None) -> int:
    """Print the table; with --out, write everything as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.metrics.toy", description=__doc__.splitlines()[0]
    )
    parser.add_argument("checkpoint", help="pipeline folder of a toy-landscape model")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--steps-per-frame", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-codecs", action="store_true", help="leave out real clips through the codecs")
    parser.add_argument("--out", type=Path, help="JSON file for figures, intervals and single readings")
    options = parser.parse_args(arguments)
    if options.clips < len(CLASSES[WORLD]):
        parser.error(f"--clips must be at least {len(CLASSES[WORLD])}, one a class")
    try:
        pipeline = RFLAVPipeline.from_pretrained(options.checkpoint)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    pipeline.set_progress_bar_config(disable=True)
    settings = options.clips, options.frames, options.steps_per_frame, options.seed
    readings = measure(pipeline, *settings, codecs=not options.no_codecs)
    summaries = {name: summarise(of) for name, of in readings.items()}
    print(f"{options.checkpoint}: {options.clips} clips of {options.frames} frames", end=", ")
    print(f"N = {options.steps_per_frame}, seed {options.seed}; value (95 % interval)\n")
    print(f"{table(summaries)}\n\ngenerated, by class\n")
    print(table(per_class(readings["generated"])))
    if options.out:
        report = {
            "command": " ".join(["python -m rflav_lib.metrics.toy", *(arguments or sys.argv[1:])]),
            **provenance(),
            "figures": summaries,
            "by class": {name: per_class(of) for name, of in readings.items()},
            "readings": {name: [asdict(reading) for reading in of] for name, of in readings.items()},
        }
        with whole(options.out) as draft:
            draft.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
