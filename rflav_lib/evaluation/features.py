"""Features of clip sets, computed in parts that are cached with their origin."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rflav_lib.evaluation.clip_sets import ClipSet
from rflav_lib.evaluation.networks import Measure
from rflav_lib.evaluation.treatment import Treatment
from rflav_lib.files import json_digest
from rflav_lib.media import Clip
from rflav_lib.metrics.feature_set import FeatureSet, Origin, joined
from rflav_lib.metrics.features import FeatureNetwork, extract, origin_of, resampled

PART = 256  # clips of a part: a multiple of 8, AudioCLIP's batch as MM-Diffusion runs it


@dataclass(frozen=True)
class FeatureJob:
    """One network over a part of one clip set.

    Attributes:
        clips, measure: what, and by what.
        numbers: which clips.
        path: where the features are cached.
    """

    clips: ClipSet
    measure: Measure
    numbers: range
    path: Path


def parts(samples: int) -> list[range]:
    """N clips in parts of 256; what is left over joins the last one, so that none has less than two."""
    count = max(1, samples // PART)
    return [range(i * PART, samples if i == count - 1 else (i + 1) * PART) for i in range(count)]


def jobs(clips: ClipSet, measure: Measure, folder: Path) -> list[FeatureJob]:
    """All parts of a set. What decides the clips is in the file's name: features of other clips are never taken."""
    found = []
    for part in parts(clips.samples):
        recipe = json_digest(clips.recipe(part))
        name = f"{part.start:06}-{part.stop - 1:06}-{recipe}.safetensors"
        found.append(FeatureJob(clips, measure, part, folder / f"{clips.folder.name}-{measure.key}" / name))
    return found


class Extractor:
    """Extracts what is missing, and checks what is there.

    Args:
        frames, seed: of every clip, of the draw.
        treatment: what the clips went through.
        allow_silence: let silent clips pass.
        device: where networks run.
    """

    def __init__(
        self, frames: int, seed: int, treatment: Treatment, allow_silence: bool, device: str = "cpu"
    ) -> None:
        self.frames, self.seed, self.treatment = frames, seed, treatment
        self.allow_silence, self.device = allow_silence, device
        self._networks: dict[str, FeatureNetwork] = {}

    def network(self, measure: Measure) -> FeatureNetwork:
        """The measure's network, loaded once.

        Raises:
            FileNotFoundError, ValueError, ImportError: its weights are not there, or are others.
        """
        if measure.key not in self._networks:
            self._networks[measure.key] = measure.load().to(self.device)
        return self._networks[measure.key]

    def origin(self, job: FeatureJob) -> Origin:
        """What the features of a job must say of themselves."""
        return origin_of(self.network(job.measure), samples=len(job.numbers), **self._described(job))

    def is_there(self, job: FeatureJob) -> bool:
        """Whether a job is done.

        Raises:
            ValueError: a cached file that is damaged, or of another origin.
        """
        return job.path.is_file() and bool(FeatureSet.load(job.path, self.origin(job)))

    def run(self, job: FeatureJob) -> FeatureSet:
        """Compute and cache; errors as `extract` and `ClipSet.clips` have them."""
        network = self.network(job.measure)
        found = extract(
            network, self._clips(job, network), len(job.numbers), frames=self.frames, progress=False,
            allow_silence=self.allow_silence, first_number=job.numbers.start, **self._described(job),
        )  # fmt: skip
        found.save(job.path)
        return found

    def read(self, of_a_set: list[FeatureJob]) -> FeatureSet:
        """The features of a whole set."""
        return joined(FeatureSet.load(job.path, self.origin(job)) for job in of_a_set)

    def _clips(self, job: FeatureJob, network: FeatureNetwork) -> Iterator[Clip]:
        for clip in job.clips.clips(job.numbers):
            yield clip if network.sample_rate is None else resampled(clip, network.sample_rate)

    def _described(self, job: FeatureJob) -> dict[str, Any]:
        rate = self.network(job.measure).sample_rate
        return {
            "data": job.clips.name,
            "seed": self.seed,
            "resize": self.treatment.resize_name if rate is None else f"sound at {rate} Hz",
            "codec": self.treatment.codec_name,
        }
