"""Commands that take long and write files, made small, to be killed: what each leaves, and what it must end with."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 300  # s


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        run: does it, in a folder; returns an exit status. Called again, it goes on or begins again.
        kept: of what is in the folder, what a run in peace leaves too; read from files with their final names.
        writes: into which of its writes (from 1) it can be killed.
    """

    run: Callable[[Path], int]
    kept: Callable[[Path], Any]
    writes: tuple[int, ...] = (1, 2)


def toy_files(folder: Path) -> int:
    """python -m data_scripts.toy prepare, three clips; the first write is of its settings."""
    from data_scripts.toy import main

    options = ["--train", "2", "--test", "1", "--frames", "5", "--workers", "1"]
    return main(["prepare", "--root", str(folder / "toy"), *options])


def media_files(folder: Path) -> dict[str, bytes] | None:
    """Every clip that is there, which can be read."""
    from rflav_lib.media import Clip

    paths = sorted(path for path in (folder / "toy").rglob("*.mp4") if path.name[0] != ".")
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in paths if len(Clip.read(path)) == 5
    } or None


def figures(folder: Path) -> int:
    """What drift, forgetting and ablations go on with: one file a model."""
    from rflav_lib.experiments import kept

    for number in range(2):
        kept(folder / f"{number}.json", lambda number=number: {"number": number})
    return 0


def figure_files(folder: Path) -> Any:
    """Them."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[01].json"))] or None


COMMANDS = {
    "data_scripts.toy": Command(toy_files, media_files, (1, 2, 4)),
    "experiments.kept": Command(figures, figure_files),
}


def child(name: str, folder: Path, die_in_write: int) -> None:
    """Run a command; with `die_in_write` n, leave half of what its n-th write has made, and die."""
    import torch

    from rflav_lib import files

    torch.set_num_threads(1)
    written, take_the_place = 0, files._take_the_place

    def perhaps_die(draft: Path, path: Path) -> None:
        nonlocal written
        written += 1
        if written == die_in_write:
            for file in [draft] if draft.is_file() else [each for each in draft.rglob("*") if each.is_file()]:
                os.truncate(file, file.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        take_the_place(draft, path)

    files._take_the_place = perhaps_die
    with (folder.parent / "said.txt").open("a") as said, suppress(OSError):
        sys.stdout = sys.stderr = said
        sys.exit(COMMANDS[name].run(folder))


class Runner:
    """Starts commands in processes that have the libraries loaded: a restart costs a second, not ten."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        preload = ["tests.faults.commands", "data_scripts.toy", "rflav_lib.experiments"]
        self._context.set_forkserver_preload(preload)

    def run(self, name: str, folder: Path, die_in_write: int = 0) -> int:
        """The exit code."""
        folder.mkdir(exist_ok=True)
        process = self._context.Process(target=child, args=(name, folder, die_in_write))
        process.start()
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            raise AssertionError(f"{name} takes for ever")
        return process.exitcode
