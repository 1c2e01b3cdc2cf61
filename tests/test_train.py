"""Training: it learns, it resumes exactly, it can be stopped at any moment, and it says what is wrong."""

import itertools
import json
import os
import signal
import threading
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file

from rflav_lib import checkpoints
from rflav_lib.checkpoints import list_checkpoints
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.run_folder import read_metrics
from rflav_lib.train import learning_rates, main, run_to_the_end, train
from rflav_lib.train_run import TrainRun
from rflav_lib.train_stop import deferred_interrupt
from tests.tiny import tiny_config


@pytest.fixture(autouse=True)
def cache_in_tmp(monkeypatch, tmp_path):
    """Latents go to the test's folder, not to the repository's outputs."""
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal: a shell that starts the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def weights(config):
    return load_file(list_checkpoints(config.output_path / "checkpoints")[-1] / "model.safetensors")


def averages(config):
    return load_file(list_checkpoints(config.output_path / "checkpoints")[-1] / "ema.safetensors")


def test_the_loss_falls(tmp_path):
    config = tiny_config(
        tmp_path, max_steps=60, learning_rate=3e-3, batch_size=8, log_every=20, checkpoint_every=60
    )
    states = list(train(config))
    assert [state.step for state in states] == [20, 40, 60]
    assert states[-1].loss < 0.9 * states[0].loss
    assert states[0].loss == pytest.approx(states[0].video_loss + states[0].audio_loss)


def test_resumed_is_bit_equal_to_uninterrupted(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole, parts = tiny_config(tmp_path / "a"), tiny_config(tmp_path / "b")
    list(train(whole))
    # stops in the middle; the generator saves step 4 when it is closed
    for _ in itertools.islice(train(parts), 4):
        pass
    assert [path.name for path in list_checkpoints(parts.output_path / "checkpoints")][-1] == "step-000004"
    assert [state.step for state in train(parts)] == [5, 6]
    for stored in (weights, averages):
        first, second = stored(whole), stored(parts)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_accumulated_equals_one_large_batch(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    large = tiny_config(tmp_path / "a", batch_size=4)
    small = tiny_config(tmp_path / "b", batch_size=2, accumulation_steps=2)
    losses = [[state.loss for state in train(config)] for config in (large, small)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_samples_depend_on_step_and_number_alone(tmp_path):
    run = TrainRun(tiny_config(tmp_path))
    together, alone = run.draw_batch(5, range(4)), run.draw_batch(5, range(2, 4))
    assert torch.equal(together.video_noise[2:], alone.video_noise)
    assert torch.equal(together.t[2:], alone.t) and torch.equal(together.y[2:], alone.y)
    assert not torch.equal(together.video_noise[0], together.video_noise[1])
    assert not torch.equal(run.draw_batch(6, range(4)).audio_noise, together.audio_noise)


def test_labels_are_dropped_at_the_rate_asked(tmp_path):
    run = TrainRun(tiny_config(tmp_path, class_dropout=0.5))
    y = run.draw_batch(0, range(400)).y
    assert 0.4 < (y == 5).float().mean() < 0.6


def test_checkpoints_are_pruned_and_the_pipeline_opens(tmp_path):
    config = tiny_config(tmp_path, max_steps=8, checkpoint_every=2, keep_checkpoints=2)
    states = list(train(config))
    names = [path.name for path in list_checkpoints(config.output_path / "checkpoints")]
    assert names == ["step-000006", "step-000008"]
    pipeline = RFLAVPipeline.from_pretrained(config.output_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    (clip,) = pipeline(2, y="siren", steps_per_frame=1, generator=torch.Generator().manual_seed(0))
    assert len(clip) == 2
    assert (
        json.loads((config.output_path / "pipeline/vae/config.json").read_text())["_name_or_path"]
        == config.vae
    )
    stored = states[-1].run.pipeline().transformer.state_dict()
    for name, tensor in pipeline.transformer.state_dict().items():  # stored in bf16
        torch.testing.assert_close(tensor, stored[name], rtol=1e-2, atol=1e-6)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_the_last_whole_step(tmp_path):
    config = tiny_config(tmp_path, max_steps=100000, checkpoint_every=100000)
    timer, last = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)), 0
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the loop is the thing under test
        states = train(config)
        for state in states:
            last = state.step
            if last == 1:
                timer.start()
    states.close()
    (saved,) = list_checkpoints(config.output_path / "checkpoints")
    assert int(saved.name.removeprefix("step-")) in (last, last + 1)
    assert (config.output_path / "pipeline" / "model_index.json").is_file()


@pytest.fixture
def interrupted_writes(monkeypatch, ctrl_c):
    """Ctrl-C comes inside the write of every checkpoint."""
    write = checkpoints.write_checkpoint

    def write_and_interrupt(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return write(*arguments)

    monkeypatch.setattr(checkpoints, "write_checkpoint", write_and_interrupt)


@pytest.mark.usefixtures("interrupted_writes")
def test_ctrl_c_inside_a_checkpoint_waits_until_it_is_whole(tmp_path):
    config = tiny_config(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        list(train(config))
    assert [path.name for path in list_checkpoints(config.output_path / "checkpoints")] == ["step-000003"]
    assert (config.output_path / "pipeline" / "model_index.json").is_file()


@pytest.mark.usefixtures("interrupted_writes")
def test_a_second_ctrl_c_inside_the_last_checkpoint_costs_nothing(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(vars(tiny_config(tmp_path, max_steps=100_000, checkpoint_every=100_000))))

    def interrupt_after_the_first_step():
        while not read_metrics(tmp_path / "run"):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_after_the_first_step, daemon=True).start()
    assert main([str(path)]) == 130
    (saved,) = list_checkpoints(tmp_path / "run" / "checkpoints")
    assert capsys.readouterr().err.strip().splitlines()[-1] == (
        f"interrupted: the newest checkpoint is {saved}; the same command goes on from it"
    )


def test_an_interrupt_before_the_first_step_says_that_nothing_is_saved(tmp_path, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("rflav_lib.train_run.encode_toy_clips", interrupted)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(vars(tiny_config(tmp_path))))
    assert main([str(path)]) == 130
    assert "interrupted: nothing is saved yet in" in capsys.readouterr().err


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_waits_for_the_end_of_the_block():
    done = False
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        done = True
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_to_the_end_leaves_signals_as_they_were_and_runs_in_any_thread(tmp_path):
    config, before = tiny_config(tmp_path, max_steps=1), signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run_to_the_end, args=(config,))
    thread.start(), thread.join()
    assert list_checkpoints(config.output_path / "checkpoints"), "it came to the end"
    run_to_the_end(config)
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_stops_a_run_to_the_end(tmp_path, monkeypatch):
    def killed(config, accelerator):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
        yield

    monkeypatch.setattr("rflav_lib.train.train", killed)
    with pytest.raises(KeyboardInterrupt):
        run_to_the_end(tiny_config(tmp_path))


def test_another_config_is_refused_by_name(tmp_path):
    list(train(tiny_config(tmp_path)))
    with pytest.raises(ValueError, match="another config .weight_decay 0.01 -> 0.02"):
        next(train(tiny_config(tmp_path, weight_decay=0.02)))
    with pytest.raises(ValueError, match="holds a run already"):
        next(train(tiny_config(tmp_path, resume=False)))


@pytest.mark.parametrize(
    "name", ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "run.json"]
)
def test_damaged_checkpoints_are_named(tmp_path, name):
    config = tiny_config(tmp_path)
    list(train(config))
    path = list_checkpoints(config.output_path / "checkpoints")[-1] / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="step-000006: damaged checkpoint"):
        next(train(tiny_config(tmp_path, max_steps=8)))


def test_divergence_stops_and_names_the_last_good_checkpoint(tmp_path):
    config = tiny_config(tmp_path)
    states = train(config)
    message = r"not finite any more at step 5 .samples 0, 1 of 2.*step-000003"
    with pytest.raises(FloatingPointError, match=message):  # noqa: PT012
        for state in states:
            if state.step == 4:
                state.run.model.audio_head.linear.bias.data.fill_(float("inf"))
    assert list_checkpoints(config.output_path / "checkpoints")[-1].name == "step-000003"
    # what the message says can be done
    *_, last = train(tiny_config(tmp_path, learning_rate=1e-4, precision="no"))
    assert last.step == config.max_steps
    _, again = json.loads((config.output_path / "run.json").read_text(encoding="utf-8"))["starts"]
    assert again["from_step"] == 3 and again["precision"] == "no"
    assert "learning_rate 0.001 -> 0.0001" in again["changed"]


def test_steps_that_went_wrong_unseen_are_not_saved_as_the_last_good_ones(tmp_path):
    """The loop is left before a report was due: the steps since the last one are judged then."""
    config = tiny_config(tmp_path, log_every=2, max_steps=1000, checkpoint_every=1000)
    states = train(config)
    run = next(states).run
    run.model.audio_head.linear.bias.data.fill_(float("inf"))
    run.optimizer_step(1e-3)
    with pytest.raises(FloatingPointError, match="not finite any more at step 3 .*there is no checkpoint"):
        states.close()
    assert list_checkpoints(config.output_path / "checkpoints") == []


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    states = train(tiny_config(tmp_path))
    for state in states:
        if state.step == 3:
            state.run.model.audio_head.linear.bias.data.fill_(float("inf"))
            with pytest.raises(
                FloatingPointError, match="step-000003 is not written: audio_head.linear.bias"
            ):
                next(states)
    assert list_checkpoints(tmp_path / "run" / "checkpoints") == []


def test_clips_that_fail_are_told_and_the_training_goes_on(tmp_path, monkeypatch):
    def refuses(*arguments, **settings):
        raise ValueError("log-mel must be finite")

    monkeypatch.setattr(RFLAVPipeline, "__call__", refuses)
    config = tiny_config(tmp_path, sample_every=4, sample_frames=2)
    with pytest.warns(UserWarning, match="no clips at step 4 .ValueError: log-mel must be finite"):
        states = list(train(config))
    assert [state.step for state in states] == [1, 2, 3, 4, 5, 6] and states[3].samples == ()
    told = {line["step"]: line.get("sample_error") for line in read_metrics(config.output_path)}
    error = "ValueError: log-mel must be finite"
    assert told == {1: None, 2: None, 3: None, 4: error, 5: None, 6: error}


def test_a_missing_codec_is_named(tmp_path):
    with pytest.raises(ValueError, match="nothing: no image VAE here"):
        next(train(tiny_config(tmp_path, vae=str(tmp_path / "nothing"))))


def test_warm_up_then_cosine_to_zero(tmp_path):
    rates = learning_rates(tiny_config(tmp_path, max_steps=101, warmup_steps=10, learning_rate=1.0))
    assert rates[0] == 0 and rates[10] == 1.0 and rates[5] == 0.5
    assert rates[-1] < 0.001 and sorted(rates[10:], reverse=True) == rates[10:]


def test_a_run_of_very_many_steps_begins_at_once(tmp_path):
    states = train(tiny_config(tmp_path, max_steps=3_000_000_000))
    assert next(states).learning_rate == 0
    states.close()


def test_the_command_line_says_in_what_precision_it_trains(tmp_path, capsys):
    settings = {**vars(tiny_config(tmp_path, max_steps=1)), "output_dir": str(tmp_path / "other")}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "precision: float32"


def test_command_line_reports_errors_in_one_line(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text("dpeth: 3", encoding="utf-8")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.strip().endswith("unknown key 'dpeth' (did you mean 'depth'?)")


@pytest.mark.parametrize(
    ("setting", "message"),
    [("max_steps", "settings are written key=value"), ("max_steps=[", "not readable as YAML")],
)
def test_a_broken_setting_is_named(tmp_path, capsys, setting, message):
    path = tmp_path / "run.yaml"
    path.write_text("depth: 3", encoding="utf-8")
    assert main([str(path), setting]) == 2
    error = capsys.readouterr().err
    assert setting in error and message in error
