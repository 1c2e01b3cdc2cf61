"""Studies that train several settings with several seeds: their command line, and measuring what is missing."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from rflav_lib import experiments
from rflav_lib.files import output_file, read_json, write_json

Run = dict[str, Any]
"""What was measured of one setting and one seed, ready for JSON."""


def parser(
    description: str, settings: Iterable[str], folder: str, clips: int, of: str
) -> argparse.ArgumentParser:
    """A parser of what all studies take. `clips` is the default number of clips, `of` says what they are for."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, names, steps = made.add_argument, list(settings), experiments.SMALL["max_steps"]
    add("--only", nargs="+", choices=names, metavar="SETTING", help=f"some of: {', '.join(names)}")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the trainings (default: 0 1 2)")
    add("--steps", type=int, default=steps, help="of each training (default: %(default)s)")
    add("--clips", type=int, default=clips, help=f"{of} (default: %(default)s)")
    add("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    add("--folder", type=Path, default=Path(folder), help="models and single runs (default: %(default)s)")
    add("--out", type=output_file, help="write everything to this JSON file, anew after each run")
    add("--table", type=Path, metavar="FILE", help="only print the tables of such a file")
    return made


def parsed(
    made: argparse.ArgumentParser, arguments: Sequence[str], program: str, least: Mapping[str, int]
) -> argparse.Namespace:
    """The options, with the command that ran `program`; exits with one clear line if one is below its `least`."""
    options = made.parse_args(arguments)
    for name, smallest in least.items():
        if getattr(options, name) < smallest:
            made.error(
                f"--{name.replace('_', '-')} must be at least {smallest}, not {getattr(options, name)}"
            )
    if min(options.seeds) < 0:
        made.error(f"--seeds must be at least 0, not {min(options.seeds)}")
    options.folder = options.folder.resolve()
    options.command = shlex.join([*program.split(), *arguments])
    return options


def order(options: argparse.Namespace, settings: Iterable[str]) -> list[tuple[str, int]]:
    """Settings and seeds that are asked for. All settings of a seed come before the next seed, so a study that is
    stopped has whole comparisons.
    """
    names = [name for name in settings if options.only is None or name in options.only]
    return [(name, seed) for seed in options.seeds for name in names]


def measured(
    options: argparse.Namespace,
    settings: Iterable[str],
    runs_folder: str,
    run: Callable[[str, int, argparse.Namespace], Run],
    budget: Mapping[str, Any],
    report: Callable[[list[Run]], dict[str, Any]],
) -> dict[str, Any]:
    """The report of all runs that are asked for, those measured that are missing; written anew after each run.

    Args:
        options: as parsed.
        settings: names of all settings, in order.
        runs_folder: where in `options.folder` each run is kept; "" is that folder itself.
        run: measures one, given its setting, its seed and the options.
        budget: what a kept run has to have in common with these.
        report: puts runs together, which come in `order`.
    """
    todo = order(options, settings)
    runs: list[Run] = []
    for place, (name, seed) in enumerate(todo, start=1):
        tqdm.write(f"{place} of {len(todo)}: {name}, seed {seed}")
        file = options.folder / runs_folder / f"{name.replace(' ', '-')}-seed-{seed}.json"

        def fresh(name: str = name, seed: int = seed) -> Run:
            return run(name, seed, options)

        runs.append(experiments.kept(file, fresh, budget))
        if options.out:
            write_json(options.out, report(runs))
    return report(runs)


def carried_out(
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    tables: Callable[[dict[str, Any]], str],
) -> int:
    """Measure, or read what was measured, and print its tables; returns the exit status."""
    try:
        if options.table:
            content = read_json(options.table)
        else:
            torch.set_num_threads(options.threads)
            content = measure(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on from {options.folder}", file=sys.stderr)
        return 130
    print(tables(content))
    return 0
