"""The configuration of an evaluation: what is compared with what, and how."""

import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from reprlib import repr as short
from typing import Any

from rflav_lib import ROOT
from rflav_lib.data.toy import CLASSES
from rflav_lib.evaluation.networks import KINDS
from rflav_lib.evaluation.paper import SETS
from rflav_lib.pipeline import CONDITION_SCALE
from rflav_lib.yaml_config import YamlConfig

TASKS = ("joint", "a2v", "v2a")


@dataclass(frozen=True)
class Row(YamlConfig):
    """One row of a table: a checkpoint, and how it is sampled.

    Attributes:
        name: unique; stands in the tables and names the folder of its clips.
        checkpoint: a pipeline folder, or a released checkpoint (folder or repository of the model hub).
        steps: from noise to clean, as the paper counts (20, 100, 200); a multiple of the model's window.
        task: joint, a2v (a picture for the sound of a real window) or v2a (the other way round). Joint samples of
            a model with classes get the class of a drawn real window; a2v and v2a are not told the class.
        guidance: classifier-free, joint only; 1 is off.
        condition_scale: strength of a2v's and v2a's guidance.

    Raises:
        ValueError: a value that cannot work.
    """

    name: str
    checkpoint: str
    steps: int = 20
    task: str = "joint"
    guidance: float = 1.0
    condition_scale: float = CONDITION_SCALE

    def __post_init__(self) -> None:
        super().__post_init__()
        checks = (
            (
                "name",
                bool(re.fullmatch(r"[\w().+ -]+", self.name)),
                "letters, digits, spaces and any of ()._+-",
            ),
            ("checkpoint", bool(self.checkpoint), "given"),
            ("steps", self.steps >= 1, "at least 1"),
            ("task", self.task in TASKS, f"one of {', '.join(TASKS)}"),
            ("guidance", math.isfinite(self.guidance), "finite"),
            ("condition_scale", math.isfinite(self.condition_scale), "finite"),
            (
                "guidance",
                self.task == "joint" or self.guidance == 1,
                "1 for a2v and v2a: their class is untold",
            ),
        )
        for key, holds, wanted in checks:
            if not holds:
                raise ValueError(f"rows: {self.name!r}: {key} must be {wanted}, not {getattr(self, key)!r}")

    @property
    def key(self) -> str:
        """The name as a folder."""
        return re.sub(r"[^\w.+-]+", "-", self.name)


@dataclass(frozen=True)
class EvaluateConfig(YamlConfig):
    """Everything that decides an evaluation. Relative paths are relative to the repository's root.

    Raises:
        ValueError: a value that cannot work, named with its key.
    """

    rows: list = field(default_factory=list)  # of `Row`, or of mappings with a row's keys

    # the real clips: a toy world, or a folder with a split in each of its folders
    data: str = "toy-landscape"
    split: str = "train"  # reference, real-against-real and conditions; the paper's choice
    held_out: str = "test"  # for the memorisation check; empty leaves that out
    toy_clips: int = 2400  # clips of a toy world: as many as the model has seen, and as long
    toy_frames: int = 40
    # all that the models of a toy world were trained on, as [seed, clips, frames of a clip] of each training run; the
    # memorisation check then looks through all of it, else, and of video, through the reference and control windows
    training: list = field(default_factory=list)
    beside: str = "landscape"  # whose printed values stand beside ours

    samples: int = 2048  # N, of every set
    frames: int = 16
    seed: int = 0
    batch: int = 8  # samples in a shard, generated together

    # the path that real and generated clips take before they are measured
    source_size: int = 64  # pixels, of the model; real files are letterboxed to it
    size: int = 64  # pixels, bicubic with antialias
    # or h264: written with Clip.save (H.264 and AAC; published figures: MP3) and read again
    codec: str = "none"
    crf: int = 23

    networks: str = "toy"  # published, stand-ins or toy
    allow_silence: bool = False
    resamples: int = 100  # parts of the clips, at most, that are left out in turn for each interval; 0: none
    extrapolate: bool = False  # also the distance at 1/N -> 0
    pairs: int = 4  # drawn in the picture of the memorisation check

    precision: str = "no"  # bf16: joint generation with bf16 products, faster and not exact
    fusions: str = ""  # JSON of benchmarks/fusions.py, for Table 1.A
    output_dir: str = "outputs/evaluate"

    def __post_init__(self) -> None:
        super().__post_init__()
        rows = [
            row if isinstance(row, Row) else self._row(number, row)
            for number, row in enumerate(self.rows, start=1)
        ]
        object.__setattr__(self, "rows", rows)
        keys = [row.key for row in rows]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        checks = [
            ("rows", not twice, f"of different names ({', '.join(twice)} stands there twice)"),
            ("networks", self.networks in KINDS, f"one of {', '.join(KINDS)}"),
            ("beside", self.beside in SETS, f"one of {', '.join(SETS)}"),
            ("codec", self.codec in ("none", "h264"), "none or h264"),
            ("precision", self.precision in ("no", "bf16"), "no or bf16"),
            ("output_dir", bool(self.output_dir.strip()), "the name of a folder"),
            ("crf", 0 <= self.crf <= 51, "0 to 51"),
            ("frames", self.frames >= 2, "at least 2"),
            ("samples", self.samples >= 2, "at least 2: a distance is between sets"),
            ("data", bool(self.data), "a toy world or a folder"),
            ("networks", self.networks != "toy" or self.data in CLASSES, "toy for a toy world only"),
            ("toy_frames", self.data not in CLASSES or self.toy_frames >= self.frames, "at least `frames`"),
        ]
        checks += [
            (key, getattr(self, key) >= 1, "at least 1")
            for key in ("batch", "source_size", "size", "toy_clips")
        ]
        checks += [(key, getattr(self, key) >= 0, "at least 0") for key in ("seed", "resamples", "pairs")]
        checks += [
            ("resamples", self.resamples != 1, "0, or at least 2: a part is left out, and others stay")
        ]
        checks += self._training_checks()
        for key, holds, wanted in checks:
            if not holds:
                raise ValueError(f"config: {key} must be {wanted}, not {_shown(getattr(self, key))}")

    def _training_checks(self) -> list[tuple[str, bool, str]]:
        whole = all(
            isinstance(part, list) and len(part) == 3 and all(type(number) is int for number in part)
            for part in self.training
        )
        return [
            ("training", not self.training or self.data in CLASSES, "empty but for a toy world"),
            ("training", not self.training or self.codec == "none", "empty where clips go through a codec"),
            ("training", whole, "a list of [seed, clips, frames of a clip]"),
            (
                "training",
                not whole or all(part[0] >= 0 and part[1] >= 1 for part in self.training),
                "of seeds from 0 on and of at least 1 clip each",
            ),
            (
                "training",
                not whole or all(part[2] >= self.frames for part in self.training),
                "of clips of at least `frames` frames",
            ),
        ]

    @staticmethod
    def _row(number: int, values: Any) -> Row:
        if not isinstance(values, dict):
            raise ValueError(f"rows: row {number} must be a mapping of keys to values, not {values!r}")
        if missing := [key for key in ("name", "checkpoint") if key not in values]:
            raise ValueError(f"rows: row {number} has no {' and no '.join(missing)}")
        return Row.from_mapping(values, source=f"rows: row {number}")

    @property
    def output_path(self) -> Path:
        """The folder of the run."""
        return ROOT / self.output_dir

    def as_mapping(self) -> dict[str, Any]:
        """Plain values, as YAML has them."""
        return asdict(self)


def _shown(value: Any) -> str:
    return (
        f"{len(value)} rows"
        if value and isinstance(value, list) and isinstance(value[0], Row)
        else short(value)
    )
