"""Several processes train what one trains; a killed run goes on as if nothing had happened."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict

import pytest
import torch
import yaml
from safetensors.torch import load_file

from rflav_lib.checkpoints import list_checkpoints
from rflav_lib.run_folder import read_metrics
from rflav_lib.train import train
from tests.kill_and_resume import Runner, kill_and_compare
from tests.tiny import tiny_config

STEPS = 8


@pytest.fixture(autouse=True)
def root_in_tmp(monkeypatch, tmp_path_factory):
    """Latents go to a folder of the tests, not to the repository's outputs."""
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return Runner(tmp_path_factory.getbasetemp())


def config_in(folder, **changes):
    """A run with class dropout and gradients that are clipped, so that nothing is left to chance."""
    folder.mkdir()
    settings = {
        "batch_size": 8,
        "max_steps": STEPS,
        "checkpoint_every": 4,
        "class_dropout": 0.5,
        "learning_rate": 3e-3,
    }
    return tiny_config(folder, **{**settings, **changes})


def curve(config):
    """Every number of the loss curve: video and audio at each place of the window, and gradient norms."""
    lines = read_metrics(config.output_path)
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    return torch.tensor(
        [line["video_by_position"] + line["audio_by_position"] + [line["grad_norm"]] for line in lines]
    )


def weights(config):
    tensors = load_file(list_checkpoints(config.output_path / "checkpoints")[-1] / "ema.safetensors")
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


@pytest.fixture
def alone(tmp_path):
    """One process with all eight samples."""
    config = config_in(tmp_path / "alone")
    for _ in train(config):
        pass
    return config


def launched(config, path):
    """Two processes, as a user starts them; raises if they are not done after ten minutes."""
    path.write_text(yaml.safe_dump(asdict(config)), encoding="utf-8")
    # `accelerate launch` starts several processes for GPUs only; what it calls for them does it for a CPU too
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
        "-m", "rflav_lib.train", str(path), "log_every=1",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    print(done.stderr[-3000:])  # shown where a test fails
    return done


@pytest.mark.slow
def test_launched_processes_train_what_one_trains(alone, tmp_path):
    """As a user starts them. Each draws its own half of the noise, times, labels and dropout."""
    two = config_in(tmp_path / "two", batch_size=4)
    assert launched(two, tmp_path / "two.yaml").returncode == 0
    torch.testing.assert_close(curve(two), curve(alone), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights(two), weights(alone), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_clips_that_fail_in_the_main_process_leave_nobody_waiting(tmp_path):
    config = config_in(tmp_path / "two", sample_every=2, sample_frames=2, max_steps=4)
    config.output_path.mkdir()
    (config.output_path / "samples").write_text("no folder")
    done = launched(config, tmp_path / "two.yaml")
    assert done.returncode == 0 and "no clips at step 2 (FileExistsError" in done.stderr
    lines = read_metrics(config.output_path)
    assert [line["step"] for line in lines if "sample_error" in line] == [2, 4]


@pytest.mark.slow
def test_checkpoints_load_on_another_number_of_processes(alone, tmp_path, runner):
    """One process begins, two go on with accumulation, and one ends it: the curve is that of one alone."""
    moved = config_in(tmp_path / "moved", vae=alone.vae, batch_size=2, accumulation_steps=2)
    shutil.copytree(alone.output_path, moved.output_path)
    shutil.rmtree(moved.output_path / "checkpoints" / "step-000008")
    runner.run_together(moved, 2)
    torch.testing.assert_close(curve(moved), curve(alone), rtol=1e-4, atol=1e-5)
    assert "processes 1 -> 2, the same 8 samples a step" in (moved.output_path / "run.json").read_text()

    back = config_in(tmp_path / "back", vae=alone.vae, max_steps=STEPS + 2)
    shutil.copytree(moved.output_path, back.output_path)
    states = list(train(back))
    assert [state.step for state in states] == [9, 10] and all(state.loss > 0 for state in states)


@pytest.mark.slow
def test_no_bit_is_lost_when_the_run_is_killed(tmp_path):
    counts = kill_and_compare(tmp_path, kills=4, seed=1)
    assert counts["in a write"] >= 1 and counts["in a write"] + counts["at a random moment"] == 4


@pytest.mark.slow
def test_a_second_run_is_told_who_holds_the_folder_until_the_first_is_gone(tmp_path, runner):
    config = config_in(tmp_path / "held", max_steps=100_000, checkpoint_every=100_000)
    first = runner.start(config)
    try:
        deadline = time.monotonic() + 300
        while not (config.output_path / "metrics.jsonl").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(ValueError, match=f"is in use by process {first.pid} on .* since 20"):
            next(train(config))
    finally:
        first.kill()
        first.join()
    second = train(config)  # a kill leaves no lock behind
    assert next(second).step == 1
    second.close()
