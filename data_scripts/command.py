"""The shape that all scripts share: `python -m data_scripts.NAME {fetch,check,prepare} --root FOLDER`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_scripts.archives import ArchiveError
from data_scripts.published import FetchError

Options = argparse.Namespace
Step = Callable[[Options], int]
Arguments = Callable[[argparse.ArgumentParser], object]


@dataclass(frozen=True)
class SubCommand:
    """One of fetch, check, prepare.

    Attributes:
        help: one line.
        run: does it; returns the exit status, 0 when all is well.
        arguments: adds what only this one takes.
    """

    help: str
    run: Step
    arguments: Arguments = lambda parser: None


def run(
    module: str, description: str, steps: dict[str, SubCommand], argv: Sequence[str] | None = None
) -> int:
    """Parse and do it. Bad input gives one line on stderr and status 1; Ctrl-C gives 130."""
    parser = argparse.ArgumentParser(
        prog=f"python -m data_scripts.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="step", required=True, metavar="{" + ",".join(steps) + "}")
    for name, step in steps.items():
        sub = commands.add_parser(name, help=step.help, description=step.help)
        sub.add_argument(
            "--root",
            type=Path,
            default=Path("data", module),
            help="the dataset's folder (default: %(default)s)",
        )
        step.arguments(sub)
    options = parser.parse_args(argv)
    try:
        return steps[options.step].run(options)
    except (FetchError, ArchiveError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what is done stays, and the same command goes on from here", file=sys.stderr)
        return 130


def accept_terms(name: str, address: str, summary: str, accepted: bool) -> None:
    """Show terms of use and go on only when they were accepted, by `--accept-terms` or by typing yes.

    Raises:
        FetchError: they were not.
    """
    print(f"{name}: terms of use\n  {address}\n{summary}\n")
    if accepted:
        print("accepted with --accept-terms\n")
        return
    if not sys.stdin.isatty():
        raise FetchError("the terms of use were not accepted: read them, then add --accept-terms")
    if input("Have you read them there, and do you accept them? Type yes: ").strip().lower() != "yes":
        raise FetchError("the terms of use were not accepted: nothing was fetched")


def add_from(parser: argparse.ArgumentParser) -> None:
    """`--from`: a bundle that the user has already."""
    parser.add_argument(
        "--from", dest="given", type=Path, nargs="+", default=[], metavar="PATH",
        help="archives of the bundle, or the folder that holds it unpacked, instead of Google Drive",
    )  # fmt: skip


def add_unpacked(parser: argparse.ArgumentParser) -> None:
    """`--from`: the bundle as `fetch` leaves it."""
    parser.add_argument(
        "--from",
        dest="given",
        type=Path,
        metavar="FOLDER",
        help="the unpacked bundle (default: <root>/source)",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """`--workers`: processes."""
    parser.add_argument(
        "--workers", type=at_least_one, help="processes (default: as many as there are cores)"
    )


def at_least_one(text: str) -> int:
    """`type=` of an option that counts something."""
    number = int(text)  # argparse names the option and the value where it is none
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number
