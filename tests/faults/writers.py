"""What writes files here: each writes one thing into a folder, and says which path an error must name."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from data_scripts.published import Locked, LockFile
from rflav_lib import checkpoints, experiments, run_folder
from rflav_lib.evaluation.clip_sets import ClipSet
from rflav_lib.evaluation.tables import write_tables
from rflav_lib.media import Clip
from rflav_lib.metrics.feature_set import FeatureSet, Origin
from rflav_lib.metrics.long_clips import _write as write_long_clip
from rflav_lib.metrics.toy import Reading
from rflav_lib.metrics.toy.report import Measurement
from rflav_lib.train_config import TrainConfig
from rflav_lib.view.study_answers import Answers, Pair, Study
from tests.tiny import tiny_pipeline, tiny_vae

LONG = "x" * 100_000  # what no limit of a few thousand bytes lets through


def clip(seed: int) -> Clip:
    """Noise: it does not become small when it is packed."""
    rng = np.random.default_rng(seed)
    return Clip(rng.integers(0, 255, (8, 64, 64, 3), np.uint8), rng.random(12800, np.float32) - 0.5)


def write_features(folder: Path, seed: int) -> None:
    """A file of features."""
    origin = Origin("data", 9, seed, "network", "layer", "none", "none", (("torch", "2"),))
    FeatureSet(torch.full((9, 5000), float(seed)), origin).save(folder / "target.safetensors")


def write_shard(folder: Path, seed: int) -> None:
    """A shard of an evaluation's clips."""
    ClipSet(folder, "clips", 1, 1, lambda numbers: {}).write(range(1), lambda numbers: [clip(seed)])


def write_checkpoint(folder: Path, seed: int) -> None:
    """A checkpoint of a training run."""
    tensors = {"weight": torch.full((50_000,), float(seed))}
    snapshot = checkpoints.Snapshot(tensors, tensors, tensors, {"step": 3, "seed": seed})
    checkpoints.write_checkpoint(folder, snapshot)


def write_pipeline(folder: Path, seed: int) -> None:
    """A pipeline folder."""
    tiny_pipeline().save_whole(folder / "target")


def write_codec(folder: Path, seed: int) -> None:
    """A codec in training."""
    from rflav_lib import train_codec

    pool = train_codec.FramePool(1, seed, ("toy-landscape",))
    pool.draw = lambda count: train_codec.FramePool.draw(pool, 8)
    train_codec.save_codec(tiny_vae(), pool, folder / "target")


def write_measurement(folder: Path, seed: int) -> None:
    """A measurement of a toy model."""
    reading = Reading(None, None, None, float(seed))
    measurement = Measurement({"world": "toy-dance", "seed": seed}, {"real": [reading]}, [{"commit": LONG}])
    measurement.write(folder / "target.json", "python")


def write_answer(folder: Path, seed: int) -> None:
    """A line of the user study."""
    pair = Pair(f"{LONG} {seed}", (folder, folder))
    study = Study(("one", "two"), (pair,), 0)
    chosen = {"quality": "left", "alignment": "right"}
    Answers(folder / "target.csv").append(study, study.trials("me")[0], "me", chosen)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "features": write_features,
    "shard of clips": write_shard,
    "checkpoint": write_checkpoint,
    "pipeline": write_pipeline,
    "codec": write_codec,
    "toy measurement": write_measurement,
    "study answers": write_answer,
    "clip": lambda folder, seed: clip(seed).save(folder / "target.mp4"),
    "long clip": lambda folder, seed: write_long_clip(clip(seed), folder / "target.npz"),
    "kept figures": lambda folder, seed: experiments.kept(folder / f"{seed}.json", lambda: {"words": LONG}),
    "tables": lambda folder, seed: write_tables(folder / "target.md", LONG),
    "metrics.jsonl": lambda folder, seed: run_folder.append_metrics(folder, {"step": seed, "words": LONG}),
    "run.json": lambda folder, seed: run_folder.record_start(
        folder, TrainConfig(), seed, 1, "cpu", "no", [LONG]
    ),
    "fetch.lock.json": lambda folder, seed: LockFile(folder).record(f"{seed}", Locked(LONG, 1, "00")),
}


@contextmanager
def full_disk(left: int = 2000) -> Iterator[None]:
    """No file may grow beyond `left` bytes: writes fail in the middle, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, hidden ones too, but for locks, which hold nothing."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
