"""Taking definitions out of notebooks: what is taken, what is left, and what is refused."""

import nbformat
import pytest

from tests.notebook_tools import code_cells, definitions


def notebook(path, *sources):
    cells = [
        nbformat.v4.new_markdown_cell("# title"),
        *(nbformat.v4.new_code_cell(source) for source in sources),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_takes_imports_definitions_and_simple_constants_and_runs_nothing_else(tmp_path):
    path = notebook(
        tmp_path / "n.ipynb",
        "import math\nfrom typing import Literal\nSCALE = 1 / 4\nKind = Literal[1, 2]\nseed: int = 3",
        "raise SystemExit('a cell ran')",
        "values = open('missing.txt').read()\nlate = [i for i in range(9)]\nother = unknown + 1",
        "def scaled(x: float) -> float:\n    return SCALE * math.floor(x)\n\nclass Box:\n    kind: Kind = 1",
    )
    found = definitions(path)
    assert found.scaled(9.5) == 2.25 and found.Box().kind == 1 and found.seed == 3
    assert not hasattr(found, "values") and not hasattr(found, "late") and not hasattr(found, "other")
    assert len(code_cells(path)) == 4


def test_a_name_defined_twice_is_refused(tmp_path):
    path = notebook(tmp_path / "n.ipynb", "def f():\n    return 1", "def f():\n    return 2")
    with pytest.raises(ValueError, match="n.ipynb defines f in code cells 1 and 2"):
        definitions(path)


def test_a_definition_that_needs_a_running_notebook_is_named(tmp_path):
    path = notebook(tmp_path / "n.ipynb", "base = object()", "class Late(base):\n    pass")
    with pytest.raises(ValueError, match="code cell 2, line 1: NameError"):
        definitions(path)


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="99_nothing"):
        definitions("99_nothing")
