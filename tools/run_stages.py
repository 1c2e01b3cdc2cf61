"""Runs the stages of `make test` one after the other, stops at the first that fails, and says what each took.

    python tools/run_stages.py lint tests papermill nbval
    python tools/run_stages.py lint changed

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
from pathlib import Path

import changed_tests

ROOT = Path(__file__).resolve().parents[1]
PAPERMILL = "tests/test_notebook_papermill.py"

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

MOST_WORKERS = 4  # each holds torch: about 1 GB
WORKERS = ["-n", str(min(CORES, MOST_WORKERS)), "--dist", "loadfile"]  # a file's fixtures are made once
BESIDE = WORKERS if CORES > 1 else []

CHANGED = "changed"
NO_TESTS = 5  # pytest's status where none was left to run
Command = list[str]
STAGES: dict[str, list[Command]] = {
    "lint": [["ruff", "check", "."], ["ruff", "format", "--check", "--quiet", "."], ["mypy"]],
    CHANGED: [],  # looked up when it is asked for
    "tests": [["pytest", "tests", "-q", "--durations=10", f"--ignore={PAPERMILL}", *BESIDE]],
    "papermill": [["pytest", PAPERMILL, "-q"]],  # runs notebooks beside each other by itself
    "nbval": [["pytest", "notebooks", "--nbval", "-p", "no:python", "-q", *BESIDE]],
}


def counts(line: str) -> Counter[str]:
    """What a closing line of pytest counts: "3 passed, 1 skipped in 0.1s" -> {"passed": 3, "skipped": 1}."""
    if not re.search(r" in \d[\d.]*s\b", line):
        return Counter()
    found = re.findall(r"(\d+) (passed|failed|skipped|xfailed|errors?)\b", line)
    return Counter({(word if word != "error" else "errors"): int(number) for number, word in found})


def run(command: Command) -> tuple[int, Counter[str]]:
    """Run one command as `python -m`, showing its output as it comes. Returns its status and what it counted."""
    color = ["--color=yes"] if command[0] == "pytest" and sys.stdout.isatty() else []
    total = Counter[str]()
    with subprocess.Popen(
        [sys.executable, "-m", *command, *color],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            print(line, end="", flush=True)
            total += counts(re.sub(r"\x1b\[[\d;]*m", "", line))
    return process.returncode, total


def run_stages(names: Sequence[str], stages: dict[str, list[Command]] = STAGES) -> int:
    """Run the named stages. Returns 0, or the status of the command that failed."""
    seconds: dict[str, float] = {}
    total: Counter[str] = Counter()
    status = 0
    last: Command = []
    for name in names:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        for last in stages[name]:
            status, counted = run(last)
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
