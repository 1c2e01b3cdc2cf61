"""What an evaluation ends with: results.json, tables.md, and a picture of the closest pairs for each row."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rflav_lib import ROOT
from rflav_lib.evaluation.clip_sets import ClipSet
from rflav_lib.evaluation.memorisation import Nearest, copying, nearest, thumbnails
from rflav_lib.evaluation.networks import Measure
from rflav_lib.evaluation.pictures import Pair, draw_pairs
from rflav_lib.evaluation.scoring import score_all
from rflav_lib.evaluation.tables import FORMAT, read_fusions, tables, write_tables
from rflav_lib.files import write_json
from rflav_lib.metrics.feature_set import library_versions
from rflav_lib.provenance import provenance

if TYPE_CHECKING:
    from rflav_lib.evaluation.run import Evaluation

PIXELS = "pixels, 16x16"
BANK = ("reference", "control")


def finish(evaluation: "Evaluation", command: str, device: str) -> tuple[dict[str, Any], str]:
    """Compute the distances, write all files, and return the results and the tables."""
    config, folder = evaluation.config, evaluation.folder
    rows = {key: evaluation.measured(key) for key in evaluation.samplers}
    figures, told = score_all(
        evaluation.read, {"control": evaluation.measured("control"), **rows}, config.resamples, config.seed,
        config.extrapolate,
    )  # fmt: skip
    neighbours = Neighbours(evaluation) if config.held_out else None
    results: dict[str, Any] = {
        "format": FORMAT,
        "command": command,
        "config": config.as_mapping(),
        "provenance": provenance(device),
        "versions": dict(library_versions()),
        "real": {"name": "real against real", "figures": figures["control"]},
        "rows": [],
        "warnings": told,
    }
    for key, sampler in evaluation.samplers.items():
        row = {**asdict(sampler.row), **sampler.facts, "figures": figures[key]}
        if neighbours is not None:
            row["memorisation"] = neighbours.copying(key)
            neighbours.draw(key, folder / f"memorisation-{sampler.row.key}.png")
        results["rows"].append(row)
    write_json(folder / "results.json", results)
    fusions = read_fusions(ROOT / config.fusions) if config.fusions else None
    text = tables([results], fusions)
    write_tables(folder / "tables.md", text)
    return results, text


class Neighbours:
    """The nearest training windows of every row's samples, and of the unseen real clips."""

    def __init__(self, evaluation: "Evaluation") -> None:
        self.evaluation, self.sets = evaluation, evaluation.sets()
        self._banks: dict[str, torch.Tensor] = {}

    def spaces(self, key: str) -> dict[str, Measure | None]:
        """Name -> network, or None for pixels: those that see or hear what was made."""
        measured = self.evaluation.measured(key)
        found: dict[str, Measure | None] = {}
        if any(not measure.hears for measure in measured):
            found[PIXELS] = None
        for measure in measured:
            network = self.evaluation.extractor.network(measure)
            if (
                network.batch_size is None
            ):  # where a clip's features depend on those beside it, they are no place
                found[f"features of {network.name}"] = measure
        return found

    def points(self, key: str, measure: Measure | None) -> torch.Tensor:
        """(n d) of a set."""
        if measure is None:
            return thumbnails(self.sets[key].clips())
        return self.evaluation.read(key, measure).values

    def nearest(self, key: str, space: str) -> Nearest:
        """Of a set in one of its spaces."""
        measure = self.spaces(key)[space]
        if space not in self._banks:
            self._banks[space] = torch.cat([self.points(each, measure) for each in BANK])
        return nearest(self.points(key, measure), self._banks[space])

    def copying(self, key: str) -> dict[str, Any]:
        """The figure of each space."""
        resamples = self.evaluation.config.resamples
        return {
            space: asdict(copying(self.nearest(key, space), self.nearest("held-out", space), resamples))
            for space in self.spaces(key)
        }

    def draw(self, key: str, path: Path) -> None:
        """The closest pairs of a row by what looks at it, and the closest unseen real clip."""
        looking = [name for name, each in self.spaces(key).items() if each is not None and not each.hears]
        count = min(self.evaluation.config.pairs, self.evaluation.config.samples)
        if not looking or not count:
            return
        samples, unseen = (self.nearest(each, looking[0]) for each in (key, "held-out"))
        order = samples.distance.argsort()[:count].tolist()
        pairs = [self._pair("sample", self.sets[key], number, samples, looking[0]) for number in order]
        closest = int(unseen.distance.argmin())
        pairs.append(self._pair("unseen real clip", self.sets["held-out"], closest, unseen, looking[0]))
        draw_pairs(pairs, path)

    def _pair(self, what: str, clips: ClipSet, number: int, found: Nearest, space: str) -> Pair:
        index, samples = int(found.index[number]), self.evaluation.config.samples
        key, place = BANK[index // samples], index % samples
        window = getattr(self.evaluation.windows, key)[place]
        title = (
            f"{what} {number} above its nearest training window, {window.clip} from frame {window.start}: "
            f"{float(found.distance[number]):.3g} in {space}"
        )
        return Pair(title, _one(clips, number), _one(self.sets[key], place))


def _one(clips: ClipSet, number: int) -> Any:
    return next(clips.clips(range(number, number + 1)))
