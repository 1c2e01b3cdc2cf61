"""An evaluation as a generator of states: clips, features, distances; resumable, shared by any number of processes."""

import json
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from accelerate import PartialState

from rflav_lib import run_folder
from rflav_lib.evaluation import features
from rflav_lib.evaluation.clip_sets import ClipSet, Make
from rflav_lib.evaluation.config import EvaluateConfig, Row
from rflav_lib.evaluation.features import Extractor
from rflav_lib.evaluation.networks import Measure, measures
from rflav_lib.evaluation.sampling import RowSampler
from rflav_lib.evaluation.sources import Window, Windows, open_source
from rflav_lib.evaluation.treatment import Treatment
from rflav_lib.files import read_json, whole
from rflav_lib.media import Clip
from rflav_lib.metrics.feature_set import FeatureSet, comparable_versions

WAIT = timedelta(days=7)  # one process may have much more left to do than another


@dataclass(frozen=True)
class EvaluateState:
    """How far an evaluation is.

    Attributes:
        stage: what is being done, in words.
        done, total: clips of this stage (of this process, where several share the work).
        seconds_left: of this stage, from its speed so far; 0 before the first and after the last clip.
        results: at the very end, what is in `results.json`; else None.
        tables: at the very end, Markdown; else empty.
    """

    stage: str
    done: int
    total: int
    seconds_left: float
    results: dict[str, Any] | None = None
    tables: str = ""


def process_state() -> PartialState:
    """This process among those that `torchrun` or `accelerate launch` started; alone without them."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not several:
        return PartialState()
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=WAIT)


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
        """Open every network and every checkpoint once, so that what is wrong is known before the work."""
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

    def real_sets(self) -> dict[str, tuple[ClipSet, Make]]:
        """reference, control and, if asked for, held-out: with what makes them."""
        lists = {"reference": self.windows.reference, "control": self.windows.control}
        if self.config.held_out:
            lists["held-out"] = self.windows.held_out
        return {key: self._real_set(key, windows) for key, windows in lists.items()}

    def _real_set(self, key: str, windows: Sequence[Window]) -> tuple[ClipSet, Make]:
        source = self.sources["held-out" if key == "held-out" else "seen"]

        def recipe(numbers: range) -> dict[str, Any]:
            return {"data": source.name, "windows": [windows[number].as_list() for number in numbers]}

        def make(numbers: Sequence[int]) -> list[Clip]:
            return [self.treatment(source.read(windows[number])) for number in numbers]

        return self._set(key, f"{source.name}, real ({key})", recipe), make

    def row_sets(self) -> dict[str, tuple[ClipSet, Make]]:
        """One for each row."""
        found: dict[str, tuple[ClipSet, Make]] = {}
        for row in self.config.rows:
            sampler = self.samplers[self.row_key(row)]
            found[self.row_key(row)] = (
                self._set(self.row_key(row), f"{row.name}, generated", sampler.recipe),
                partial(_treated, sampler.make, self.treatment),
            )
        return found

    def _set(self, key: str, name: str, recipe: Callable[[range], dict[str, Any]]) -> ClipSet:
        path = {
            "resize": self.treatment.resize_name,
            "codec": self.treatment.codec_name,
            "versions": self.versions,
        }
        # a shard is one batch: the last bits of a sample may depend on how many are made beside it
        return ClipSet(
            self.folder / "clips" / key, name, self.config.samples, self.config.batch,
            lambda numbers: {**recipe(numbers), **path},
        )  # fmt: skip

    def sets(self) -> dict[str, ClipSet]:
        """Every set, without what makes it."""
        return {key: clips for key, (clips, _) in {**self.real_sets(), **self.row_sets()}.items()}

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
            run_folder.record_start(config.output_path, config, 0, state.num_processes, device, [])
        for clips, make in evaluation.real_sets().values():
            yield from _make(clips, make, state)
        for key, (clips, make) in evaluation.row_sets().items():
            yield from _make(clips, make, state)
            evaluation.samplers[key].close()
        yield from _extract(evaluation, state)
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


def _make(clips: ClipSet, make: Make, state: PartialState) -> Iterator[EvaluateState]:
    """Make the shards that are missing, this process's share of them."""
    missing, told = clips.missing()
    if state.is_main_process:
        for text in told:
            warnings.warn(text, stacklevel=2)
    state.wait_for_everyone()  # all have looked before the first one writes, so all share out the same list
    mine = missing[state.process_index :: state.num_processes]
    work = [(len(shard), partial(clips.write, shard, make)) for shard in mine]
    yield from _done(clips.name, work)
    state.wait_for_everyone()


def _extract(evaluation: Evaluation, state: PartialState) -> Iterator[EvaluateState]:
    """Compute the features that are missing, this process's share of them."""
    missing = [job for job in evaluation.jobs() if not evaluation.extractor.is_there(job)]
    state.wait_for_everyone()
    mine = missing[state.process_index :: state.num_processes]
    yield from _done("features", [(len(job.numbers), partial(evaluation.extractor.run, job)) for job in mine])
    state.wait_for_everyone()


def _done(stage: str, work: Sequence[tuple[int, Callable[[], object]]]) -> Iterator[EvaluateState]:
    """Work off a list of (clips, work), telling how far it is."""
    total, done, began = sum(clips for clips, _ in work), 0, time.monotonic()
    if work:
        yield EvaluateState(stage, 0, total, 0)
    for clips, job in work:
        job()
        done += clips
        left = (time.monotonic() - began) / done * (total - done)
        yield EvaluateState(stage, done, total, left)
