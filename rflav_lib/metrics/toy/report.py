"""A measurement that can be stopped and gone on with: its settings, its readings, and the file that keeps both."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rflav_lib.data.seeds import UNSEEN_SEED
from rflav_lib.data.toy import CLASSES
from rflav_lib.files import read_json, write_json
from rflav_lib.metrics.intervals import Figure
from rflav_lib.metrics.toy.clips import (
    BATCH,
    Labels,
    generated_clips,
    labels_of,
    real_clips,
    through_codecs,
    world_of,
)
from rflav_lib.metrics.toy.figures import per_class, summarise
from rflav_lib.metrics.toy.reading import Reading, read_clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.precision import DTYPES
from rflav_lib.provenance import fingerprint, provenance

GENERATED, REAL, CODECS = "generated", "real", "real through codecs"
UNGUIDED, EXACT = 1.0, "float32"
OF_OLDER_FILES = {"guidance_scale": UNGUIDED, "dtype": EXACT}
"""Settings that older files do not name: all of them were measured so."""


@dataclass
class Measurement:
    """Readings of a model's clips, real clips and real clips through the codecs, taken batch by batch.

    Attributes:
        settings: what the readings depend on; a file with others is not gone on with.
        readings: by set of clips, each from clip 0 on.
        runs: machine, versions and commit of each run, with the number of clips it began at.
    """

    settings: dict[str, Any]
    readings: dict[str, list[Reading]]
    runs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def new(
        cls, pipeline: RFLAVPipeline, num_frames: int, steps_per_frame: int, seed: int, codecs: bool = True,
        guidance_scale: float = UNGUIDED, dtype: str = EXACT, world: str | None = None,
    ) -> "Measurement":  # fmt: skip
        """Nothing measured yet; `dtype`, of `DTYPES`, is that of the sampler's matrix products.

        Raises:
            ValueError: a model of no toy world or of another than `world`, which one without classes does not tell; or
                guidance of one without classes.
        """
        world = world_of(pipeline, world)
        if guidance_scale != UNGUIDED and not CLASSES[world]:
            raise ValueError(f"guidance_scale {guidance_scale} needs classes, and {world} has none")
        settings = {
            "world": world,
            "weights": fingerprint(pipeline),
            "frames": num_frames,
            "steps_per_frame": steps_per_frame,
            "seed": seed,
            "real_seed": UNSEEN_SEED,
            "batch": BATCH,
            "guidance_scale": guidance_scale,
            "dtype": dtype,
        }
        return cls(settings, {name: [] for name in (GENERATED, REAL, *([CODECS] if codecs else []))})

    @classmethod
    def stored(cls, path: Path) -> "Measurement":
        """What `write` left in `path`. Raises ValueError if that is no such file."""
        try:
            stored = read_json(path)
            settings, sets = OF_OLDER_FILES | dict(stored["settings"]), stored["readings"]
            readings = {name: [Reading.from_mapping(each) for each in of] for name, of in sets.items()}
            return cls(settings, readings, [dict(run) for run in stored["runs"]])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a measurement of a toy world's model ({error})") from error

    def go_on(self, path: Path) -> None:
        """Take over the whole batches of readings that `path` holds.

        Raises:
            ValueError: `path` is not such a file, or one of other settings or sets.
        """
        try:
            stored = self.stored(path)
        except ValueError as error:
            raise ValueError(f"{error}; {OTHER_FILE}") from error
        for name, ours in self.settings.items():
            theirs = stored.settings.get(name)
            if theirs != ours:
                raise ValueError(f"{path}: measured with {name} {theirs}, now {ours}; {OTHER_FILE}")
        if stored.readings.keys() != self.readings.keys():
            raise ValueError(
                f"{path}: holds {', '.join(stored.readings)}, now {', '.join(self.readings)}; {OTHER_FILE}"
            )
        self.readings, self.runs = stored.readings, stored.runs

    @property
    def clips(self) -> int:
        """How many clips of every set have been read."""
        return min(len(of) for of in self.readings.values())

    def measure(self, pipeline: RFLAVPipeline, clips: int) -> Iterator[int]:
        """Read up to `clips` clips of each set; yields the number read after each batch, all sets of it.

        A batch that an earlier run left incomplete is measured anew: the noise of a clip depends on its batch.
        Interrupted, the readings are those of the last whole batch.
        """
        if self.clips >= clips:
            return
        start = self.clips - self.clips % BATCH
        self.runs.append({"from_clip": start, **provenance(pipeline.device.type)})
        for first in range(start, clips, BATCH):
            labels = labels_of(self.settings["world"], first, min(first + BATCH, clips))
            taken = {
                name: [read_clip(clip, label, pipeline) for clip, label in zip(made, labels, strict=True)]
                for name, made in self._sets(pipeline, labels, first)
            }
            for name, of in taken.items():
                self.readings[name][first:] = of
            yield self.clips

    def _sets(self, pipeline: RFLAVPipeline, labels: Labels, first: int) -> Iterator[tuple[str, Iterator]]:
        frames, steps, seed = (self.settings[name] for name in ("frames", "steps_per_frame", "seed"))
        sampling = {
            "guidance_scale": self.settings["guidance_scale"],
            "dtype": DTYPES[self.settings["dtype"]],
        }
        yield GENERATED, generated_clips(pipeline, labels, frames, steps, seed, start=first, **sampling)
        yield REAL, real_clips(labels, frames, first)
        if CODECS in self.readings:
            yield CODECS, (through_codecs(clip, pipeline) for clip in real_clips(labels, frames, first))

    def figures(self) -> dict[str, dict[str, Figure]]:
        """The figures of each set."""
        return {name: summarise(of) for name, of in self.readings.items()}

    def by_class(self) -> dict[str, dict[str, dict[str, Figure]]]:
        """The figures of each set by class; empty for a world without classes."""
        if not CLASSES[self.settings["world"]]:
            return {}
        return {name: per_class(of) for name, of in self.readings.items()}

    def write(self, path: Path, command: str) -> None:
        """Everything into `path`, whole or not at all."""
        report = {
            "command": command,
            **{name: value for name, value in self.runs[-1].items() if name != "from_clip"},
            "settings": self.settings,
            "clips": self.clips,
            "figures": self.figures(),
            "by class": self.by_class(),
            "runs": self.runs,
            "readings": {name: [asdict(reading) for reading in of] for name, of in self.readings.items()},
        }
        write_json(path, report)


OTHER_FILE = "give another --out, or --anew to replace it"
