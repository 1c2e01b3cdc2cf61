"""Runs a notebook by papermill's command line, as users do, with its small parameters.

What is small is said by the notebook itself: its metadata `rflav.smoke` maps names of its parameters cell to values.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from notebook_contract import smoke_parameters

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
AT_ONCE = min(2, CORES)
CELL_SECONDS = 300


def checked_parameters(path: Path) -> dict[str, Any]:
    """The smoke parameters; papermill itself would only warn of one that the notebook does not have.

    Raises:
        ValueError: there are none, or one is not in the parameters cell.
    """
    smoke = smoke_parameters(nbformat.read(path, as_version=4))
    known = papermill.inspect_notebook(str(path))
    if unknown := sorted(set(smoke) - set(known)):
        raise ValueError(
            f"{path.name}: smoke parameters {unknown} are not in the parameters cell, which has {list(known)}"
        )
    return smoke


def run(path: Path, folder: Path) -> tuple[float, float]:
    """Run the notebook by the command line, in its own folder. Returns seconds and the peak memory in GB.

    The memory is at least what this process itself held when it began: ask for it from a small one.

    Raises:
        RuntimeError: with the end of what papermill said.
    """
    parameters = folder / "parameters.yaml"
    parameters.write_text(yaml.safe_dump(checked_parameters(path)), encoding="utf-8")
    command = [
        sys.executable, "-m", "papermill", path, folder / path.name, "-f", parameters, "--cwd", path.parent,
        "-k", "python3", "--no-progress-bar", "--execution-timeout", str(CELL_SECONDS), "--start-timeout", "180",
    ]  # fmt: skip
    said = folder / "said.txt"
    began = time.monotonic()
    environment = {"OMP_NUM_THREADS": str(CORES // AT_ONCE)} | os.environ
    with said.open("wb") as sink:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=sink, stderr=subprocess.STDOUT, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        text = re.sub(r"\x1b\[[\d;]*m", "", said.read_text(encoding="utf-8", errors="replace"))
        raise RuntimeError(f"{path.name} failed under papermill:\n{text[-4000:]}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, which covers the kernel too
    return time.monotonic() - began, usage.ru_maxrss * unit / 1e9
