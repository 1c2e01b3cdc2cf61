"""The jump after the first window (the paper's Fig. 5), and what helps against it.

    python benchmarks/drift.py --out results/drift.json                            # hours; go on with the same command
    python benchmarks/drift.py --only paper context --seeds 0 1                    # some of it
    python benchmarks/drift.py --steps 20 --clips 10 --windows 3 --seeds 0         # to try it
    python benchmarks/drift.py --table results/drift.json                          # the table of what has been measured

A toy-landscape (what `python -m rflav_lib.train configs/toy-landscape.yaml` leaves, an hour's work to be done first) is
trained further for the same steps on windows of the same clips: by the paper's method, and with one remedy each.
(Small models trained from nothing do not show the jump: they are worst in the first window.)
Every model makes long clips, which are cut into windows of the schedule's length that do not overlap.
Window by window, beside real clips that went through the codecs:

    picture, sound     Fréchet distance to real windows, of features by the toy watcher and the toy listener: stand-ins
                       for FVD and FAD that know the toy worlds alone
    moved              how far a clip's picture features are from those of its own first window (Fig. 5's purple line)
    trackers           class seen, class heard, offset of sound and picture

The `increase` is the last window's distance minus the first one's. Remedies are set against the paper's clip by clip:
intervals of the difference come from the same draws of both. They are over clips, within their classes, for these very
models: what another training would change is not in them; more --seeds tell a little of it. `shares`, what each clip
adds to the increase, is all that they need, so the report can be summed up anew without the clips.

Every remedy and seed has its own file in --folder, so whatever ends the run loses at most one sampling; trainings go on
from their checkpoints. Then one JSON.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, nothing needs to be installed

from benchmarks import study
from rflav_lib import ROOT, experiments
from rflav_lib.allocator import keep_freed_memory
from rflav_lib.data.seeds import REFERENCE_SEED
from rflav_lib.data.toy import CLASSES
from rflav_lib.media import Clip
from rflav_lib.metrics.curves import Curve
from rflav_lib.metrics.distances import frechet
from rflav_lib.metrics.longform import WindowFeatures, distance_curve, drift_curve
from rflav_lib.metrics.toy import WORLD
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.precision import AUTO, PRECISIONS
from rflav_lib.provenance import provenance
from rflav_lib.view import remedies

WINDOW = 10
RESAMPLES = 1000
REFERENCE_CLIPS, REFERENCE_FRAMES, REFERENCE_STRIDE = 100, 40, 5
Figures = dict[str, Any]


@dataclass(frozen=True)
class Remedy:
    """What differs from the paper's method: settings of the training, and of the sampling.

    `model` names the remedy whose model is used; its own by default.
    """

    about: str
    training: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    model: str | None = None

    @property
    def cost(self) -> float:
        """Training work over the paper's for as many steps, by count: a backward is two forwards."""
        training = self._trained
        steps = training.get("rollout_steps", 1) if training.get("rollout_probability") else 0
        return self._frames * (1 + steps / 3)

    @property
    def sampling_cost(self) -> float:
        """Work of a further frame over the paper's, by count: guidance takes a second sample through the network."""
        return self._frames * (2 if self.sampling.get("guidance_scale", 1) != 1 else 1)

    @property
    def _frames(self) -> float:
        """Frames that the network takes, over those of the window alone."""
        return 1 + (self._trained.get("sink_frames", 0) + self._trained.get("context_frames", 0)) / WINDOW

    @property
    def _trained(self) -> dict[str, Any]:
        """How its model was trained."""
        return REMEDIES[self.model].training if self.model else self.training


REMEDIES = {
    "paper": Remedy("the paper's method"),
    "context": Remedy("the last 3 emitted frames stay visible", {"context_frames": 3}),
    "sink": Remedy("the first 2 frames of the stream stay visible", {"sink_frames": 2}),
    "sink and context": Remedy("1 sink, 2 context frames", {"sink_frames": 1, "context_frames": 2}),
    "roll-outs": Remedy("half of the samples come from a step of the model itself", {"rollout_probability": 0.5}),
    "transition": Remedy("times between pre-rolling and rolling", {"transition_probability": 0.3}),
    "history noise": Remedy("up to 0.2 of extra noise on clean frames", {"history_noise": 0.2}),
    "warm": Remedy("9 frames are made and thrown away first", sampling={"warm_frames": 9}, model="paper"),
    "guidance": Remedy("classifier-free guidance of 2", sampling={"guidance_scale": 2.0}, model="paper"),
    "memory and transition": Remedy("1 sink, 2 context frames, and times between pre-rolling and rolling",
                                    {"sink_frames": 1, "context_frames": 2, "transition_probability": 0.3}),
    "guided sink and context": Remedy("1 sink, 2 context frames, and guidance of 2", sampling={"guidance_scale": 2.0},
                                      model="sink and context"),
}  # fmt: skip


def parts(clip: Clip, size: int) -> list[Clip]:
    """A clip in pieces of `size` frames; what is left over at the end is dropped."""
    return [clip.part(first, first + size) for first in range(0, len(clip) - size + 1, size)]


def figures(clips: Sequence[Clip], pipe: RFLAVPipeline, reference: dict[str, torch.Tensor]) -> Figures:
    """Everything that is measured on one set of long clips."""
    found = experiments.windows(clips, WINDOW)
    result: Figures = {side: side_figures(found[side], reference[side]) for side in experiments.SIDES}
    result["moved"] = rounded(drift_curve(found["picture"], RESAMPLES, classes=classes(len(clips))))
    cut = [parts(clip, WINDOW) for clip in clips]
    result["trackers"] = [
        experiments.measured(pipe, window)
        for window in tqdm(list(zip(*cut, strict=True)), desc="trackers", unit="window")
    ]
    return result


def side_figures(windows: WindowFeatures, reference: torch.Tensor) -> Figures:
    """The distance of every window; the increase from the first to the last, and each clip's share (n,) in it."""
    clips = windows.values.shape[1]
    curve = distance_curve(windows, reference, frechet, RESAMPLES, classes=classes(clips))
    return {
        **rounded(curve),
        "increase": float(curve.value[-1] - curve.value[0]),
        "shares": (curve.shares[:, -1] - curve.shares[:, 0]).round(6).tolist(),
    }


def classes(clips: int) -> list[int] | None:
    """The class of each clip, real or made."""
    return experiments.labels_in_turn(clips, len(CLASSES[WORLD]))


def rounded(curve: Curve) -> Figures:
    """A curve for JSON, with its 95 % intervals."""
    return {name: getattr(curve, name).round(4).tolist() for name in ("value", "low", "high")}


def setting(options: argparse.Namespace) -> Figures:
    """What is the same for all sets that may be compared."""
    return {
        "steps": options.steps, "clips": options.clips, "windows": options.windows, "window": WINDOW,
        "steps_per_frame": options.steps_per_frame, "intervals": "over clips, within classes",
    }  # fmt: skip


def kept(options: argparse.Namespace, name: str, work: Callable[[], Figures]) -> Figures:
    """Figures from their file in the folder, or measured now."""
    shared = {"setting": setting(options)}
    return experiments.kept(options.folder / f"{name}.json", lambda: {**shared, **work()}, shared)


def model_of(name: str, options: argparse.Namespace) -> str:
    """The folder of the model that a remedy uses."""
    return f"{(REMEDIES[name].model or name).replace(' ', '-')}-{options.steps}"


def run(name: str, seed: int, options: argparse.Namespace) -> Figures:
    """Train, sample and measure one remedy with one seed, or what is left of it to do."""
    remedy = REMEDIES[name]
    changes = {
        **REMEDIES[remedy.model or name].training,
        "max_steps": options.steps,
        "precision": options.precision,
    }
    changes["warmup_steps"] = min(experiments.FINE_TUNED["warmup_steps"], options.steps)
    check_start(experiments.FINE_TUNED["start_from"])
    pipe = experiments.opened(
        experiments.trained(
            model_of(name, options), changes, seed, options.folder / "models", experiments.FINE_TUNED
        )
    )
    frames = options.windows * WINDOW
    clips = experiments.made(pipe, options.clips, frames, options.steps_per_frame, seed, **remedy.sampling)
    return {"setting": setting(options), **figures(clips, pipe, reference(pipe, options))}


def real(options: argparse.Namespace) -> Figures:
    """The same figures of real clips, through the codecs of a trained model: no model can be nearer."""
    seed, name = options.seeds[0], options.only[0]
    pipe = experiments.opened(
        options.folder / "models" / model_of(name, options) / f"seed-{seed}" / "pipeline"
    )
    clips = experiments.real(WORLD, options.clips, options.windows * WINDOW)
    return figures(experiments.coded(clips, pipe, "real clips"), pipe, reference(pipe, options))


def reference(pipe: RFLAVPipeline, options: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Features (n 64) of real windows of each side, through the codecs; measured once."""
    stored = kept(options, "reference", partial(reference_features, pipe))
    return {side: torch.tensor(stored[side], dtype=torch.float64) for side in experiments.SIDES}


def reference_features(pipe: RFLAVPipeline) -> Figures:
    """These features, ready for JSON."""
    clips = experiments.real(WORLD, REFERENCE_CLIPS, REFERENCE_FRAMES, REFERENCE_SEED)
    found = experiments.windows(experiments.coded(clips, pipe, "reference"), WINDOW, REFERENCE_STRIDE)
    return {side: found[side].values.flatten(0, 1).numpy().round(6).tolist() for side in experiments.SIDES}


def check_start(place: str) -> None:
    """Raise a ValueError that says what to do where there is no model yet to be trained further."""
    if place and not (ROOT / place / "model_index.json").is_file():
        raise ValueError(
            f"{ROOT / place}: no model is there to be trained further; "
            f"make it first (an hour): python -m rflav_lib.train configs/{experiments.BASE.name}"
        )


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    made = study.parser(__doc__.splitlines()[0], REMEDIES, str(ROOT / "outputs" / "drift"), 80, "of each set")
    made.set_defaults(only=list(REMEDIES), steps=experiments.FINE_TUNED["max_steps"])
    made.add_argument("--windows", type=int, default=10, help="of each clip (default: %(default)s)")
    made.add_argument(
        "--steps-per-frame", type=int, default=2, help="N: Euler steps a frame (default: %(default)s)"
    )
    made.add_argument("--precision", choices=PRECISIONS, default=AUTO, help="of the training (default: auto)")
    least = {"steps": 1, "windows": 2, "steps_per_frame": 1, "threads": 1, "clips": len(CLASSES[WORLD])}
    return study.parsed(made, arguments, "python benchmarks/drift.py", least)


def report(runs: Sequence[Figures], options: argparse.Namespace) -> Figures:
    """All that was measured, ready for JSON."""
    by_remedy: dict[str, dict[str, Figures]] = {}
    for (name, seed), found in zip(study.order(options, options.only), runs, strict=False):
        by_remedy.setdefault(name, {})[str(seed)] = found
    return {
        "command": options.command, **provenance(), "setting": setting(options), "seeds": options.seeds,
        "base": {"config": "configs/toy-landscape.yaml", **experiments.FINE_TUNED, "max_steps": options.steps},
        "remedies": {
            name: {"about": r.about, "training": r.training, "sampling": r.sampling,
                   "training cost": round(r.cost, 2), "sampling cost": round(r.sampling_cost, 2)}
            for name, r in ((name, REMEDIES[name]) for name in by_remedy)
        },
        "summary": remedies.summary(by_remedy), "real": kept(options, "real", partial(real, options)),
        "runs": by_remedy,
    }  # fmt: skip


def tables(content: Figures) -> str:
    """The summary of all remedies, and of real clips beside them."""
    beside = remedies.summary({"real": {"0": content["real"]}})
    return remedies.table({**content["summary"], **beside})


def measure_all(options: argparse.Namespace) -> Figures:
    """Run what is missing; the report so far is written after each run."""
    budget = {"setting": setting(options)}
    return study.measured(options, options.only, "", run, budget, lambda runs: report(runs, options))


def main(arguments: list[str]) -> int:
    """Measure, write, and print the table."""
    return study.carried_out(parse(arguments), measure_all, tables)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
