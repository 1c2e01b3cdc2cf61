"""The work of an evaluation, in pieces that any number of processes share, told as states."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState

from rflav_lib.evaluation.bank import TrainingBank
from rflav_lib.evaluation.clip_sets import ClipSet, Make
from rflav_lib.warn import warn

if TYPE_CHECKING:
    from rflav_lib.evaluation.run import Evaluation

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


def make_clips(clips: ClipSet, make: Make, state: PartialState) -> Iterator[EvaluateState]:
    """Make the shards that are missing, this process's share of them."""
    missing, told = clips.missing()
    if state.is_main_process:
        for text in told:
            warn(text)
    state.wait_for_everyone()  # all have looked before the first one writes, so all share out the same list
    mine = missing[state.process_index :: state.num_processes]
    work = [(len(shard), partial(clips.write, shard, make)) for shard in mine]
    yield from _done(clips.name, work)
    state.wait_for_everyone()


def extract_features(evaluation: "Evaluation", state: PartialState) -> Iterator[EvaluateState]:
    """Compute the features that are missing, this process's share of them."""
    missing = [job for job in evaluation.jobs() if not evaluation.extractor.is_there(job)]
    state.wait_for_everyone()
    mine = missing[state.process_index :: state.num_processes]
    yield from _done("features", [(len(job.numbers), partial(evaluation.extractor.run, job)) for job in mine])
    state.wait_for_everyone()


def fill_bank(bank: TrainingBank, state: PartialState) -> Iterator[EvaluateState]:
    """Make what is missing of the bank, this process's share of it."""
    missing = bank.missing()
    state.wait_for_everyone()
    mine = missing[state.process_index :: state.num_processes]
    yield from _done("training clips", [(len(shard.numbers), partial(bank.write, shard)) for shard in mine])
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
