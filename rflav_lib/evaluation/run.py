"""An evaluation as a generator of states: clips, features, distances; resumable, shared by any number of processes."""

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

from rflav_lib import ROOT, run_folder
from rflav_lib.evaluation import features
from rflav_lib.evaluation.bank import Bank, SetBank, TrainingBank
from rflav_lib.evaluation.clip_sets import ClipSet, Make
from rflav_lib.evaluation.config import EvaluateConfig, Row
from rflav_lib.evaluation.features import Extractor
from rflav_lib.evaluation.networks import Measure, measures
from rflav_lib.evaluation.sampling import RowSampler
from rflav_lib.evaluation.sources import Window, Windows, open_source, open_training, training_parts
from rflav_lib.evaluation.tables import Run, read_fusions
from rflav_lib.evaluation.treatment import Treatment
from rflav_lib.evaluation.work import (
    EvaluateState,
    extract_features,
    fill_bank,
    make_clips,
    process_state,
)
from rflav_lib.files import read_json, whole
from rflav_lib.media import Clip
from rflav_lib.metrics.feature_set import FeatureSet, comparable_versions
from rflav_lib.metrics.jackknife import Clips, alone


class Evaluation:
    """All sets of clips of a run, real and generated, and the networks that measure them.

    Raises:
        FileNotFoundError, ValueError: data or weights that are missing or do not fit.
    """

    def __init__(self, config: EvaluateConfig, device: str = "cpu") -> None:
        self.config, self.folder = config, config.output_path
        self.sources = {"seen": open_source(config)}
        if config.held_out:
            self.sources["held-out"] = open_source(config, held_out=True)
            self.sources["copies"] = open_training(config, self.sources["seen"])
        self.windows = Windows.drawn(config, self.sources["seen"], self.sources.get("held-out"))
        self.treatment = Treatment(config.source_size, config.size, config.codec, config.crf)
        self.extractor = Extractor(config.frames, config.seed, self.treatment, config.allow_silence, device)
        self.samplers = {
            self.row_key(row): RowSampler(
                row,
                config.frames,
                config.seed,
                config.precision,
                self.sources["seen"],
                self.windows.conditions,
                device,
            )
            for row in config.rows
        }
        self.versions = comparable_versions()

    @staticmethod
    def row_key(row: Row) -> str:
        """Names the row's set of clips."""
        return f"row-{row.key}"

    def check(self) -> None:
        """Open every network, every checkpoint and `fusions` once, so that what is wrong is known before the work."""
        _ = self.fusions
        for measure in measures(self.config.networks):
            network = self.extractor.network(measure)
            if network.batch_size and self.config.samples % network.batch_size:
                raise ValueError(
                    f"config: samples must be a multiple of {network.batch_size}, not {self.config.samples}: "
                    f"{network.name} sees so many clips at a time, and its features depend on that"
                )
        for sampler in self.samplers.values():
            _ = sampler.facts
            sampler.close()

    @cached_property
    def fusions(self) -> Run | None:
        """What benchmarks/fusions.py has written, for Table 1.A; None where the config names no file.

        Raises:
            FileNotFoundError: no such file. ValueError: another file.
        """
        if not self.config.fusions:
            return None
        path = ROOT / self.config.fusions
        if not path.is_file():
            raise FileNotFoundError(
                f"config: fusions: {path}: no such file; make it with benchmarks/fusions.py, or leave fusions empty"
            )
        return read_fusions(path)

    def real_sets(self) -> dict[str, tuple[ClipSet, Make]]:
        """reference and control, with what makes them."""
        lists = {"reference": self.windows.reference, "control": self.windows.control}
        return {key: self._real_set(key, windows) for key, windows in lists.items()}

    def _real_set(self, key: str, windows: Sequence[Window]) -> tuple[ClipSet, Make]:
        source = self.sources["seen"]

        def recipe(numbers: range) -> dict[str, Any]:
            return {"data": source.name, "windows": [windows[number].as_list() for number in numbers]}

        def make(numbers: Sequence[int]) -> list[Clip]:
            return [self.treatment(source.read(windows[number])) for number in numbers]

        files = "" if source.coding.codec == "none" else f", from {source.coding.codec}"
        name = f"{source.name}, real ({key}){files}"
        return self._set(key, name, recipe, len(windows)), make

    def row_sets(self) -> dict[str, tuple[ClipSet, Make]]:
        """One for each row."""
        found: dict[str, tuple[ClipSet, Make]] = {}
        for row in self.config.rows:
            sampler = self.samplers[self.row_key(row)]
            found[self.row_key(row)] = (
                self._set(self.row_key(row), f"{row.name}, generated", sampler.recipe, self.config.samples),
                partial(_treated, sampler.make, self.treatment),
            )
        return found

    @cached_property
    def bank(self) -> Bank:
        """The training windows of the memorisation check."""
        config, parts = self.config, training_parts(self.config)
        if not parts:
            return SetBank(self)
        return TrainingBank(config.data, parts, config.frames, self.treatment, self.folder / "bank")

    @staticmethod
    def coded_key(kind: str, row: Row) -> str:
        """Names the set of "copies", or of "held-out" clips, that goes through the codecs of the row's checkpoint."""
        return f"{kind}-{hashlib.sha256(row.checkpoint.encode()).hexdigest()[:8]}"

    def coded_sets(self) -> dict[str, tuple[ClipSet, Make]]:
        """If the memorisation check is asked for, copies and held-out clips for each checkpoint."""
        found: dict[str, tuple[ClipSet, Make]] = {}
        lists = {"copies": self.windows.copies, "held-out": self.windows.held_out}
        for sampler in self.samplers.values() if self.config.held_out else ():
            for kind, windows in lists.items():
                key, source = self.coded_key(kind, sampler.row), self.sources[kind]
                if key not in found:
                    name = f"{source.name}, through {sampler.row.checkpoint}"
                    make = partial(_treated, partial(sampler.coded, source, windows), self.treatment)
                    recipe = partial(sampler.coded_recipe, windows)
                    found[key] = self._set(key, name, recipe, len(windows)), make
        return found

    def clips(self, key: str) -> Clips:
        """The clip of each window of a set; of samples, the one that they were made for, if any."""
        if key in self.samplers:
            given = self.samplers[key].row.task != "joint"
            return (
                [window.clip for window in self.windows.conditions]
                if given
                else alone(self.config.samples, key)
            )
        kind = key.rpartition("-")[0] or key  # of coded sets: without the checkpoint
        return [window.clip for window in getattr(self.windows, kind.replace("-", "_"))]

    def _set(self, key: str, name: str, recipe: Callable[[range], dict[str, Any]], samples: int) -> ClipSet:
        path = {
            "resize": self.treatment.resize_name,
            "codec": self.treatment.codec_name,
            "versions": self.versions,
        }
        # a shard is one batch: the last bits of a sample may depend on how many are made beside it
        return ClipSet(
            self.folder / "clips" / key, name, samples, self.config.batch,
            lambda numbers: {**recipe(numbers), **path},
        )  # fmt: skip

    def made(self) -> dict[str, tuple[ClipSet, Make]]:
        """Every set, with what makes it."""
        return {**self.real_sets(), **self.row_sets(), **self.coded_sets()}

    def sets(self) -> dict[str, ClipSet]:
        """Every set, without what makes it."""
        return {key: clips for key, (clips, _) in self.made().items()}

    def measured(self, key: str) -> list[Measure]:
        """What a set is measured by: a row's given side is not."""
        task = self.samplers[key].row.task if key in self.samplers else "real"
        return measures(self.config.networks, task)

    def jobs(self) -> list[features.FeatureJob]:
        """All features there are to compute."""
        return [
            job
            for key, clips in self.sets().items()
            for measure in self.measured(key)
            if self.bank.has_features or key not in self.coded_sets()
            for job in features.jobs(clips, measure, self.folder / "features")
        ]

    def read(self, key: str, measure: Measure) -> FeatureSet:
        """The features of a set."""
        return self.extractor.read(features.jobs(self.sets()[key], measure, self.folder / "features"))


def _treated(make: Make, treatment: Treatment, numbers: Sequence[int]) -> list[Clip]:
    return [treatment(clip) for clip in make(numbers)]


def evaluate(config: EvaluateConfig, command: str | None = None) -> Iterator[EvaluateState]:
    """Evaluate, yielding a state after each shard of clips and each part of features; the last holds the results.

    Stopped or killed at any moment, the same config goes on: clips and features that are there are taken if they
    were made by the same settings, else refused. Where several processes were launched, each of them iterates.

    Args:
        config: what to evaluate.
        command: written into the results; None takes the command line of this process.

    Raises:
        FileNotFoundError, ImportError: data or weights that are not there.
        ValueError: data, weights, clips or features that do not fit; names which, and what to do.
    """
    from rflav_lib.evaluation.report import finish  # late: drawing needs matplotlib, sampling does not

    state = process_state()
    main, device = state.is_main_process, str(state.device)
    lock = run_folder.locked(config.output_path)
    if main:
        lock.__enter__()
    try:
        yield EvaluateState("opening", 0, 0, 0)
        evaluation = Evaluation(config, device)
        evaluation.check()
        if main:
            _remember_windows(evaluation)
            run_folder.record_start(
                config.output_path, config, 0, state.num_processes, device, config.precision, []
            )
        for clips, make in evaluation.made().values():
            yield from make_clips(clips, make, state)
            for sampler in evaluation.samplers.values():
                sampler.close()
        yield from extract_features(evaluation, state)
        if config.held_out and isinstance(evaluation.bank, TrainingBank):
            yield from fill_bank(evaluation.bank, state)
        if main:
            yield EvaluateState("distances", 0, 0, 0)
            results, text = finish(evaluation, command or shlex.join(sys.argv), device)
            yield EvaluateState("done", 0, 0, 0, results, text)
        state.wait_for_everyone()
    finally:
        if main:
            lock.__exit__(None, None, None)


def _remember_windows(evaluation: Evaluation) -> None:
    """Write the drawn windows; refuse a folder whose windows were drawn from other data."""
    path, drawn = evaluation.folder / "windows.json", evaluation.windows.as_json()
    if path.is_file():
        stored = read_json(path, advice="delete it, and the windows are written anew")
        for name, windows in drawn.items():
            found = stored.get(name) if isinstance(stored, dict) else None
            if not isinstance(found, list):
                raise ValueError(f"{path}: holds no {name} windows; delete it, and they are written anew")
            both = zip(found, windows, strict=False)  # with another N one is the longer
            if any(before != now for before, now in both):
                raise ValueError(
                    f"{path}: the {name} windows are others now: the data or the seed have changed; use another "
                    "output_dir, or set them back"
                )
    with whole(path) as draft:
        draft.write_text(json.dumps(drawn) + "\n", encoding="utf-8")
