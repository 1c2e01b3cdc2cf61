"""Runs the stages of `make test` one after the other, stops at the first that fails, and says what each took.

    python tools/run_stages.py lint tests papermill nbval
    python tools/run_stages.py lint changed

Commands of a stage that are a tuple run beside each other, each on its share of the cores: most of a notebook's time
is spent on one core, loading libraries. What they print appears when each has ended.

The last line sums up what all of pytest's runs counted: "N passed, N failed, N skipped".
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import changed_tests

ROOT = Path(__file__).resolve().parents[1]
PAPERMILL = "tests/test_notebook_papermill.py"

FOLDERS = (ROOT / "notebooks", ROOT / "notebooks" / "solutions")
NOTEBOOKS = [str(path.relative_to(ROOT)) for folder in FOLDERS for path in sorted(folder.glob("*.ipynb"))]
# about as long as each other
HALVES = ([*NOTEBOOKS[::4], *NOTEBOOKS[3::4]], [*NOTEBOOKS[1::4], *NOTEBOOKS[2::4]])
NBVAL = ["pytest", "--nbval", "-p", "no:python", "-q"]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

MOST_WORKERS = 4  # each holds torch: about 1 GB
WORKERS = ["-n", str(min(CORES, MOST_WORKERS)), "--dist", "loadfile"]  # a file's fixtures are made once
BESIDE = WORKERS if CORES > 1 else []

CHANGED = "changed"
NO_TESTS = 5  # pytest's status where none was left to run
Command = list[str]  # of a stage; a tuple holds those that run beside each other
STAGES: dict[str, list[Command | tuple[Command, ...]]] = {
    "lint": [["ruff", "check", "."], ["ruff", "format", "--check", "--quiet", "."], ["mypy"]],
    CHANGED: [],  # looked up when it is asked for
    "tests": [["pytest", "tests", "-q", "--durations=10", f"--ignore={PAPERMILL}", *BESIDE]],
    "papermill": [["pytest", PAPERMILL, "-q"]],
    "nbval": [tuple([*NBVAL, *half] for half in HALVES)],
}


def counts(line: str) -> Counter[str]:
    """What a closing line of pytest counts: "3 passed, 1 skipped in 0.1s" -> {"passed": 3, "skipped": 1}."""
    if not re.search(r" in \d[\d.]*s\b", line):
        return Counter()
    found = re.findall(r"(\d+) (passed|failed|skipped|xfailed|errors?)\b", line)
    return Counter({(word if word != "error" else "errors"): int(number) for number, word in found})


def run(command: Command, share: int = 1) -> tuple[int, Counter[str]]:
    """Run one command as `python -m`. Returns its status and what it counted.

    Args:
        command: module and arguments.
        share: how many run at once. One alone shows its output as it comes, others at the end.
    """
    color = ["--color=yes"] if command[0] == "pytest" and sys.stdout.isatty() else []
    threads = {"OMP_NUM_THREADS": str(max(1, CORES // share))} if share > 1 else {}
    total, kept = Counter[str](), []
    with subprocess.Popen(
        [sys.executable, "-m", *command, *color],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        env=threads | os.environ,
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            if share == 1:
                print(line, end="", flush=True)
            else:
                kept.append(line)
            total += counts(re.sub(r"\x1b\[[\d;]*m", "", line))
    print("".join(kept), end="", flush=True)
    return process.returncode, total


def run_beside(commands: tuple[Command, ...]) -> tuple[int, Counter[str], Command]:
    """Run commands at the same time, or in turn on a single core. Returns the first status that is not 0 and whose
    it is (else 0, and any), and what all counted.
    """
    at_once = min(CORES, len(commands))
    status, total, failed = 0, Counter[str](), commands[0]
    with ThreadPoolExecutor(at_once) as pool:
        begun = {pool.submit(run, command, at_once): command for command in commands}
        for done in as_completed(begun):
            own, counted = done.result()
            total += counted
            if own and not status:
                status, failed = own, begun[done]
    return status, total, failed


def run_stages(names: Sequence[str], stages: dict[str, list[Command | tuple[Command, ...]]] = STAGES) -> int:
    """Run the named stages. Returns 0, or the status of the command that failed."""
    seconds: dict[str, float] = {}
    total: Counter[str] = Counter()
    status = 0
    last: Command = []
    for name in names:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        for command in stages[name]:
            beside = command if isinstance(command, tuple) else (command,)
            status, counted, last = run_beside(beside)
            total += counted
            if name == CHANGED and status == NO_TESTS:
                print("all of them are slow: `make test` runs them")
                status = 0
            if status:
                break
        seconds[name] = time.monotonic() - began
        if status:
            print(f"\n{name} failed: {' '.join(last)}")
            break
    print("\nseconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    if total:
        failed = total["failed"] + total["errors"]
        print(f"{total['passed']} passed, {failed} failed, {total['skipped']} skipped")
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="+", choices=STAGES)
    names = parser.parse_args().stages
    try:
        near = changed_tests.command(ROOT) if CHANGED in names else None
    except ValueError as error:
        sys.exit(f"error: {error}")
    sys.exit(run_stages(names, STAGES | {CHANGED: [[*near, *BESIDE]] if near else []}))
