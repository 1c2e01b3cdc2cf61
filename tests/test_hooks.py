"""What runs before a commit and on a code host is what runs here."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from notebook_contract import main
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))


def test_hooks_fetch_nothing_and_run_from_the_environment():
    (repository,) = HOOKS["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program, *words = hook["entry"].split()
        assert (program, hook["language"]) == (".venv/bin/python", "system")
        assert words[:2] == ["-m", "ruff"] or (ROOT / words[0]).is_file()
        assert "files" not in hook or re.search(hook["files"], "notebooks/solutions/01_mel.ipynb")


def test_the_hook_of_notebooks_names_what_is_broken(tmp_path, capsys):
    notebook = ROOT / "notebooks" / "00_quickstart.ipynb"
    assert main([str(notebook)]) == 0
    broken = tmp_path / notebook.name
    broken.write_text(notebook.read_text(encoding="utf-8").replace("**Goal.**", "**Aim.**"), encoding="utf-8")
    assert main([str(notebook), str(broken)]) == 1
    assert f"{broken}: the first cell must state '**Goal.** ...'" in capsys.readouterr().err


def test_ruff_s_hooks_take_a_file(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import os\n", encoding="utf-8")
    words = HOOKS["repos"][0]["hooks"][0]["entry"].split()[1:]
    ended = subprocess.run([sys.executable, *words, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and "`os` imported but unused" in ended.stdout


def test_the_workflow_runs_make_test_on_every_python_that_is_supported():
    job = WORKFLOW["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = SpecifierSet(project["requires-python"])
    assert job["strategy"]["matrix"]["python"] == [
        f"3.{n}" for n in range(20) if supported.contains(f"3.{n}")
    ]


@pytest.mark.parametrize("runner", ["Makefile", ".ci/run"])
def test_nothing_else_runs_the_tests_in_another_way(runner):
    text = (ROOT / runner).read_text(encoding="utf-8")
    assert ("run_stages.py lint tests papermill nbval" if runner == "Makefile" else "exec make test") in text
