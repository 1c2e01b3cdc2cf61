"""Runs the stages of `make test` one after the other, stops at the first that fails, and says what each took.

    python tools/run_stages.py lint tests papermill nbval

The last line sums up what all of pytest's runs counted: "N passed, N failed, N skipped".
"""

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAPERMILL = "tests/test_notebook_papermill.py"

STAGES: dict[str, list[list[str]]] = {
    "lint": [["ruff", "check", "."], ["ruff", "format", "--check", "--quiet", "."]],
    "fast": [["pytest", "tests", "-q", "-m", "not slow", f"--ignore={PAPERMILL}"]],
    "tests": [["pytest", "tests", "-q", "--durations=10", f"--ignore={PAPERMILL}"]],
    "papermill": [["pytest", PAPERMILL, "-q"]],
    "nbval": [["pytest", "--nbval", "-p", "no:python", "-q", "notebooks"]],
}


def counts(line: str) -> Counter[str]:
    """What a closing line of pytest counts: "3 passed, 1 skipped in 0.1s" -> {"passed": 3, "skipped": 1}."""
    if not re.search(r" in \d[\d.]*s\b", line):
        return Counter()
    found = re.findall(r"(\d+) (passed|failed|skipped|xfailed|errors?)\b", line)
    return Counter({(word if word != "error" else "errors"): int(number) for number, word in found})


def run(command: Sequence[str]) -> tuple[int, Counter[str]]:
    """Run one command as `python -m`, showing its output as it comes. Returns its status and what it counted."""
    color = ["--color=yes"] if command[0] == "pytest" and sys.stdout.isatty() else []
    total: Counter[str] = Counter()
    with subprocess.Popen(
        [sys.executable, "-m", *command, *color],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            total += counts(re.sub(r"\x1b\[[\d;]*m", "", line))
    return process.returncode, total


def run_stages(names: Sequence[str], stages: dict[str, list[list[str]]] = STAGES) -> int:
    """Run the named stages. Returns 0, or the status of the command that failed."""
    seconds: dict[str, float] = {}
    total: Counter[str] = Counter()
    status = 0
    for name in names:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        for command in stages[name]:
            status, counted = run(command)
            total += counted
            if status:
                break
        seconds[name] = time.monotonic() - began
        if status:
            print(f"\n{name} failed: {' '.join(command)}")
            break
    print("\nseconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    if total:
        failed = total["failed"] + total["errors"]
        print(f"{total['passed']} passed, {failed} failed, {total['skipped']} skipped")
    return status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="+", choices=STAGES)
    sys.exit(run_stages(parser.parse_args().stages))
