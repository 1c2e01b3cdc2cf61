"""The edit loop finds the tests nearest to what changed, and says so where there are none."""

import subprocess

import pytest
from changed_tests import changed_files, command, module_names, nearest_tests

SOURCES = {
    "rflav_lib/core.py": "",
    "rflav_lib/inner.py": "",
    "rflav_lib/middle.py": "from rflav_lib import inner\n",
    "rflav_lib/outer.py": "def late():\n    from rflav_lib.middle import x\n",
    "tools/tool.py": "",
    "tests/helper.py": "import rflav_lib.core\n",
    "tests/test_core.py": "from rflav_lib.core import x\n",
    "tests/test_helped.py": "from tests.helper import x\n",
    "tests/test_outer.py": "import rflav_lib.outer as o\n",
    "tests/test_tool.py": "import tool\n",
    "tests/test_files.py": 'read("configs/small.yaml", ROOT / "results" / "table.json", "04_blocks")\n',
    "tests/test_documentation.py": "",
    "tests/browser/test_page.py": "import rflav_lib.core\n",
}


@pytest.mark.parametrize(
    ("changed", "near"),
    [
        ("rflav_lib/core.py", {"core"}),  # not what is only helped by it, nor what takes minutes
        ("tests/helper.py", {"helped"}),
        ("tests/test_core.py", {"core"}),
        ("rflav_lib/inner.py", {"outer"}),  # through two modules, one of them imported late
        ("rflav_lib/outer.py", {"outer"}),
        ("tools/tool.py", {"tool"}),
        ("configs/small.yaml", {"files"}),
        ("results/table.json", {"files"}),
        ("notebooks/04_blocks.ipynb", {"files"}),
        ("README.md", {"documentation"}),
        ("results/vegetable.json", set()),
        ("rflav_lib/new.py", set()),
    ],
)
def test_nearest_tests(changed, near):
    assert nearest_tests([changed], SOURCES) == {changed: {f"tests/test_{name}.py" for name in near}}


def test_a_circle_of_imports_ends():
    circle = {"rflav_lib/a.py": "import rflav_lib.b\n", "rflav_lib/b.py": "import rflav_lib.a\n"}
    assert nearest_tests(["rflav_lib/a.py"], circle) == {"rflav_lib/a.py": set()}


def test_names_of_packages_and_tools():
    assert module_names("rflav_lib/data/__init__.py") == {"rflav_lib.data"}
    assert module_names("tools/demo.py") == {"tools.demo", "demo"}
    assert module_names("README.md") == set()


@pytest.fixture
def repository(tmp_path):
    """A commit of three files."""
    for name in ("rflav_lib/core.py", "tests/test_core.py", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(SOURCES.get(name, "notes\n"))
    for step in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *step], cwd=tmp_path, check=True
        )
    return tmp_path


def test_nothing_changed_is_nothing_to_run(repository, capsys):
    assert changed_files(repository) == []
    assert command(repository) is None
    assert "nothing has changed" in capsys.readouterr().out


def test_edited_new_and_deleted_files(repository, capsys):
    (repository / "rflav_lib" / "core.py").unlink()
    (repository / "notes.txt").write_text("others\n")
    (repository / "rflav_lib" / "new one.py").write_text("this does not parse\n")
    assert changed_files(repository) == ["notes.txt", "rflav_lib/core.py", "rflav_lib/new one.py"]
    run = command(repository)
    assert run is not None and run[0] == "pytest" and run[-1] == "tests/test_core.py"
    told = capsys.readouterr().out
    assert "no test is near to notes.txt, rflav_lib/new one.py" in told and "near to them: 1" in told


def test_notebooks_that_name_a_changed_file_are_told(repository, capsys):
    lessons = repository / "notebooks"
    lessons.mkdir()
    (lessons / "01_reads.ipynb").write_text('{"source": "read(\\"notes.txt\\")"}')
    (lessons / "02_does_not.ipynb").write_text("{}")
    (repository / "notes.txt").write_text("others\n")
    command(repository)
    assert 'make notebooks NAMES="01_reads"' in capsys.readouterr().out


def test_without_git_it_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"git cannot say what has changed.*make test"):
        command(tmp_path)
