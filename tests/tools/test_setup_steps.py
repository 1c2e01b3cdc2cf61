"""`make setup` says what is wrong in words, and what it did not finish never looks complete."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import setup_env
import setup_steps
from setup_steps import Environment, SetupError

GB = 10**9
PLENTY = 100 * GB


def plenty(folder: Path) -> int:
    return PLENTY


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def pretend(environment: Environment, version: str) -> None:
    """A .venv whose Python says it is `version`."""
    environment.python.parent.mkdir(parents=True)
    environment.python.write_text(f"#!/bin/sh\necho {version}\n")
    environment.python.chmod(0o755)


@pytest.fixture
def fake_run(monkeypatch):
    """`python -m venv` and the import check do nothing and succeed; what was called is kept."""
    calls = []

    def run(command, **_):
        calls.append([str(part) for part in command])
        return SimpleNamespace(returncode=0, stdout="3.11\n", stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def fake_pip(monkeypatch, lines: list[str], status: int) -> list[list[str]]:
    """pip prints `lines` and ends with `status`."""
    calls = []

    class Process:
        def __init__(self, command, **settings):
            calls.append(command)
            assert settings["env"]["TMPDIR"].endswith(".venv/tmp")
            self.stdout = iter(lines)

        def wait(self):
            return status

        def kill(self):
            pass

    monkeypatch.setattr(subprocess, "Popen", Process)
    return calls


# which Python


@pytest.mark.parametrize(("version", "age"), [((3, 9), "old"), ((2, 7), "old"), ((3, 13), "new")])
def test_wrong_python_and_no_other(version, age, capsys):
    assert setup_env.main(version, find=lambda: None) == 1
    told = capsys.readouterr().err
    assert f"Python {version[0]}.{version[1]}, which is too {age}" in told
    assert "needs Python 3.11 or 3.12" in told
    assert "make setup PYTHON=" in told


def test_wrong_python_hands_over_to_a_suitable_one(capsys):
    handed = []
    setup_env.main(
        (3, 9), find=lambda: "/x/python3.12", hand_over=lambda path, argv: handed.append((path, argv))
    )
    assert handed == [("/x/python3.12", ["/x/python3.12", str(Path(setup_env.__file__).resolve())])]
    assert "using /x/python3.12" in capsys.readouterr().out


def test_a_name_on_the_path_that_does_not_run_is_passed_over():
    def run(command, **_):
        if command[0] == "python3.12":
            raise subprocess.CalledProcessError(127, command)  # a stand-in of pyenv
        return b"3.11 /x/bin/python3.11\n"

    assert setup_env.other_python(run) == "/x/bin/python3.11"


def test_no_suitable_python_on_the_path():
    def run(command, **_):
        raise FileNotFoundError(command[0])

    assert setup_env.other_python(run) is None


def test_suitable_pythons_are_those_of_pyproject():
    text = (Path(setup_env.__file__).parents[1] / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.11,<3.13"' in text
    assert sorted(setup_env.SUITABLE) == [(3, 11), (3, 12)]
    assert setup_steps.PYTHONS == ("3.11", "3.12")


# the folder and its marks


def test_a_small_disk_is_refused_before_anything_is_made(environment):
    with pytest.raises(SetupError, match=r"Not enough room .* 4\.2 GB are free, 9\.5 GB are needed"):
        setup_steps.prepare(environment, lambda folder: int(4.2 * GB))
    assert not environment.folder.exists()


def test_missing_venv_module_names_the_package(environment):
    with pytest.raises(SetupError, match=rf"apt install python3\.{sys.version_info.minor}-venv"):
        setup_steps.check_ensurepip(lambda name: None)


def test_a_new_environment_is_ours_and_not_complete(environment, fake_run):
    assert setup_steps.prepare(environment, plenty).startswith("making .venv")
    assert environment.ours.is_file()
    assert not environment.complete.exists()
    assert fake_run == [[sys.executable, "-m", "venv", str(environment.folder)]]


def test_an_interrupted_one_is_built_again_from_nothing(environment, fake_run):
    pretend(environment, "3.11")
    environment.ours.touch()
    (environment.folder / "half-a-package").touch()
    assert "interrupted" in setup_steps.prepare(environment, plenty)
    assert not (environment.folder / "half-a-package").exists()


def test_a_complete_one_is_brought_up_to_date_and_incomplete_meanwhile(environment):
    pretend(environment, "3.11")
    environment.ours.touch()
    environment.complete.touch()
    assert "up to date" in setup_steps.prepare(environment, plenty)
    assert environment.folder.is_dir()
    assert not environment.complete.exists()


def test_somebody_elses_environment_is_kept(environment):
    pretend(environment, "3.12")
    assert "using the .venv that is there (Python 3.12)" in setup_steps.prepare(environment, plenty)
    assert environment.python.exists()


def test_somebody_elses_unsuitable_environment_is_neither_used_nor_removed(environment):
    pretend(environment, "3.13")
    with pytest.raises(SetupError, match=r"its Python is 3\.13; 3\.11 or 3\.12 is needed. Move it away"):
        setup_steps.prepare(environment, plenty)
    assert environment.python.exists()


# pip

PIP_FAILURES = {
    "OSError: [Errno 28] No space left on device": "The disk is full",
    "NewConnectionError('<...>: Failed to establish a new connection: [Errno 111] Connection refused')\n"
    "ERROR: No matching distribution found for torch==2.11.*": "the network is down",
    "Temporary failure in name resolution": "the network is down",
    "ERROR: Cannot install a and b, which conflict.\nERROR: ResolutionImpossible": "pinned versions",
    "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))": "PIP_CERT",
    "ERROR: Could not install: [Errno 13] Permission denied: '/x'": "may not be written",
    "something\nnobody\n\nhas seen\nbefore": "    nobody\n    has seen\n    before",
}


@pytest.mark.parametrize("output", PIP_FAILURES)
def test_pip_failures_are_explained(environment, monkeypatch, fake_run, capsys, output):
    fake_pip(monkeypatch, output.splitlines(keepends=True), status=1)
    assert setup_steps.main(environment.root, plenty) == 1
    told = capsys.readouterr().err
    assert PIP_FAILURES[output] in told
    assert "Traceback" not in told
    assert str(environment.log) in told
    assert environment.log.read_text() == output
    assert not environment.complete.exists()


def test_success_is_marked_last(environment, monkeypatch, fake_run, capsys):
    lines = [
        "Collecting torch\n",
        "  Downloading torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl (530.6 MB)\n",
        "  Downloading einops-0.8.2-py3-none-any.whl (65 kB)\n",
        "Installing collected packages: torch, einops, av\n",
    ]
    (command,) = [[str(part) for part in call] for call in fake_pip_and_run(environment, monkeypatch, lines)]
    assert environment.complete.is_file()
    assert command[command.index("-c") + 1] == "constraints.txt"
    assert command[command.index("-e") + 1] == ".[dev]" and "--no-compile" in command
    compiling, loading = ([word in call for call in fake_run].index(True) for word in ("compileall", "-c"))
    assert compiling < loading, "else the first import would compile on one core"
    shown = capsys.readouterr().out
    assert "downloading torch (530.6 MB)" in shown
    assert "einops" not in shown
    assert "unpacking packages: 3" in shown


def test_packages_are_compiled_all_but_their_tests_and_a_bad_file_is_passed_over(tmp_path):
    environment = Environment(tmp_path)
    packages = environment.folder / "lib" / "python3" / "site-packages"
    (packages / "tests").mkdir(parents=True)
    for name, text in (("good", "x = 1"), ("bad", "x ="), ("tests/test_good", "x = 1")):
        (packages / f"{name}.py").write_text(text)
    environment.python = sys.executable
    setup_steps.compile_packages(environment)
    assert [path.name.split(".")[0] for path in environment.folder.rglob("*.pyc")] == ["good"]


def fake_pip_and_run(environment, monkeypatch, lines):
    calls = fake_pip(monkeypatch, lines, status=0)
    assert setup_steps.main(environment.root, plenty) == 0
    return calls


def test_what_does_not_load_is_not_complete(environment, monkeypatch, fake_run, capsys):
    fake_pip(monkeypatch, [], status=0)
    broken = SimpleNamespace(
        returncode=1, stdout="", stderr="Traceback\nImportError: libgomp.so.1: cannot open"
    )
    made = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **_: broken if "-c" in command else made(command))
    assert setup_steps.main(environment.root, plenty) == 1
    assert "does not load: ImportError: libgomp.so.1" in capsys.readouterr().err
    assert not environment.complete.exists()


def test_ctrl_c_leaves_it_incomplete(environment, monkeypatch, fake_run, capsys):
    def interrupted():
        yield "Collecting torch\n"
        raise KeyboardInterrupt

    fake_pip(monkeypatch, interrupted(), status=0)
    assert setup_steps.main(environment.root, plenty) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not environment.complete.exists()
    assert not (environment.folder / "tmp").exists()
