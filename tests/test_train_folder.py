"""The folder of a run: what stands in it, who may write it, and what happens when it cannot be written."""

import json
import os
import resource
import shutil
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rflav_lib.checkpoints import list_checkpoints, prune
from rflav_lib.data.latents import ClipEncoder, ToySource, write_cache
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.run_folder import append_metrics, forget_after, locked, read_metrics
from rflav_lib.train import main, train
from tests.tiny import tiny_config, tiny_vae


@pytest.fixture(autouse=True)
def cache_in_tmp(monkeypatch, tmp_path):
    """Latents go to the test's folder, not to the repository's outputs."""
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)


def names(config):
    return [path.name for path in list_checkpoints(config.output_path / "checkpoints")]


def test_the_folder_tells_everything(tmp_path):
    config = tiny_config(tmp_path, tracker="tensorboard", sample_every=4, sample_frames=2, max_steps=4)
    states = list(train(config))
    folder = config.output_path
    assert yaml.safe_load((folder / "config.yaml").read_text())["hidden_size"] == 24
    (start,) = json.loads((folder / "run.json").read_text())["starts"]
    assert (start["seed"], start["from_step"], start["processes"]) == (0, 0, 1)
    assert start["provenance"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    lines = read_metrics(folder)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    last = lines[-1]
    assert len(last["video_by_position"]) == config.window
    assert last["video_loss"] == pytest.approx(sum(last["video_by_position"]) / 4, rel=1e-4)
    assert last["loss"] == pytest.approx(last["video_loss"] + last["audio_loss"], rel=1e-4)
    assert 0 <= last["loader_share"] <= 1 and last["samples_per_second"] > 0
    assert last["ema_decay"] == pytest.approx(4 / 13)  # (1 + 3) / (10 + 3): short runs average over few steps
    clips = sorted((folder / "samples").iterdir())
    assert [path.name for path in clips] == [
        f"step-000004-{name}.mp4" for name in ("bounce", "fireworks", "pendulum", "rain")
    ]
    assert len(Clip.read(clips[0])) == 2 and len(states[-1].samples) == 4


def test_tensorboard_shows_losses_positions_and_samples(tmp_path):
    config = tiny_config(tmp_path, tracker="tensorboard", sample_every=2, sample_frames=2, max_steps=2)
    list(train(config))
    board = EventAccumulator(str(config.output_path / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    for name in ("loss", "video_loss", "audio_loss", "grad_norm", "ema_decay", "samples_per_second"):
        assert f"train/{name}" in tags["scalars"]
    assert "position_video/3" in tags["scalars"] and "position_audio/0" in tags["scalars"]
    assert "samples/rain" in tags["images"] and "samples/rain" in tags["audio"]
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2]


def test_a_fresh_model_explains_nothing_and_a_trained_one_something(tmp_path):
    config = tiny_config(tmp_path, max_steps=40, learning_rate=3e-3, batch_size=8, checkpoint_every=40)
    explained = [state.explained for state in train(config)]
    assert explained[0] == pytest.approx(0, abs=1e-5)
    assert 0.03 < explained[-1] < 1


def test_lines_beyond_the_weights_are_forgotten(tmp_path):
    for step in (1, 2, 3):
        append_metrics(tmp_path, {"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed here
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3]
    forget_after(tmp_path, 2)
    append_metrics(tmp_path, {"step": 3})
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3]


def test_the_last_ones_and_every_mth_are_kept(tmp_path):
    config = tiny_config(tmp_path, max_steps=9, checkpoint_every=1, keep_checkpoints=2, keep_every=4)
    list(train(config))
    assert names(config) == ["step-000004", "step-000008", "step-000009"]
    prune(config.output_path / "checkpoints", keep_last=1, keep_every=0)
    assert names(config) == ["step-000009"]


def test_what_a_resumed_run_changed_is_recorded(tmp_path):
    list(train(tiny_config(tmp_path, max_steps=3)))
    list(train(tiny_config(tmp_path, max_steps=4, log_every=2)))
    starts = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    assert [start["from_step"] for start in starts] == [0, 3]
    assert starts[1]["changed"][:2] == ["max_steps 3 -> 4", "log_every 1 -> 2"]


def test_a_folder_is_held_once(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(ValueError, match=f"in use by process {os.getpid()} .*this very process"),
    ):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        assert json.loads((tmp_path / ".running.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".running.json").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="output_dir: .*file/run cannot be written"):
        next(train(tiny_config(tmp_path, output_dir=str(tmp_path / "file" / "run"))))


@pytest.mark.usefixtures("permissions_hold")
def test_a_read_only_folder_is_named(tmp_path):
    config = tiny_config(tmp_path)
    config.output_path.mkdir()
    config.output_path.chmod(0o500)
    with pytest.raises(ValueError, match="output_dir: .*run cannot be written"):
        next(train(config))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are of Unix")
def test_a_full_disk_stops_the_run_and_leaves_the_last_good_checkpoint(tmp_path):
    """A limit on the size of files makes writes fail as a full disk does, in the middle of a file."""
    config = tiny_config(tmp_path, max_steps=9)
    states, limits = train(config), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        message = "step-000006 could not be written .*last good checkpoint is .*step-000003"
        with pytest.raises(OSError, match=message):  # noqa: PT012
            for state in states:
                if state.step == 5:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    folder = config.output_path / "checkpoints"
    assert [path.name for path in folder.iterdir()] == ["step-000003"], "nothing half written is left"
    assert [state.step for state in train(config)] == [4, 5, 6, 7, 8, 9]


def test_weights_of_another_architecture_are_refused(tmp_path):
    config = tiny_config(tmp_path)
    list(train(config))
    path = list_checkpoints(config.output_path / "checkpoints")[-1] / "model.safetensors"
    tensors = load_file(path)
    tensors["video_embedding.bias"] = torch.zeros(7)
    save_file(tensors, path)
    message = r"of another architecture: 1 of another shape .video_embedding.bias is \(7,\), not \(24,\)"
    with pytest.raises(ValueError, match=message):
        next(train(config))


def test_a_checkpoint_of_a_newer_version_is_refused_by_its_key_and_not_called_damaged(tmp_path):
    config = tiny_config(tmp_path, max_steps=3)
    list(train(config))
    path = list_checkpoints(config.output_path / "checkpoints")[-1] / "run.json"
    facts = json.loads(path.read_text())
    facts["config"]["new_trick"] = 0.7
    path.write_text(json.dumps(facts))
    message = "step-000003: made with settings that this version does not know .new_trick 0.7.; go on with"
    with pytest.raises(ValueError, match=message):
        next(train(replace(config, max_steps=4)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overfit": False, "clips": 1}, "one clip can only be learnt by heart; .*overfit: true"),
        ({"overfit": False, "batch_size": 3}, "a step takes 3 samples .* only 2 clips"),
        ({"overfit": False, "accumulation_steps": 2}, "accumulation_steps 2 .* only 2 clips"),
    ],
)
def test_too_few_clips_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        next(train(tiny_config(tmp_path, **changes)))


def test_one_clip_can_be_learnt_by_heart_if_that_is_meant(tmp_path):
    assert next(train(tiny_config(tmp_path, clips=1, batch_size=3))).step == 1


def test_divergence_is_noticed_before_numbers_overflow(tmp_path):
    config = tiny_config(tmp_path, max_steps=60, learning_rate=10.0, max_grad_norm=1e9, checkpoint_every=2)
    with pytest.raises(
        FloatingPointError, match=r"step \d+.*(sample|samples) .*last good checkpoint is .*step-0000"
    ):
        list(train(config))
    for path in (list_checkpoints(config.output_path / "checkpoints")[-1]).glob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())


def test_command_line_says_what_is_wrong_in_one_line(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(vars(tiny_config(tmp_path, overfit=False, batch_size=5))))
    assert main([str(path), "max_steps=3"]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .splitlines()[-1]
        .startswith("error: batch_size: a step takes 5 samples")
    )


@pytest.mark.parametrize(("key", "value", "there"), [("latent_size", 32, 8), ("classes", 9, 5)])
def test_data_that_do_not_fit_the_config_are_named(tmp_path, key, value, there):
    with pytest.raises(ValueError, match=f"{key}: the config says {value}, but the data have {there}"):
        next(train(tiny_config(tmp_path, **{key: value})))


def stored_pipeline(config):
    return load_file(config.output_path / "pipeline" / "transformer" / "diffusion_pytorch_model.safetensors")


def newest_averages(config):
    averages = load_file(list_checkpoints(config.output_path / "checkpoints")[-1] / "ema.safetensors")
    return {name: tensor.bfloat16() for name, tensor in averages.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_pipeline_that_a_kill_left_behind_is_written_again(tmp_path, monkeypatch):
    config, save_whole = tiny_config(tmp_path), RFLAVPipeline.save_whole
    calls = []

    def killed(pipeline, folder):
        calls.append(folder)
        if len(calls) == 2:
            raise RuntimeError("killed")
        save_whole(pipeline, folder)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):  # noqa: PT012
        patch.setattr(RFLAVPipeline, "save_whole", killed)
        list(train(config))
    assert names(config)[-1] == "step-000006" and not same(stored_pipeline(config), newest_averages(config))
    assert not list(train(config)), "the steps are all done"
    assert same(stored_pipeline(config), newest_averages(config))
    shutil.rmtree(config.output_path / "pipeline")
    list(train(config))
    assert same(stored_pipeline(config), newest_averages(config))
    shutil.rmtree(list_checkpoints(config.output_path / "checkpoints")[-1])
    states = train(config)
    assert next(states).step == 4
    assert same(stored_pipeline(config), newest_averages(config)), "of step 3 again"
    states.close()


def test_a_pipeline_that_is_up_to_date_is_left_alone(tmp_path, monkeypatch):
    config = tiny_config(tmp_path)
    list(train(config))
    monkeypatch.setattr(RFLAVPipeline, "save_whole", lambda pipeline, folder: pytest.fail("written again"))
    list(train(config))


def other_vae(folder):
    vae = tiny_vae()
    for parameter in vae.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    shutil.rmtree(folder)
    vae.save_pretrained(folder)


def forget_sources(config):
    for path in list_checkpoints(config.output_path / "checkpoints"):
        facts = json.loads((path / "run.json").read_text())
        del facts["made_of"]
        (path / "run.json").write_text(json.dumps(facts))


def test_another_codec_in_the_same_folder_is_refused(tmp_path):
    config = tiny_config(tmp_path, max_steps=3)
    list(train(config))
    other_vae(tmp_path / "vae")
    with pytest.raises(ValueError, match=r"step-000003: trained with other codecs .*vae\.encoder '"):
        next(train(replace(config, max_steps=4)))
    forget_sources(config)  # as versions before wrote them
    assert next(train(replace(config, max_steps=4))).step == 4


@pytest.mark.parametrize(
    "made_of", [3, {"codecs": {}}, {"codecs": 1, "class_names": [], "clips": 1, "clips_digest": ""}]
)
def test_damaged_facts_of_codecs_and_clips_are_refused(tmp_path, made_of):
    config = tiny_config(tmp_path, max_steps=3)
    list(train(config))
    path = list_checkpoints(config.output_path / "checkpoints")[-1] / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "made_of": made_of}))
    with pytest.raises(ValueError, match=r"step-000003: damaged checkpoint \(run.json: made_of"):
        next(train(config))


def write_clips(folder, seed, count, names=None):
    source = ToySource("toy-landscape", seed, count, 6)
    if names:
        source.class_names = names
    mel = MelCodec(n_mels=32, audio_scale=2.5, peak=None)
    shutil.rmtree(folder, ignore_errors=True)
    write_cache(folder, ClipEncoder(source, tiny_vae(), mel, 64))


def test_other_clips_in_the_same_cache_are_named_and_other_classes_refused(tmp_path):
    config = tiny_config(tmp_path, latents=str(tmp_path / "cache"), max_steps=3)
    write_clips(tmp_path / "cache", 0, 4)
    list(train(config))
    write_clips(tmp_path / "cache", 0, 4)
    list(train(config))  # the same clips encoded again say nothing
    write_clips(tmp_path / "cache", 7, 9)
    with pytest.warns(UserWarning, match="the clips are others than before: 4 of .* -> 9 of"):
        list(train(replace(config, max_steps=4)))
    starts = json.loads((config.output_path / "run.json").read_text())["starts"]
    assert not starts[1]["changed"]
    assert any("the clips are others" in said for said in starts[2]["changed"])
    write_clips(tmp_path / "cache", 7, 9, ("bounce", "pendulum", "siren", "fireworks", "rain"))
    with pytest.raises(ValueError, match="trained with the classes bounce, pendulum, rain.*; the data have"):
        next(train(replace(config, max_steps=5)))
