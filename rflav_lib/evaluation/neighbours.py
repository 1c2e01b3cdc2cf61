"""The nearest training windows of every set that the memorisation check looks at, and the pictures of the closest."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rflav_lib.evaluation.bank import SPACES
from rflav_lib.evaluation.clip_sets import ClipSet
from rflav_lib.evaluation.memorisation import SEEN, Nearest, RawSpace, copying, nearest_of_parts
from rflav_lib.evaluation.networks import Measure
from rflav_lib.evaluation.pictures import Pair, draw_pairs
from rflav_lib.media import Clip

if TYPE_CHECKING:
    from rflav_lib.evaluation.run import Evaluation


class Neighbours:
    """Of every row's samples, and, through each checkpoint's codecs, of unseen real clips and of training windows."""

    def __init__(self, evaluation: "Evaluation") -> None:
        self.evaluation, self.sets, self.bank = evaluation, evaluation.sets(), evaluation.bank
        self._found: dict[str, dict[str, Nearest]] = {}

    def spaces(self, key: str) -> dict[str, RawSpace | Measure]:
        """By name, those that see or hear what was made."""
        measured = self.evaluation.measured(key)
        sides = {measure.hears for measure in measured}
        found: dict[str, RawSpace | Measure] = {space.name: space for space in SPACES if space.hears in sides}
        for measure in measured if self.bank.has_features else ():
            network = self.evaluation.extractor.network(measure)
            # where a clip's features depend on those beside it, they are no place
            if network.batch_size is None:
                found[f"features of {network.name}"] = measure
        return found

    def points(self, key: str, space: RawSpace | Measure) -> torch.Tensor:
        """(n d) of a set."""
        if isinstance(space, RawSpace):
            return space.of_clips(self.sets[key].clips())
        return self.evaluation.read(key, space).values

    def nearest(self, key: str, space: str) -> Nearest:
        """Of a set in one of its spaces. The bank is gone through once for all sets of a space."""
        if space not in self._found:
            measure = self.spaces(key)[space]
            keys = [
                each
                for each in (*self.evaluation.samplers, *self.evaluation.coded_sets())
                if space in self.spaces(each)
            ]
            samples = torch.cat([self.points(each, measure) for each in keys])
            found = nearest_of_parts(samples, self.bank.parts(measure))
            lengths = [self.sets[each].samples for each in keys]
            both = (part.split(lengths) for part in (found.index, found.distance))
            self._found[space] = {each: Nearest(*parts) for each, *parts in zip(keys, *both, strict=True)}
        return self._found[space][key]

    def copying(self, key: str) -> dict[str, Any]:
        """Of a row: the figure of each space, and beside it that of copies."""
        row = self.evaluation.samplers[key].row
        copies, unseen = (self.evaluation.coded_key(kind, row) for kind in ("copies", "held-out"))
        return {
            space: {**self._figure(key, unseen, space), "copies": self._figure(copies, unseen, space)}
            for space in self.spaces(key)
        }

    def _figure(self, key: str, unseen: str, space: str) -> dict[str, Any]:
        config, both = self.evaluation.config, (key, unseen)
        ours, theirs = (self.nearest(each, space) for each in both)
        clips = self.evaluation.clips(key), self.evaluation.clips(unseen)
        return asdict(copying(ours, theirs, config.resamples, config.seed, clips))

    def draw(self, key: str, path: Path) -> None:
        """The closest pairs of a row in pixels, and the closest unseen real clip."""
        count, space = min(self.evaluation.config.pairs, self.evaluation.config.samples), SEEN.name
        if space not in self.spaces(key) or not count:
            return
        beside = self.evaluation.coded_key("held-out", self.evaluation.samplers[key].row)
        samples, unseen = (self.nearest(each, space) for each in (key, beside))
        order = samples.distance.argsort()[:count].tolist()
        pairs = [self._pair("sample", self.sets[key], number, samples, space) for number in order]
        closest = int(unseen.distance.argmin())
        pairs.append(self._pair("unseen real clip", self.sets[beside], closest, unseen, space))
        draw_pairs(pairs, path)

    def _pair(self, what: str, clips: ClipSet, number: int, found: Nearest, space: str) -> Pair:
        index = int(found.index[number])
        window = self.bank.window(index)
        title = (
            f"{what} {number} above its nearest training window, {window.clip} from frame {window.start}: "
            f"{float(found.distance[number]):.3g} in {space}"
        )
        return Pair(title, _one(clips, number), self.bank.clip(index))


def _one(clips: ClipSet, number: int) -> Clip:
    return next(clips.clips(range(number, number + 1)))
