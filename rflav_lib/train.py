"""Training as a generator of states: the same code from a notebook and from the command line.

    accelerate launch -m rflav_lib.train configs/toy-landscape.yaml [key=value ...] [--dry-run]

Without `accelerate launch` (plain `python -m`) one process trains. The run can be killed at any moment: the
same command goes on from the newest checkpoint, bit-equal to a run that was never stopped.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from diffusers.optimization import get_cosine_schedule_with_warmup
from tqdm.auto import tqdm

from rflav_lib import run_folder
from rflav_lib.allocator import keep_freed_memory
from rflav_lib.checkpoints import last_good, list_checkpoints, remove_drafts
from rflav_lib.media import Clip
from rflav_lib.precision import told
from rflav_lib.train_config import TrainConfig, check_config
from rflav_lib.train_meter import Reading
from rflav_lib.train_pipeline import renew_pipeline
from rflav_lib.train_plan import missing, plan
from rflav_lib.train_report import Reporter
from rflav_lib.train_run import TrainRun, make_accelerator, on_main
from rflav_lib.train_stop import StopTogether, handled


@dataclass(frozen=True)
class TrainState:
    """What a run looks like at one step.

    Attributes:
        step: optimizer steps done.
        loss, video_loss, audio_loss: weighted losses (Eq. 10), mean over the steps since the state before.
        video_by_position, audio_by_position: the same at each place of the window (paper's k).
        explained: share of the velocities' weighted power that is predicted: 0 for a fresh model, 1 for a perfect one.
        grad_norm: norm of the gradient of the last step, before clipping.
        learning_rate: of the last step.
        ema_decay: of the last step; it climbs to the config's value.
        samples_per_second: over all processes, since the state before.
        loader_share: share of that time in which steps waited for their samples.
        seconds_left: estimate from the speed so far.
        samples: clips drawn with the averaged weights, at sample steps (on the main process); none where they failed.
        run: the run itself; `run.pipeline()` samples with the averaged weights.
    """

    step: int
    loss: float
    video_loss: float
    audio_loss: float
    video_by_position: tuple[float, ...]
    audio_by_position: tuple[float, ...]
    explained: float
    grad_norm: float
    learning_rate: float
    ema_decay: float
    samples_per_second: float
    loader_share: float
    seconds_left: float
    samples: tuple[Clip, ...]
    run: TrainRun


class Stopwatch:
    """Speed since the last look, and time left."""

    def __init__(self, run: TrainRun) -> None:
        self._run = run
        self._began = self._last = time.monotonic()
        self._first = self._step = run.step
        self._waited = run.batches.waited

    def look(self) -> tuple[float, float, float]:
        """Samples a second, share of waiting for samples, seconds left."""
        run, now = self._run, time.monotonic()
        seconds = max(now - self._last, 1e-9)
        samples = (run.step - self._step) * run.config.samples_a_step(run.accelerator.num_processes)
        share = (run.batches.waited - self._waited) / seconds
        left = (now - self._began) / (run.step - self._first) * (run.config.max_steps - run.step)
        self._last, self._step, self._waited = now, run.step, run.batches.waited
        return samples / seconds, share, left


def train(config: TrainConfig, accelerator: Accelerator | None = None) -> Iterator[TrainState]:
    """Train, yielding a `TrainState` at each log, sample and checkpoint step and at the last one.

    The consumer decides what to do with it: plot, listen, stop. However the loop ends - done, `break`, Ctrl-C -
    the last whole step is checkpointed before control leaves, unless it went wrong. With several processes each of
    them iterates.

    Raises:
        TypeError: no `TrainConfig`.
        ValueError: the folder is in use, read-only or holds a run with another config, or a damaged checkpoint;
            or data that do not fit.
        FloatingPointError: the loss is not finite any more, or diverges; names step, samples and the last good
            checkpoint.
        OSError: a checkpoint could not be written; those before are untouched.
    """
    check_config(config)
    accelerator = accelerator or make_accelerator(config)
    lock = run_folder.locked(config.output_path)
    on_main(accelerator, lock.__enter__)
    try:
        run = TrainRun(config, accelerator)
        on_main(accelerator, lambda: remove_drafts(run.checkpoint_folder, config.output_path))
        said = run.resume()
        renew_pipeline(run)
        reporter = Reporter(run, said)
        try:
            yield from _steps(run, reporter)
        finally:
            run.batches.close()
            reporter.close()
    finally:
        if accelerator.is_main_process:
            lock.__exit__(None, None, None)


def _steps(run: TrainRun, reporter: Reporter) -> Iterator[TrainState]:
    config, stop, saved = run.config, StopTogether(run.accelerator), run.step
    rate, watch = learning_rate(config), Stopwatch(run)
    together = run.accelerator.num_processes == 1  # do all processes leave the loop after the same step?
    try:
        with stop.watching():
            while run.step < config.max_steps:
                with stop.deferred():
                    run.optimizer_step(rate(run.step))
                due = _due(run)
                if not due:
                    continue
                together = True
                reading = run.meter.read()
                if reading.trouble:
                    saved = run.step  # what is in memory is not worth keeping
                _refuse_trouble(run, reading)
                samples = reporter.sample() if "sample_every" in due else ()
                state = _state(run, reading, rate(run.step - 1), watch.look(), samples)
                reporter.log(state)
                yield state
                if "checkpoint_every" in due:
                    saved = run.step  # should it fail, then trying again at once is no use
                    with stop.deferred():
                        run.save()
                stop.compare()
                together = run.accelerator.num_processes == 1
    finally:
        if run.step > saved and together:
            with stop.watching(), stop.deferred():
                _refuse_trouble(run, run.meter.read() if run.meter.unread else None)
                run.save()


def _due(run: TrainRun) -> set[str]:
    """Which of the regular jobs follow this step; at the last step all of them."""
    jobs = ("log_every", "sample_every", "checkpoint_every")
    last = run.step == run.config.max_steps
    return {job for job in jobs if last or run.step % getattr(run.config, job) == 0}


def _state(
    run: TrainRun,
    reading: Reading,
    learning_rate: float,
    speed: tuple[float, float, float],
    samples: tuple[Clip, ...],
) -> TrainState:
    samples_per_second, loader_share, seconds_left = speed
    loss = reading.video + reading.audio
    return TrainState(
        step=run.step,
        loss=loss,
        video_loss=reading.video,
        audio_loss=reading.audio,
        video_by_position=reading.video_by_position,
        audio_by_position=reading.audio_by_position,
        explained=1 - loss / reading.nothing if reading.nothing else 0.0,
        grad_norm=reading.grad_norm,
        learning_rate=learning_rate,
        ema_decay=run.ema.cur_decay_value,
        samples_per_second=samples_per_second,
        loader_share=loader_share,
        seconds_left=seconds_left,
        samples=samples,
        run=run,
    )


def learning_rate(config: TrainConfig) -> Callable[[int], float]:
    """Linear warm-up, then a cosine to zero at `max_steps`: the rate of a step, counted from 0."""
    dummy = torch.optim.SGD([torch.zeros(1)], lr=config.learning_rate)
    schedule = get_cosine_schedule_with_warmup(dummy, config.warmup_steps, config.max_steps)
    return lambda step: config.learning_rate * schedule.lr_lambdas[0](step)


def learning_rates(config: TrainConfig) -> list[float]:
    """`learning_rate` of every step of a run, to be plotted."""
    return list(map(learning_rate(config), range(config.max_steps)))


def _refuse_trouble(run: TrainRun, reading: Reading | None) -> None:
    """Raise a FloatingPointError if steps went wrong: their weights are not to be saved as good ones."""
    if reading and reading.trouble:
        good = last_good(run.checkpoint_folder)
        raise FloatingPointError(
            f"{reading.trouble}; {good}. Lower learning_rate, or set precision: 'no', and go on from there"
        )


def _kept(config: TrainConfig) -> str:
    """What an interrupted run leaves to go on from."""
    try:
        found = list_checkpoints(config.output_path / "checkpoints")
    except ValueError as error:  # a foreign folder among them; a run that has begun refuses it
        return str(error)
    if not found:
        return f"nothing is saved yet in {config.output_path}; the same command begins anew"
    return f"the newest checkpoint is {found[-1]}; the same command goes on from it"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.train", description=str(train.__doc__).splitlines()[0]
    )
    parser.add_argument("config", help="YAML file, e.g. configs/toy-landscape.yaml")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="settings that override the file's")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan: parameters, FLOPs, memory, steps, hours; check data and places; train nothing",
    )
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line: a YAML file and `key=value` changes."""
    options = parse(arguments)
    config: TrainConfig | None = None
    try:
        config = TrainConfig.from_command_line(options.config, options.changes)
        accelerator = make_accelerator(config)
        if options.dry_run:
            dry_run(config, accelerator)
        else:
            accelerator.print(f"precision: {told(accelerator.mixed_precision)}")
            run_to_the_end(config, accelerator)
    except (ValueError, FloatingPointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if config is None:
            raise
        print(f"interrupted: {_kept(config)}", file=sys.stderr)
        return 130
    finally:
        PartialState().destroy_process_group()
    return 0


def dry_run(config: TrainConfig, accelerator: Accelerator) -> None:
    """Print the plan, also of a run that cannot begin on this machine.

    Raises:
        ValueError: it cannot: what is missing, or does not fit.
    """
    problem = missing(config, accelerator.num_processes)
    try:
        accelerator.print(plan(config))
    except ValueError as error:
        problem = problem or str(error)
    if problem:
        raise ValueError(problem)


def run_to_the_end(config: TrainConfig, accelerator: Accelerator | None = None) -> None:
    """Train without looking: one line of progress, told by the main process. What launchers start.

    SIGTERM stops it as Ctrl-C does, in the main thread: clusters send it before they kill.
    """
    check_config(config)
    accelerator = accelerator or make_accelerator(config)
    name, others = Path(config.output_dir).name, not accelerator.is_main_process
    with (
        handled(signal.default_int_handler, (signal.SIGTERM,)),
        tqdm(total=config.max_steps, desc=name, unit="step", disable=others) as bar,
    ):
        for state in train(config, accelerator):
            bar.update(state.step - bar.n)
            bar.set_postfix(
                video=f"{state.video_loss:.3f}", audio=f"{state.audio_loss:.3f}",
                explained=f"{state.explained:.0%}", norm=f"{state.grad_norm:.2g}",
            )  # fmt: skip
    accelerator.print(f"pipeline: {config.output_path / 'pipeline'}")


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
