"""Small experiments: train a small model of a toy world with a few settings changed, sample it, measure it.

What the benchmarks that compare settings have in common. Each step can be stopped and goes on where it was: a
training from its checkpoint, a comparison from the results that `kept` has written.

    folder = trained("base", {}, seed=0, folder="outputs/experiments")
    pipe = opened(folder)
    clips = made(pipe, count=20, num_frames=40, steps_per_frame=4, seed=0)
    figures = measured(pipe, clips)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from scipy import stats
from tqdm.auto import tqdm

from rflav_lib import ROOT
from rflav_lib.data.seeds import CONTROL_SEED
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.files import read_json, write_json
from rflav_lib.media import Clip
from rflav_lib.metrics.longform import WindowFeatures, window_features, window_starts
from rflav_lib.metrics.toy import WORLD, read_clip, summarise, through_codecs, world_of
from rflav_lib.metrics.toy_classifier import ToyListener, ToyWatcher
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train import run_to_the_end
from rflav_lib.train_config import TrainConfig

BASE = ROOT / "configs" / "toy-landscape.yaml"
SMALL: dict[str, Any] = {
    "clips": 1200, "hidden_size": 96, "depth": 3, "num_heads": 3, "max_steps": 1200, "learning_rate": 2e-3,
    "warmup_steps": 100, "ema_decay": 0.995, "preroll_probability": 0.2, "fused_optimizer": True,
    "log_every": 50, "sample_every": 10**9, "sample_frames": 0, "checkpoint_every": 200, "keep_checkpoints": 1,
    "tracker": "none",
}  # fmt: skip
"""What turns `configs/toy-landscape.yaml` into a model of 1.4 M parameters that trains in minutes, by the paper's
method: its theta is 0.2."""
FINE_TUNED: dict[str, Any] = {
    "start_from": "outputs/toy-landscape/pipeline", "max_steps": 500, "learning_rate": 3e-4, "warmup_steps": 50,
    "ema_decay": 0.99, "fused_optimizer": True,
    "log_every": 50, "sample_every": 10**9, "sample_frames": 0, "checkpoint_every": 100, "keep_checkpoints": 1,
    "tracker": "none",
}  # fmt: skip
"""What makes `configs/toy-landscape.yaml` train on from where it ended: for questions that only a good model can
answer, such as what happens to it after the first window."""
EQUAL = 1e-9  # of a value: rounding
SIDES = ("picture", "sound")
"""What features and distances are taken of, see `windows`."""


def trained(
    name: str,
    overrides: Mapping[str, Any],
    seed: int,
    folder: str | Path,
    base: Mapping[str, Any] | None = None,
) -> Path:
    """Train `base` (`SMALL` by default) with `overrides`, or finish it, or find it finished; returns the pipeline.

    The seed decides everything: clips, weights, windows, noise. So two runs of one seed differ by `overrides` alone.

    Raises:
        ValueError: a setting that cannot work, or `folder` holds a run of this name and seed with other settings.
    """
    settings = {
        **(SMALL if base is None else base),
        **overrides,
        "seed": seed,
        "output_dir": str(Path(folder) / name / f"seed-{seed}"),
    }
    config = TrainConfig.from_yaml(BASE, **settings)
    run_to_the_end(config)
    return config.output_path / "pipeline"


def opened(folder: str | Path) -> RFLAVPipeline:
    """The pipeline of a trained model, without its own progress bars."""
    pipeline = RFLAVPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def labels_in_turn(count: int, num_classes: int) -> list[int] | None:
    """0, 1, ..., and again, so that all classes are there equally often; None without classes."""
    return [index % num_classes for index in range(count)] if num_classes else None


def made(
    pipeline: RFLAVPipeline, count: int, num_frames: int, steps_per_frame: int, seed: int, batch: int = 20,
    **settings: Any,
) -> list[Clip]:  # fmt: skip
    """`count` clips, the classes in turn; `settings` go to the pipeline. A function of `seed` and `batch`."""
    labels = labels_in_turn(count, pipeline.transformer.config.num_classes)
    generator, clips = torch.Generator().manual_seed(seed), []
    with tqdm(total=count, desc="samples", unit="clip") as bar:
        for first in range(0, count, batch):
            part = min(batch, count - first)
            y = None if labels is None else labels[first : first + part]
            clips += pipeline(num_frames, steps_per_frame, y, generator=generator, num_clips=part, **settings)
            bar.update(part)
    return clips


def real(world: str, count: int, num_frames: int, seed: int = CONTROL_SEED) -> list[Clip]:
    """`count` real clips, the classes in turn."""
    labels: Sequence[int | None] = labels_in_turn(count, len(CLASSES[world])) or [None] * count
    return [make_clip(world, seed, index, num_frames, label).clip for index, label in enumerate(labels)]


def coded(clips: Sequence[Clip], pipeline: RFLAVPipeline, name: str, streamed: bool = False) -> list[Clip]:
    """Clips through image codec, mel and vocoder, as generated ones come out of them; `name` stands at the bar.

    `streamed` for what stands beside clips of `pipeline.stream`, whose sound is decoded piece by piece.

    Beside clips that only a camera has touched, a model would be blamed for what its codecs do.
    """
    return [through_codecs(clip, pipeline, streamed) for clip in tqdm(clips, desc=name, unit="clip")]


def measured(pipeline: RFLAVPipeline, clips: Sequence[Clip]) -> dict[str, dict[str, float]]:
    """What the trackers of toy-landscape read from clips whose classes come in turn, with 95 % intervals.

    See `rflav_lib.metrics.toy`: class seen, class heard, offset of sound and picture, share of events in time.

    Raises:
        ValueError: the model is of another world, as of toy-dance or toy-pillar.
    """
    if (world := world_of(pipeline)) != WORLD:
        raise ValueError(f"these trackers read {WORLD}: the model is of {world}")
    labels = [index % len(CLASSES[WORLD]) for index in range(len(clips))]
    return summarise([read_clip(clip, asked, pipeline) for clip, asked in zip(clips, labels, strict=True)])


def windows(clips: Sequence[Clip], size: int, stride: int | None = None) -> dict[str, WindowFeatures]:
    """Features of windows of `size` frames by the toy watcher ("picture") and the toy listener ("sound").

    Both are stand-ins for I3D and AudioCLIP that know the toy worlds alone: name them where figures are shown.

    Args:
        clips: all of one length.
        size: frames of a window.
        stride: frames from one window to the next; `size` by default, so that windows do not overlap.
    """
    stride = stride or size
    watcher, listener = ToyWatcher.load(), ToyListener.load()
    with torch.no_grad():
        picture = window_features([clip.frames for clip in clips], watcher.features, size, stride)
    starts = window_starts(len(clips[0]), size, stride)
    found = []
    with torch.no_grad():
        for start in starts:
            pieces = np.stack([clip.part(start, start + size).waveform for clip in clips])
            found.append(listener.features(torch.from_numpy(pieces)).double())
    values = rearrange(torch.cat(found), "(w n) d -> w n d", n=len(clips))
    return {"picture": picture, "sound": WindowFeatures(tuple(starts), values, size)}


def over_seeds(values: Sequence[float]) -> dict[str, float]:
    """Mean of one figure over trainings of different seeds, and its 95 % interval by Student's t.

    With three seeds the interval is 4.3 standard errors wide to either side: little is certain after three runs.
    NaN at both ends for a single value, and for equal ones, as shares of few clips may be by luck: that trainings do
    not differ at all cannot be learned from them.
    """
    mean, count = float(np.mean(values)), len(values)
    if count < 2 or np.ptp(values) <= EQUAL * np.max(np.abs(values)):
        return {"value": mean, "low": math.nan, "high": math.nan}
    half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return {"value": mean, "low": mean - half, "high": mean + half}


def kept(
    file: str | Path, work: Callable[[], dict[str, Any]], budget: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What `file` holds; if it is not there, what `work` returns is first written to it as JSON, whole or not at all.

    Raises:
        ValueError: a file that is not readable as JSON, or that does not hold the values of `budget`.
    """
    file = Path(file)
    if not file.is_file():
        write_json(file, work())
    found = read_json(file, advice="delete it to measure anew")
    if not isinstance(found, dict):
        raise ValueError(f"{file}: holds no figures by name; delete it to measure anew")
    for key, value in (budget or {}).items():
        if found.get(key) != value:
            raise ValueError(f"{file}: measured with {found.get(key)} {key}, not {value}; use another folder")
    return found
