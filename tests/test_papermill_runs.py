"""A run by papermill takes the parameters that are there, and says what fails."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.papermill_runs import checked_parameters, run


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
    source = "from pathlib import Path\nassert size == 2\nPath('here').touch()\n"
    seconds, _ = run(write(tmp_path, source, {"size": 2}), out)
    assert (tmp_path / "here").exists()
    assert 0 < seconds < 300


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
