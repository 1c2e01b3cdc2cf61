"""Notebooks are executed whole or not at all, and keep no trace of the run but their outputs and counts."""

from pathlib import Path

import execute_notebooks
import nbformat
import pytest
from execute_notebooks import Rejected, execute, find
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HEAD = "# Title\n\n**Goal.** Test.\n\n**Cost.** 1 second and 1 GB."


def write(path: Path, *sources: str) -> Path:
    """An unexecuted notebook of a head, a parameters cell and `sources`, with leftovers of another tool."""
    cells = [new_markdown_cell(HEAD), new_code_cell("size = 3", metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source, metadata={"papermill": {"duration": 1}}) for source in sources]
    metadata = {
        "rflav": {"smoke": {}},
        "widgets": {"x": 1},
        "language_info": {"name": "python", "version": "3.11.7"},
    }
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


@pytest.mark.slow
def test_executes_in_place_and_tidies(tmp_path):
    source = "from pathlib import Path\nprint(size, Path.cwd().name)"
    path = write(tmp_path / "solutions" / "a.ipynb", source)
    execute(path)
    done = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in done.cells[1:]] == [1, 2]
    assert done.cells[2].outputs[0].text == "3 solutions\n"
    assert done.metadata == {
        "rflav": {"smoke": {}},
        "language_info": {"name": "python"},
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    }
    assert "papermill" not in done.cells[2].metadata
    assert [entry.name for entry in path.parent.iterdir()] == ["a.ipynb"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "message", "kept"),
    [
        ("assert size == 4, 'not four'", "not four", False),
        ("import os; os._exit(1)", "died", False),
        ("import sys; sys.stderr.write('0%| | 0/9'); None", "stderr is stored", True),
    ],
)
def test_a_bad_one_is_not_replaced(tmp_path, source, message, kept):
    path = write(tmp_path / "a.ipynb", source)
    before = path.read_bytes()
    with pytest.raises(Rejected, match=message):
        execute(path, tmp_path / "rejected")
    assert path.read_bytes() == before
    assert (tmp_path / "rejected" / "a.ipynb").exists() is kept


def test_find_by_name(tmp_path):
    first, second = write(tmp_path / "00_a.ipynb"), write(tmp_path / "solutions" / "00_a_solutions.ipynb")
    assert find([], tmp_path) == [first, second]
    assert find(["solutions/00_a_solutions.ipynb"], tmp_path) == [second]
    with pytest.raises(FileNotFoundError, match="no notebook '01'; there are: 00_a, 00_a_solutions"):
        find(["01"], tmp_path)
    assert execute_notebooks.FOLDER.is_dir()
