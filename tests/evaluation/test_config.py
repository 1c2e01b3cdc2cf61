"""What an evaluation is asked to do: checked by name before anything is made."""

import pytest

from rflav_lib import ROOT
from rflav_lib.evaluate import EvaluateConfig, Row
from rflav_lib.train_config import TrainConfig

CONFIGS = sorted((ROOT / "configs").glob("evaluate-*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_that_are_there(path):
    config = EvaluateConfig.from_yaml(path)
    assert config.rows
    assert all(isinstance(row, Row) for row in config.rows)
    if path.stem != "evaluate-toy":
        assert (config.samples, config.frames, config.size, config.networks) == (2048, 16, 64, "published")
        steps = {(row.task, row.steps) for row in config.rows}
        assert {("joint", 20), ("joint", 100), ("joint", 200), ("a2v", 200), ("v2a", 200)} <= steps


def test_the_toy_bank_holds_all_that_the_bundled_model_was_trained_on():
    runs = [TrainConfig.from_yaml(path) for path in (ROOT / "configs").glob("toy-landscape*.yaml")]
    assert len(runs) == 4 and {run.world for run in runs} == {"toy-landscape"}
    training = EvaluateConfig.from_yaml(ROOT / "configs" / "evaluate-toy.yaml").training
    for run in runs:
        assert any(
            seed == run.seed and clips >= run.clips and frames >= run.clip_frames
            for seed, clips, frames in training
        ), run
    assert sum(clips for _, clips, _ in training) == 14_400


@pytest.mark.parametrize("data", ["aist", "landscape"])
def test_every_training_config_of_the_papers_data_has_an_evaluation(data):
    """The 64 pixels' evaluation takes that training's model; the other one is of the released weights, 256 pixels."""
    small, large = (
        EvaluateConfig.from_yaml(ROOT / f"configs/evaluate-{data}{end}.yaml") for end in ("-64", "")
    )
    trained = TrainConfig.from_yaml(ROOT / f"configs/{data}-64.yaml")
    assert {row.checkpoint for row in small.rows} == {f"{trained.output_dir}/pipeline"}
    assert small.source_size == 8 * trained.latent_size == 64 and large.source_size == 256
    free = {"rows": [], "source_size": 64, "output_dir": "x"}
    assert {**small.as_mapping(), **free} == {**large.as_mapping(), **free}


def test_rows_come_from_the_command_line_too(settings):
    changes = ["rows=[{name: a, checkpoint: x, steps: 100, task: a2v}]", "samples=7"]
    config = EvaluateConfig.from_command_line(CONFIGS[-1], changes)
    assert config.rows == [Row("a", "x", 100, "a2v")]
    assert config.samples == 7
    again = EvaluateConfig.from_mapping(config.as_mapping())
    assert again == config, "as_mapping can be read again"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"smaples": 3}, "unknown key 'smaples' .did you mean 'samples'"),
        ({"samples": 1}, "samples must be at least 2"),
        ({"networks": "inception"}, "networks must be one of published, stand-ins, toy"),
        ({"data": "data/videos"}, "networks must be toy for a toy world only"),
        ({"codec": "mp3"}, "codec must be none or h264"),
        ({"toy_frames": 3}, "toy_frames must be at least `frames`"),
        ({"training": [[0, 5]]}, "training must be a list of .seed, clips, frames of a clip., not"),
        ({"training": [[0, 0, 6]]}, "training must be of seeds from 0 on and of at least 1 clip each"),
        ({"training": [[0, 5, 3]]}, "training must be of clips of at least `frames` frames"),
        ({"training": [[0, 5, 6]], "codec": "h264"}, "training must be empty where clips go through a codec"),
        (
            {"training": [[0, 5, 6]], "data": "data/x", "networks": "stand-ins"},
            "training must be empty but for a toy world",
        ),
        ({"rows": ["x"]}, "row 1 must be a mapping"),
        ({"rows": [{"name": "x"}]}, "row 1 has no checkpoint"),
        (
            {"rows": [{"name": "x", "checkpoint": "y", "step": 3}]},
            "row 1: unknown key 'step' .did you mean 'steps'",
        ),
        (
            {"rows": [{"name": "x", "checkpoint": "y", "task": "t2v"}]},
            "'x': task must be one of joint, a2v, v2a",
        ),
        (
            {"rows": [{"name": "x", "checkpoint": "y", "task": "a2v", "guidance": 2.0}]},
            "'x': guidance must be 1 for a2v",
        ),
        (
            {"rows": [{"name": "x", "checkpoint": "y", "guidance": float("nan")}]},
            "'x': guidance must be finite, not nan",
        ),
        (
            {"rows": [{"name": "x", "checkpoint": "y", "task": "a2v", "condition_scale": float("inf")}]},
            "'x': condition_scale must be finite, not inf",
        ),
        ({"rows": [{"name": "../x", "checkpoint": "y"}]}, "name must be letters"),
        ({"rows": [{"name": "x", "checkpoint": "y"}] * 2}, "x stands there twice"),
    ],
)
def test_what_cannot_work_is_named(settings, change, words):
    with pytest.raises(ValueError, match=words):
        EvaluateConfig.from_mapping({**settings, **change})
