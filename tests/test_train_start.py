"""Training that goes on from a trained model's weights."""

import json

import pytest
import torch

from rflav_lib import released
from rflav_lib.data.toy import CLASSES
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train import run_to_the_end
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_run import TrainRun
from tests.tiny import tiny_pipeline

SHAPE = {
    "clips": 4, "clip_frames": 30, "batch_size": 2, "hidden_size": 24, "depth": 1, "num_heads": 2, "n_mels": 64,
    "max_steps": 1, "warmup_steps": 0, "tracker": "none", "sample_every": 10**9, "precision": "no",
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    monkeypatch.setattr("rflav_lib.train_config.ROOT", tmp_path)


def config(**changes):
    return TrainConfig(**{**SHAPE, **changes})


@pytest.fixture
def first(tmp_path):
    """A trained pipeline's folder."""
    run_to_the_end(config(output_dir="first"))
    return tmp_path / "first" / "pipeline"


def test_a_run_begins_with_the_weights_of_another_and_its_average_too(first, tmp_path):
    stored = RFLAVPipeline.from_pretrained(first).transformer.state_dict()
    run = TrainRun(config(start_from=str(first), output_dir="second", seed=5))
    for name, tensor in run.bare_model.state_dict().items():
        assert torch.equal(tensor, stored[name]), name
    averaged = run.pipeline().transformer.state_dict()
    assert all(torch.equal(averaged[name], stored[name]) for name in stored)


def test_memory_frames_may_be_added_and_nothing_else(first):
    run = TrainRun(config(start_from=str(first), output_dir="second", sink_frames=1, longest_past=12))
    state, stored = run.bare_model.state_dict(), RFLAVPipeline.from_pretrained(first).transformer.state_dict()
    assert set(state) - set(stored) == {"video_memory_position", "audio_memory_position"}
    assert all(torch.equal(state[name], stored[name]) for name in stored)
    with pytest.raises(
        ValueError, match=r"start_from: .*pipeline is not of this config: .*\(24,.*, not \(48,"
    ):
        TrainRun(config(start_from=str(first), output_dir="third", hidden_size=48))
    with pytest.raises(ValueError, match=r"config: \d+ missing \(blocks\.1\..*, \.\.\.\); set"):
        TrainRun(config(start_from=str(first), output_dir="third", depth=2))


def renamed(pipeline, names):
    """The classes of a stored pipeline get other names."""
    index = pipeline / "model_index.json"
    facts = json.loads(index.read_text())
    assert facts["class_names"] == list(CLASSES["toy-landscape"])
    index.write_text(json.dumps({**facts, "class_names": names}))


def label_rows(pipeline_or_run):
    state = getattr(pipeline_or_run, "bare_model", None) or pipeline_or_run.transformer
    return {name: state.state_dict()[name] for name in ("video_label.weight", "audio_label.weight")}


def test_classes_are_matched_by_name(first):
    names = list(CLASSES["toy-landscape"])
    renamed(first, names[::-1])
    stored = label_rows(RFLAVPipeline.from_pretrained(first))
    begun = label_rows(TrainRun(config(start_from=str(first), output_dir="second")))
    for name, rows in stored.items():
        assert torch.equal(begun[name], rows[[4, 3, 2, 1, 0, 5]]), name


def test_classes_that_the_start_does_not_have_are_told(first):
    renamed(first, ["rain", "wind", "bounce", "pendulum", "siren"])
    stored = label_rows(RFLAVPipeline.from_pretrained(first))
    with pytest.warns(UserWarning, match=r"start_from: .* other classes; .* labels: fireworks as wind$"):
        begun = label_rows(TrainRun(config(start_from=str(first), output_dir="second")))
    for name, rows in stored.items():
        assert torch.equal(begun[name], rows[[2, 3, 0, 1, 4, 5]]), name


def test_a_run_that_goes_on_takes_its_own_checkpoint_and_not_the_start(first, tmp_path):
    run_to_the_end(config(start_from=str(first), output_dir="second"))
    once = RFLAVPipeline.from_pretrained(tmp_path / "second" / "pipeline").transformer.state_dict()
    run_to_the_end(config(start_from=str(first), output_dir="second"))
    again = RFLAVPipeline.from_pretrained(tmp_path / "second" / "pipeline").transformer.state_dict()
    assert all(torch.equal(again[name], once[name]) for name in once)
    with pytest.raises(ValueError, match="made with another config .*start_from"):
        run_to_the_end(config(output_dir="second"))


def test_what_cannot_be_opened_is_named(tmp_path, monkeypatch):
    def offline(name):
        raise ValueError(f"{name}: cannot be fetched")

    monkeypatch.setattr(released, "load", offline)
    with pytest.raises(ValueError, match="no-such-model: cannot be fetched"):
        TrainRun(config(start_from="no-such-model"))
    other = tiny_pipeline()
    other.save_whole(tmp_path / "other")
    with pytest.raises(ValueError, match="start_from: the model in .*other is not of this config"):
        TrainRun(config(start_from=str(tmp_path / "other")))
