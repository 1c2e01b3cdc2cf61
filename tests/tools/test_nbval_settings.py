"""Plain `pytest --nbval` uses the repository's settings: what may differ does not fail, what may not does."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (
    "pyproject.toml",
    "conftest.py",
    "tests/sanitize.cfg",
    "tools/notebook_environment.py",
    "notebooks/conftest.py",
)

# source of a cell, its recorded output, whether strict nbval shall be content
CELLS = [
    ("print(2 + 2)", new_output("stream", name="stdout", text="4\n"), True),
    ("print(2 + 2)", new_output("stream", name="stdout", text="5\n"), False),
    ("print(object())", new_output("stream", name="stdout", text="<object object at 0x7f00deadbeef>\n"), True),
    ("print('3/9 [00:01<00:02,  1.50it/s]')",
     new_output("stream", name="stdout", text="3/9 [00:07<00:12, 11.2it/s]\n"), True),
    ("print('4/9 [00:01<00:02,  1.50it/s]')",
     new_output("stream", name="stdout", text="3/9 [00:01<00:02,  1.50it/s]\n"), False),
    ("from IPython.display import HTML\nHTML('<b>new bytes</b>')",
     new_output("execute_result", data={"text/html": "old", "text/plain": "<IPython.core.display.HTML object>"},
                execution_count=6), True),
    ("print(__import__('os').environ['HF_HUB_OFFLINE'])", new_output("stream", name="stdout", text="1\n"), True),
    ("__import__('sys').stderr.write('x'); None", None, False),
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one notebook, with the settings of this one."""
    for name in SETTINGS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    cells = [
        new_code_cell(source, outputs=[output] if output else [], execution_count=count)
        for count, (source, output, _) in enumerate(CELLS, start=1)
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "cells.ipynb")
    return tmp_path


def run_pytest(folder: Path, *arguments: str) -> str:
    """pytest's output from `folder`."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "tests"])
def test_nbval_is_strict_about_what_counts_only(project, folder):
    arguments = ["--nbval", "-v"] if folder == "." else ["--nbval", "-v", "../notebooks"]
    told = run_pytest(project / folder, *arguments)
    for number, (source, _, content) in enumerate(CELLS):
        assert f"Cell {number} {'PASSED' if content else 'FAILED'}" in told, f"{source}\n{told}"


def test_without_the_flag_the_settings_do_no_harm(project):
    (project / "tests" / "test_one.py").write_text("def test_one():\n    assert True\n")
    assert "1 passed" in run_pytest(project, "-q")
