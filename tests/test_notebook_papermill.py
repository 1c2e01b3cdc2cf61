"""Every notebook runs from top to bottom with its small parameters, in papermill as users call it.

What is small is said by the notebook itself: its metadata `rflav.smoke` maps names of its parameters cell to values.
One that is small as it is (`{}`) would run here as it does under nbval, so it runs there alone.

Most of a run is loading libraries on one core, so two run beside each other where there are two.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook
from notebook_contract import smoke_parameters

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PATHS = [
    path
    for path in sorted(NOTEBOOKS.glob("*.ipynb")) + sorted(NOTEBOOKS.glob("solutions/*.ipynb"))
    if nbformat.read(path, as_version=4).metadata.get("rflav", {}).get("smoke") != {}
]
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


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[tuple[float, float]]]]:
    """What became of each notebook that was asked for; they are begun in their order."""
    items = (getattr(item, "callspec", None) for item in request.session.items)
    paths = [item.params["path"] for item in items if item and isinstance(item.params.get("path"), Path)]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {
        path: pool.submit(run, path, tmp_path_factory.mktemp(path.stem)) for path in paths if path in PATHS
    }
    pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_runs_small(path: Path, runs: dict, capsys: pytest.CaptureFixture[str]):
    seconds, gigabytes = runs[path].result()
    with capsys.disabled():
        print(f"\n  {path.stem}: {seconds:.0f} s, {gigabytes:.1f} GB ", end="")


def write(folder: Path, source: str, smoke: dict[str, Any] | None) -> Path:
    """A notebook of a parameters cell `size = 10` and one more."""
    cells = [
        new_code_cell("size: int = 10  # how much", metadata={"tags": ["parameters"]}),
        new_code_cell(source),
    ]
    metadata: dict[str, Any] = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    }
    if smoke is not None:
        metadata["rflav"] = {"smoke": smoke}
    path = folder / "small.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_a_smoke_parameter_must_exist(tmp_path):
    with pytest.raises(ValueError, match=r"\['sizes'\] are not in the parameters cell, which has \['size'\]"):
        checked_parameters(write(tmp_path, "", {"sizes": 1}))


def test_there_must_be_smoke_parameters(tmp_path):
    with pytest.raises(ValueError, match="no smoke parameters"):
        checked_parameters(write(tmp_path, "", None))


@pytest.mark.slow
def test_the_parameters_arrive_in_the_notebooks_folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    source = "from pathlib import Path\nassert size == 2\nPath('here').touch()\nkept = bytearray(300_000_000)"
    seconds, gigabytes = run(write(tmp_path, source, {"size": 2}), out)
    assert (tmp_path / "here").exists()
    assert 0 < seconds < 300
    assert 0.3 < gigabytes < 2, "the kernel's memory is counted"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "message"),
    [("assert size == 3, 'too small'", "too small"), ("import os; os._exit(1)", "DeadKernelError")],
)
def test_a_failing_notebook_is_noticed(tmp_path, source, message):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(RuntimeError, match=message):
        run(write(tmp_path, source, {"size": 2}), out)
