"""kill -9 in the middle of a write: no half file under its final name, and the same command ends with the same.

Training, caches of latents, evaluation and `prepare` have tests of their own: see README.md.
"""

import os
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from rflav_lib import ROOT
from tests.faults.commands import COMMANDS, Runner


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of Unix")
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_in_a_write_it_leaves_whole_files_and_goes_on(name, tmp_path):
    runner, command = Runner(), COMMANDS[name]
    said = tmp_path / "said.txt"
    assert runner.run(name, tmp_path / "peace") == 0, said.read_text()
    expected = command.kept(tmp_path / "peace")
    assert expected
    for write in command.writes:
        before = command.kept(tmp_path / "war")
        assert runner.run(name, tmp_path / "war", write) == -9, said.read_text()
        after = command.kept(tmp_path / "war")  # reads every file with a final name: a half one fails here
        assert write > 1 or after == before
    assert runner.run(name, tmp_path / "war") == 0, said.read_text()
    assert command.kept(tmp_path / "war") == expected


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of Unix")
def test_a_notebook_whose_execution_is_killed_stays_as_it_was(tmp_path):
    cell = new_code_cell(f"open({str(tmp_path / 'begun')!r}, 'w').close()\nimport time; time.sleep(60)")
    path = tmp_path / "slow.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)
    before = path.read_bytes()
    code = "import sys, pathlib, execute_notebooks; execute_notebooks.execute(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tools"), str(ROOT)])}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], env=environment, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while not (tmp_path / "begun").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert (tmp_path / "begun").exists(), "it was killed while a cell ran"
    assert path.read_bytes() == before and sorted(tmp_path.glob("*.ipynb")) == [path]
