"""The command line of studies that train several settings with several seeds."""

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rflav_lib import experiments


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
    add("--out", type=Path, help="write everything to this JSON file, anew after each run")
    add("--table", type=Path, metavar="FILE", help="only print the tables of such a file")
    return made


def parsed(
    made: argparse.ArgumentParser, arguments: Sequence[str], module: str, least: Mapping[str, int]
) -> argparse.Namespace:
    """The options, with the command that `module` was started by; exits with one clear line if one of them is below
    its `least`.
    """
    options = made.parse_args(arguments)
    for name, smallest in least.items():
        if getattr(options, name) < smallest:
            made.error(f"--{name} must be at least {smallest}, not {getattr(options, name)}")
    if min(options.seeds) < 0:
        made.error(f"--seeds must be at least 0, not {min(options.seeds)}")
    options.folder = options.folder.resolve()
    options.command = shlex.join(["python", "-m", module, *arguments])
    return options
