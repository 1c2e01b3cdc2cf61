"""The training configuration: what it refuses, and that every door reads the same."""

from dataclasses import asdict, fields

import pytest
import yaml

from rflav_lib import ROOT
from rflav_lib.train_config import TrainConfig


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_are_complete(path):
    """Every key stands in the file: a run is what its file says, whatever the defaults become."""
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(stored) == {field.name for field in fields(TrainConfig)}
    assert asdict(TrainConfig.from_yaml(path)) == stored


def test_changes_override_the_file():
    config = TrainConfig.from_yaml(ROOT / "configs/toy-landscape.yaml", max_steps=200)
    assert config.max_steps == 200


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hiden_size": 64}, "unknown key 'hiden_size'.*did you mean 'hidden_size'"),
        ({"zzz": 1}, "unknown key 'zzz'"),
        ({"depth": "six"}, "depth must be int, not 'six'"),
        ({"depth": 2.5}, "depth must be int, not 2.5"),
        ({"resume": 1}, "resume must be bool, not 1"),
        ({"depth": True}, "depth must be int, not True"),
        ({"world": "moon"}, "world must be one of toy-landscape, toy-dance, not 'moon'"),
        ({"fusion": "d"}, "fusion must be one of"),
        ({"weighting": "cubic"}, "weighting must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"clip_frames": 5}, "clip_frames must be at least the window, 10"),
        ({"hidden_size": 100}, "hidden_size must be a multiple of 6 heads"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_mapping(values)


def test_a_whole_number_does_for_a_float():
    config = TrainConfig.from_mapping({"learning_rate": 1})
    assert config.learning_rate == 1.0 and isinstance(config.learning_rate, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth: [", "not readable as YAML"),
        ("- depth", "must be a list of 'key: value'"),
        (None, "no such config"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig.from_yaml(path)
    assert "run.yaml" in str(caught.value)


def test_an_empty_file_means_the_defaults(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("", encoding="utf-8")
    assert TrainConfig.from_yaml(path) == TrainConfig()


def test_notebook_parameters_are_checked_too():
    known = {"helper"}
    namespace = {"helper": 3, "max_steps": 7, "_private": 1, "module": pytest}
    assert TrainConfig.from_notebook(namespace, known).max_steps == 7
    with pytest.raises(ValueError, match="notebook parameters: unknown key 'max_step'"):
        TrainConfig.from_notebook({**namespace, "max_step": 9}, known)
