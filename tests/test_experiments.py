"""Small experiments: a run is decided by name, overrides and seed; what is done is not done again."""

import json

import pytest
import torch

from rflav_lib import experiments
from rflav_lib.data.toy import CLASSES
from tests.tiny import tiny_pipeline

pytestmark = pytest.mark.usefixtures("quick_vocoder")

TINY = {
    "clips": 4, "clip_frames": 12, "batch_size": 2, "hidden_size": 24, "depth": 1, "num_heads": 2, "max_steps": 2,
    "warmup_steps": 1, "precision": "no", "log_every": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache_in_tmp(monkeypatch, tmp_path):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)


def test_a_small_model_is_trained_sampled_and_measured(tmp_path):
    folder = experiments.trained("base", TINY, 3, tmp_path)
    assert folder == tmp_path / "base" / "seed-3" / "pipeline"
    pipe = experiments.opened(folder)
    assert pipe.transformer.config.hidden_size == 24
    clips = experiments.made(pipe, 6, 12, 1, seed=0, batch=4)
    assert [len(clip) for clip in clips] == [12] * 6
    figures = experiments.measured(pipe, clips)
    assert 0 <= figures["asked class seen"]["low"] <= figures["asked class seen"]["high"] <= 1
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    before = weights.stat().st_mtime_ns
    assert experiments.trained("base", TINY, 3, tmp_path) == folder
    assert weights.stat().st_mtime_ns == before, "a finished run is found, not trained again"
    with pytest.raises(ValueError, match="made with another config .*window 10 -> 5"):
        experiments.trained("base", {**TINY, "window": 5}, 3, tmp_path)


@pytest.mark.parametrize(
    ("world", "message"),
    [("toy-pillar", "4 classes .hidden-5"), ("toy-dance", "without classes does not tell its world")],
)
def test_models_of_other_worlds_are_not_read_as_toy_landscape(world, message):
    pipe = tiny_pipeline(num_classes=len(CLASSES[world]))
    pipe.register_to_config(class_names=list(CLASSES[world]))
    with pytest.raises(ValueError, match=message):
        experiments.measured(pipe, experiments.real(world, 2, 12))


def test_labels_come_in_turn():
    assert experiments.labels_in_turn(7, 5) == [0, 1, 2, 3, 4, 0, 1]
    assert experiments.labels_in_turn(3, 0) is None


def test_windows_of_picture_and_sound_are_those_of_the_clips_alone():
    clips = experiments.real("toy-landscape", 4, 24)
    found = experiments.windows(clips, 8)
    for side in ("picture", "sound"):
        assert found[side].starts == (0, 8, 16) and found[side].values.shape == (3, 4, 64)
    second = experiments.windows([type(c)(c.frames[8:16], c.waveform[12800:25600]) for c in clips], 8)
    for side in ("picture", "sound"):
        torch.testing.assert_close(second[side].values[0], found[side].values[1])
    assert not torch.allclose(found["sound"].values[0], found["sound"].values[1])


def test_what_is_kept_is_not_worked_out_again(tmp_path):
    file = tmp_path / "a" / "one.json"
    assert experiments.kept(file, lambda: {"value": 1.5}) == {"value": 1.5}
    assert experiments.kept(file, None) == json.loads(file.read_text()) == {"value": 1.5}
    with pytest.raises(RuntimeError):
        experiments.kept(tmp_path / "two.json", lambda: (_ for _ in ()).throw(RuntimeError("stopped")))
    assert not (tmp_path / "two.json").exists(), "nothing half done is kept"
    file.write_text("{")
    with pytest.raises(ValueError, match="one.json: not readable as JSON"):
        experiments.kept(file, None)
