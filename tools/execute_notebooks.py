"""Executes notebooks in place, so that what they store is what strict nbval will see. `make notebooks` calls it.

    python tools/execute_notebooks.py                      # all
    python tools/execute_notebooks.py 00_quickstart solutions/00_quickstart_solutions

A notebook is replaced whole, and only if it ran without error and keeps the contract (notebook_contract.py). One that
ran but breaks it is left as outputs/rejected/NAME.ipynb to be looked at.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from notebook_contract import CELL_RUN_METADATA, RUN_METADATA, problems
from notebook_environment import RECORDING_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
REJECTED = ROOT / "outputs" / "rejected"
CELL_TIMEOUT = 600


class Rejected(Exception):
    """The notebook was not replaced; says why."""


def find(names: list[str], folder: Path = FOLDER) -> list[Path]:
    """Notebooks by name ("00_quickstart", with or without folder and ending); all of them if no name is given.

    Raises:
        FileNotFoundError: a name that is no notebook.
    """
    known = sorted(folder.glob("*.ipynb")) + sorted(folder.glob("solutions/*.ipynb"))
    if not names:
        return known
    found = []
    for name in names:
        stem = Path(name).stem
        match = [path for path in known if path.stem == stem]
        if not match:
            raise FileNotFoundError(
                f"no notebook {name!r}; there are: {', '.join(path.stem for path in known)}"
            )
        found += match
    return found


def tidy(notebook: NotebookNode) -> None:
    """Take out what differs from run to run or from machine to machine; counts and outputs stay."""
    for key in RUN_METADATA:
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for key in CELL_RUN_METADATA:
            cell.metadata.pop(key, None)


def execute(path: Path, rejected: Path = REJECTED) -> None:
    """Run the notebook in its folder and replace it.

    Raises:
        Rejected: a cell fails, takes over ten minutes, kills the kernel, or the result breaks the contract.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT, kernel_name="python3", record_timing=False,
        store_widget_state=False, startup_timeout=180,
        resources={"metadata": {"path": str(path.parent)}},
    )  # fmt: skip
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise Rejected(str(error).strip()) from error
    tidy(notebook)
    with tempfile.TemporaryDirectory(prefix=".execute-", dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        nbformat.write(notebook, fresh)
        if broken := problems(fresh, path.parent):
            rejected.mkdir(parents=True, exist_ok=True)
            os.replace(fresh, rejected / path.name)
            listed = "\n".join(f"  - {problem}" for problem in broken)
            raise Rejected(f"{listed}\n  what it printed: {rejected / path.name}")
        os.replace(fresh, path)


def main() -> int:
    """Execute what the command line names. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks, such as 00_quickstart; none: all")
    os.environ.update(RECORDING_ENVIRONMENT)
    try:
        paths = find(parser.parse_args().names)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    failures = 0
    for path in paths:
        began = time.monotonic()
        try:
            execute(path)
        except (Rejected, OSError) as error:  # an OSError is a full disk, or a folder for reading only
            failures += 1
            print(f"{path.name}: NOT replaced\n{error}", file=sys.stderr)
        else:
            print(f"{path.name}: {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
