"""The paper's ablations on a toy world: fusions, windows, theta, loss weight, mask, steps per frame, given sides.

    python -m benchmarks.ablations --out results/ablations.json         # 3 seeds; goes on where it was stopped
    python -m benchmarks.ablations --only base window-5 --seeds 0       # a part of it
    python -m benchmarks.ablations --table results/ablations.json       # the tables of what has been measured

Small models (`rflav_lib.experiments.SMALL`) of toy-landscape. Every setting changes one thing of `base` and gets the
same budget: steps, batch, clips, windows' order and noise by seed. Seed by seed all settings are done, so a run that
is stopped has whole comparisons; Ctrl-C loses the setting that it was at, a training not even that. What is measured,
what it is compared with, and what it costs: benchmarks/README.md.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm.auto import tqdm

from benchmarks import ablations_cost, study
from rflav_lib import experiments
from rflav_lib.allocator import keep_freed_memory
from rflav_lib.data.seeds import GIVEN_SEED, REFERENCE_SEED, control_seed
from rflav_lib.data.toy import CLASSES
from rflav_lib.media import Clip
from rflav_lib.metrics.comparison import interval
from rflav_lib.metrics.distances import frechet
from rflav_lib.metrics.toy import WORLD, read_clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import provenance
from rflav_lib.view import ablations as ablations_view

N = 4
"""Steps per frame of all settings that do not say otherwise."""
FEATURE_FRAMES = 16
"""Frames of the windows that the stand-ins of I3D and AudioCLIP see, as in the paper."""
BATCH = 20


@dataclass(frozen=True)
class Setting:
    """One line of the tables.

    Attributes:
        train: changes to the training configuration; settings without any share the model of `base`.
        steps: N.
        source: how its clips come about: "joint", "a2v", "v2a", "real", or "codecs" (real clips through the codecs).
    """

    train: Mapping[str, Any] = field(default_factory=dict)
    steps: int = N
    source: str = "joint"


SETTINGS: dict[str, Setting] = {
    "real": Setting(source="real"),
    "base": Setting(),
    "joint_attention": Setting({"fusion": "joint_attention"}),
    "average": Setting({"fusion": "average"}),
    "window-5": Setting({"window": 5}),
    "window-20": Setting({"window": 20}),
    "theta-0.1": Setting({"preroll_probability": 0.1}),
    "theta-0.5": Setting({"preroll_probability": 0.5}),
    "uniform": Setting({"weighting": "uniform"}),
    "full-attention": Setting({"causal": False}),
    "steps-1": Setting(steps=1),
    "steps-2": Setting(steps=2),
    "steps-10": Setting(steps=10),
    "steps-20": Setting(steps=20),
    "a2v": Setting(source="a2v"),
    "v2a": Setting(source="v2a"),
    "codecs": Setting(source="codecs"),
}


def labels(count: int) -> list[int]:
    """Classes asked for, in turn."""
    return experiments.labels_in_turn(count, len(CLASSES[WORLD])) or []


def completed(pipe: RFLAVPipeline, setting: Setting, options: argparse.Namespace, seed: int) -> list[Clip]:
    """Unseen real clips whose picture (a2v) or sound (v2a) is made anew, their class told as in joint generation."""
    given = experiments.real(WORLD, options.clips, options.frames, GIVEN_SEED)
    generator, made = torch.Generator().manual_seed(seed), []
    for first in tqdm(range(0, len(given), BATCH), desc=setting.source, unit="batch"):
        part = given[first : first + BATCH]
        side: dict[str, Any] = {"audio" if setting.source == "a2v" else "video": part}
        y = labels(options.clips)[first : first + BATCH]
        made += pipe(steps_per_frame=setting.steps, generator=generator, y=y, **side)
    return made


def clips_of(pipe: RFLAVPipeline, setting: Setting, options: argparse.Namespace, seed: int) -> list[Clip]:
    """The clips that a setting is judged by."""
    if setting.source == "joint":
        return experiments.made(pipe, options.clips, options.frames, setting.steps, seed, BATCH)
    if setting.source in ("a2v", "v2a"):
        return completed(pipe, setting, options, seed)
    real = experiments.real(WORLD, options.clips, options.frames, control_seed(seed))
    if setting.source == "real":
        return real
    return experiments.coded(real, pipe, "through the codecs")


def figures(pipe: RFLAVPipeline, clips: Sequence[Clip], options: argparse.Namespace) -> dict[str, Any]:
    """What trackers read from clips, and the distances of picture and sound from real clips, with their intervals."""
    readings = [read_clip(clip, asked, pipe) for clip, asked in zip(clips, labels(len(clips)), strict=True)]
    offsets = [abs(r.offset_ms) for r in readings if r.offset_ms is not None]
    close = [r.share_close for r in readings if not math.isnan(r.share_close)]
    found: dict[str, Any] = {
        "class seen": statistics.mean(r.seen == r.asked for r in readings),
        "class heard": statistics.mean(r.heard == r.asked for r in readings),
        "median offset (ms)": statistics.median(offsets) if offsets else None,
        "events within 100 ms": statistics.mean(close) if close else None,
        "clips with events": len(close),
        "clips with an offset": len(offsets),
    }
    reference = experiments.real(WORLD, options.clips, options.frames, REFERENCE_SEED)
    ours, real = (experiments.windows(part, FEATURE_FRAMES) for part in (clips, reference))
    for side in experiments.SIDES:
        theirs, made = (part[side].values.flatten(0, 1) for part in (real, ours))
        distance = frechet(theirs, made)
        low, high = interval(theirs, made, frechet, distance, options.resamples, seed=0)
        found[f"{side} distance"] = {"value": distance, "low": low, "high": high, "windows": len(theirs)}
    return found


def run(name: str, seed: int, options: argparse.Namespace) -> study.Run:
    """Train the model of a setting (or find it trained), sample and measure."""
    setting = SETTINGS[name]
    changes = {**setting.train, "max_steps": options.steps}
    model = name if setting.train else "base"
    pipe = experiments.opened(experiments.trained(model, changes, seed, options.folder / "models"))
    clips = clips_of(pipe, setting, options, seed)
    return {"setting": name, "seed": seed, **budget(options), "figures": figures(pipe, clips, options),
            "provenance": provenance()}  # fmt: skip


def budget(options: argparse.Namespace) -> dict[str, int]:
    """What is the same for all runs that may be compared."""
    return {"training steps": options.steps, "clips": options.clips, "frames": options.frames}


def report(
    runs: Sequence[study.Run], costs: Mapping[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """All that was measured, ready for JSON."""
    return {
        "command": options.command,
        "provenance": provenance(),
        "setting": {
            "world": WORLD, **budget(options), "steps per frame": N, "model": experiments.SMALL,
            "changes": {name: dict(setting.train) for name, setting in SETTINGS.items() if setting.train},
            "features": f"stand-in toy watcher and toy listener, windows of {FEATURE_FRAMES} frames",
        },
        "costs": dict(costs),
        "runs": list(runs),
    }  # fmt: skip


def parse(
    arguments: list[str],
    about: str = __doc__,
    settings: Iterable[str] = SETTINGS,
    program: str = "python -m benchmarks.ablations",
) -> argparse.Namespace:
    """Options of the command line, of this study or one that measures clips as it does; exits with one clear line if
    they do not make sense.
    """
    about = about.split("\n\n")[0]
    made = study.parser(about, settings, "outputs/ablations", 100, "measured of each model, classes in turn")
    made.add_argument("--frames", type=int, default=40, help="of each clip (default: %(default)s)")
    made.add_argument(
        "--resamples", type=int, default=100, help="for the intervals of distances (default: %(default)s)"
    )
    return study.parsed(
        made,
        arguments,
        program,
        {"steps": 1, "clips": 10, "frames": 20, "resamples": 2, "threads": 1},
    )


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing; the report so far is written after each run."""
    costs = experiments.kept(options.folder / "costs.json", lambda: ablations_cost.costs(SETTINGS))
    return study.measured(
        options, SETTINGS, "runs", run, budget(options), lambda runs: report(runs, costs, options)
    )


def main(arguments: list[str]) -> int:
    """Measure, write, and print the tables."""
    return study.carried_out(parse(arguments), measure_all, ablations_view.tables)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
