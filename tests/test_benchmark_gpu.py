"""The plan for a lent GPU, run on the CPU with a tiny model: stages fail alone, and what they measured is kept."""

import json
import sys

import psutil
import pytest

from benchmarks import fusions, generation, gpu, training
from benchmarks.gpu import Stage

TINY = ("--model", "tiny", "--frames", "1", "--samplers")


@pytest.mark.slow
def test_stages_run_fail_and_go_on(tmp_path, capfd):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import sys\nprint('of no use')\nsys.exit(2)\n")
    stages = {
        "plain": Stage("generation.py", (*TINY, "plain float32"), 120),
        "wrong": Stage(str(wrong), (), 60),
        "fast": Stage("generation.py", (*TINY, "fast float32"), 120),
    }
    found = gpu.run(stages, tmp_path, 400)
    assert {name: each["status"] for name, each in found["stages"].items()} == {
        "plain": "done", "wrong": "failed (exit code 2)", "fast": "done",
    }  # fmt: skip
    assert found["stages"]["wrong"]["last lines"] == ["of no use"]
    assert json.loads((tmp_path / "gpu.json").read_text()) == found
    rows = found["samplers"]["batch 1"]
    assert set(rows) == {"plain float32", "fast float32"} and rows["fast float32"]["times plain"] > 0
    assert len(list(tmp_path.glob("*.pt"))) == 1, "the stages share what the plain sampler made"
    capfd.readouterr()
    gpu.run(stages, tmp_path, 400)
    assert [line.split(":")[0] for line in capfd.readouterr().out.splitlines()] == ["wrong"], (
        "what is done stays"
    )


def ends(pid):
    """Whether a process that was killed is gone, or a zombie, within ten seconds: a busy machine takes a while."""
    try:
        psutil.Process(pid).wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def script(tmp_path, monkeypatch, text):
    """A stage that runs this Python."""
    path = tmp_path / "stage.py"
    path.write_text(text)
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    path.rename(tmp_path / "benchmarks" / "stage.py")


def test_a_stage_that_takes_too_long_is_ended_with_its_children(tmp_path, monkeypatch):
    script(
        tmp_path, monkeypatch,
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('child').write_text(str(child.pid)); print('half of it is done', flush=True)\n"
        "time.sleep(60)\n",
    )  # fmt: skip
    monkeypatch.setattr(gpu, "LEAST", 0)
    found = gpu.run({"long": Stage("stage.py", (), 3)}, tmp_path / "out", 60)["stages"]["long"]
    assert found["status"] == "ended after 3 s" and found["last lines"] == ["half of it is done"]
    assert found["seconds"] < 30
    child = tmp_path / "child"
    if sys.platform == "linux":
        assert ends(int(child.read_text())), "the child goes on"


def test_a_stage_for_which_there_is_no_time_is_not_begun(tmp_path):
    found = gpu.run(gpu.STAGES, tmp_path, 1)
    assert {each["status"] for each in found["stages"].values()} == {"not begun"}
    assert not list(tmp_path.glob("*.log"))


@pytest.mark.parametrize("name", gpu.STAGES)
def test_the_commands_of_the_plan_are_understood(name, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    stage = gpu.STAGES[name]
    module = {"generation.py": generation, "training.py": training, "fusions.py": fusions}[stage.script]
    options = module.parse([*stage.options, "--out", str(tmp_path / "out.json")])
    assert options.device == "cuda" and stage.seconds < 540


def test_the_plan_can_be_read(capsys, tmp_path):
    assert gpu.main(["--list", "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in gpu.STAGES)
    with pytest.raises(SystemExit):
        gpu.parse(["--seconds", "5"])
    assert "--seconds must be at least 20, not 5" in capsys.readouterr().err
