"""The training configuration: what it refuses, and that every door reads the same."""

from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from rflav_lib import ROOT
from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.released import AUDIO_SCALES
from rflav_lib.train import run_to_the_end, train
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_run import prepared_for_speed

TRAINING = [
    path for path in sorted((ROOT / "configs").glob("*.yaml")) if not path.stem.startswith("evaluate-")
]


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_shipped_configs_are_complete(path):
    """Every key stands in the file: a run is what its file says, whatever the defaults become."""
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(stored) == {field.name for field in fields(TrainConfig)}
    assert asdict(TrainConfig.from_yaml(path)) == stored


@pytest.mark.parametrize(("data", "classes"), [("landscape", 9), ("aist", 0)])
@pytest.mark.parametrize(("pixels", "latents"), [(64, 8), (256, 32)])
def test_configs_of_the_paper_have_its_sizes(data, classes, pixels, latents):
    config = TrainConfig.from_yaml(ROOT / f"configs/{data}-{pixels}.yaml")
    assert (config.latent_size, config.classes) == (latents, classes)
    assert config.audio_scale == AUDIO_SCALES[classes]
    released = {
        "hidden_size": 768,
        "depth": 12,
        "num_heads": 12,
        "patch_size": 1,
        "window": 10,
        "n_mels": 256,
    }
    assert {key: getattr(config, key) for key in released} == released
    assert (config.preroll_probability, config.weighting, config.fusion) == (
        0.2,
        "logit_normal",
        "conditioned_average",
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs/accelerate").glob("*.yaml")), ids=lambda path: path.stem
)
def test_accelerate_reads_its_configs(path):
    config = load_config_from_file(str(path))
    assert config.num_processes == 8 * config.num_machines
    assert config.mixed_precision == "no", "the run's own config decides"
    assert (config.distributed_type == "FSDP") == path.stem.startswith("fsdp") == bool(config.fsdp_config)


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
        ({"world": "moon"}, "world must be one of toy-landscape, toy-dance, toy-pillar, not 'moon'"),
        ({"fusion": "d"}, "fusion must be one of"),
        ({"weighting": "cubic"}, "weighting must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"clip_frames": 5}, "clip_frames must be at least the window, 10"),
        ({"hidden_size": 100}, "hidden_size must be a multiple of 6 heads"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"learning_rate": float("inf")}, "learning_rate must be above 0, and finite, not inf"),
        ({"weight_decay": float("inf")}, "weight_decay must be at least 0, and finite"),
        ({"adam_beta2": 1.0}, "adam_beta2 must be in .0, 1., not 1.0"),
        ({"audio_scale": float("inf")}, "audio_scale must be above 0, and finite"),
        ({"mlp_ratio": 0.0}, "mlp_ratio must be above 0"),
        ({"mlp_ratio": 0.001}, "mlp_ratio must be .* at least 1 / hidden_size, 0.0052, not 0.001"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**63}, "seed must be at least 0, and below 2.63, not 9223372036854775808"),
        (
            {"seed": 2_000_003},
            "seed must be one that is not kept for measuring .*unseen clips.*, not 2000003",
        ),
        (
            {"seed": 2_003_029},
            "seed must be one that is not kept for measuring .*small models.*, not 2003029",
        ),
        ({"max_steps": 1000.5}, "max_steps must be int, not 1000.5"),
        ({"max_steps": "1.5e0"}, "max_steps must be int, not '1.5e0'"),
        ({"learning_rate": "1e999"}, "learning_rate: '1e999' is beyond what a float can hold"),
        ({"learning_rate": "fast"}, "learning_rate must be float, not 'fast'"),
        ({"tracker": "wandb"}, "tracker must be tensorboard or none"),
        ({"diverged_above": 1.0}, "diverged_above must be above 1"),
        ({"keep_every": -1}, "keep_every must be at least 0"),
        (
            {"transition_probability": 0.9},
            "transition_probability must be in .0, 1 - preroll_probability., not 0.9",
        ),
        ({"sink_frames": -1}, "sink_frames must be at least 0, not -1"),
        ({"context_frames": -2}, "context_frames must be at least 0, not -2"),
        ({"longest_past": 0}, "longest_past must be at least 1, not 0"),
        (
            {"sink_frames": 1, "clip_frames": 25},
            "clip_frames must be at least the window, 10, and longest_past, 20",
        ),
        ({"rollout_probability": 1.5}, "rollout_probability must be in .0, 1., not 1.5"),
        ({"rollout_steps": 0}, "rollout_steps must be at least 1"),
        ({"history_noise": -0.1}, "history_noise must be at least 0"),
        (
            {"history_noise": 0.1, "weighting": "uniform"},
            "weighting must be logit_normal with rollout_probability",
        ),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_mapping(values)


def test_the_betas_are_the_optimizers_and_runs_from_before_they_could_be_chosen_go_on():
    config = TrainConfig(adam_beta1=0.8, adam_beta2=0.95)
    _, optimizer = prepared_for_speed(torch.nn.Linear(2, 2), config)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.95)
    stored = {key: value for key, value in asdict(TrainConfig()).items() if not key.startswith("adam_")}
    assert TrainConfig().differences(stored, 1, 1, "run") == []
    with pytest.raises(ValueError, match="adam_beta2 0.99 -> 0.95"):
        config.differences(stored, 1, 1, "run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_steps": "100"}, "config: max_steps must be int, not '100'"),
        ({"overfit": "no"}, "config: overfit must be bool, not 'no'"),
        ({"vae": None}, "config: vae must be str, not None"),
        ({"depth": np.float64(2.5)}, "config: depth must be int, not 2.5"),
        ({"resume": np.int64(1)}, "config: resume must be bool, not 1"),
    ],
)
def test_values_from_python_are_checked_too(values, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**values)
    with pytest.raises(ValueError, match=message):
        replace(TrainConfig(), **values)


def test_numbers_of_numpy_and_paths_become_plain():
    given = {
        "output_dir": Path("outputs/x"), "vae": np.str_("v"), "learning_rate": np.float32(0.5), "overfit": np.bool_(1),
        "batch_size": np.int64(2), "max_steps": 7.0, "seed": np.uint8(3),
    }  # fmt: skip
    config = TrainConfig(**given)
    plain = TrainConfig(
        output_dir="outputs/x", vae="v", learning_rate=0.5, overfit=True, batch_size=2, max_steps=7, seed=3
    )
    assert config == plain == TrainConfig.from_mapping(given)
    assert {type(value) for value in asdict(config).values()} == {str, int, float, bool}
    assert yaml.safe_load(yaml.safe_dump(asdict(config))) == asdict(plain)
    latents = LatentsConfig(latents=Path("l"), seed=np.int64(3))
    assert (latents.latents, type(latents.seed)) == ("l", int)
    with pytest.raises(ValueError, match="config: clips must be int, not '5'"):
        LatentsConfig(clips="5")


def test_a_setting_of_the_command_line_is_given_once():
    path = ROOT / "configs/toy-landscape.yaml"
    with pytest.raises(ValueError, match="'max_steps=2': max_steps is there twice"):
        TrainConfig.from_command_line(path, ["max_steps=1", "depth=2", "max_steps=2"])


@pytest.mark.parametrize("config", [{"max_steps": 3}, "configs/toy-landscape.yaml"])
def test_training_takes_a_config_alone(config):
    for call in (lambda: next(train(config)), lambda: run_to_the_end(config)):
        with pytest.raises(TypeError, match="config must be a TrainConfig, not .*TrainConfig.from_"):
            call()


def test_a_cache_has_clips_of_its_own_and_any_seed_may_draw_from_it():
    assert TrainConfig(latents="outputs/cache", seed=2_000_003).seed == 2_000_003


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("1e-3", "learning_rate", 1e-3),
        ("1E-3", "learning_rate", 1e-3),
        (".5e-3", "learning_rate", 5e-4),
        ("1e9", "diverged_above", 1e9),
        ("1.0e9", "diverged_above", 1e9),
        ("1.0e+9", "diverged_above", 1e9),
        ("1e3", "max_steps", 1000),
        ("1.5e3", "max_steps", 1500),
        ("1.0e+3", "max_steps", 1000),
        ("1_000", "max_steps", 1000),
        ("1e3", "output_dir", "1e3"),
    ],
)
def test_numbers_as_people_write_them(tmp_path, written, key, value):
    """YAML 1.1 takes most of these for strings."""
    path = tmp_path / "run.yaml"
    path.write_text(f"{key}: {written}\n", encoding="utf-8")
    for config in (
        TrainConfig.from_yaml(path),
        TrainConfig.from_command_line(ROOT / "configs/toy-landscape.yaml", [f"{key}={written}"]),
    ):
        assert getattr(config, key) == value and type(getattr(config, key)) is type(value)


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


@pytest.mark.parametrize(
    "text",
    [
        "{<<: {depth: 1, window: 7}, depth: 2}",
        "{depth: 2, <<: {depth: 1, window: 7}}",
        "<<: [{depth: 2}, {depth: 1, window: 7}]",
    ],
)
def test_what_is_written_overrides_what_is_merged(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    assert TrainConfig.from_yaml(tmp_path / "run.yaml") == TrainConfig(depth=2, window=7)


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


STORED = {"batch_size": 8, "accumulation_steps": 1}


def test_settings_that_change_no_number_are_said():
    said = TrainConfig(batch_size=8, keep_every=100, max_steps=9).differences(STORED, 1, 1, "here")
    assert said[:2] == ["max_steps 5000 -> 9", "keep_every 0 -> 100"]
    assert "learning rate follows" in said[2]
    assert TrainConfig(batch_size=8).differences(STORED, 1, 1, "here") == []


@pytest.mark.parametrize(("split", "processes"), [((4, 1), 2), ((4, 2), 1), ((2, 2), 2)])
def test_the_batch_may_be_split_in_another_way(split, processes):
    config = TrainConfig(batch_size=split[0], accumulation_steps=split[1])
    said = config.differences(STORED, processes, 1, "here")
    assert said[0] == f"batch_size 8 -> {split[0]}"
    assert ("processes 1 -> 2, the same 8 samples a step" in said) == (processes == 2)


@pytest.mark.parametrize(
    ("changes", "processes", "message"),
    [
        (
            {"fusion": "average"},
            1,
            "here: made with another config .fusion 'conditioned_average' -> 'average'.",
        ),
        ({"weight_decay": 1.0, "seed": 2}, 1, "seed 0 -> 2, weight_decay 0.01 -> 1.0"),
        ({"batch_size": 4}, 1, "batch_size 8 -> 4; samples a step 8 -> 4"),
        ({}, 2, "processes 1 -> 2; samples a step 8 -> 16"),
    ],
)
def test_what_would_make_another_run_is_refused_by_name(changes, processes, message):
    config = TrainConfig.from_mapping({"batch_size": 8, **changes})
    with pytest.raises(ValueError, match=message):
        config.differences(STORED, processes, 1, "here")


def test_what_a_newer_version_stored_is_refused_by_name():
    stored = {**STORED, "new_trick": 0.7, "other": "x" * 1000}
    message = (
        r"here: made with settings that this version does not know .new_trick 0.7, other 'xxx.*; go on with"
    )
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig(batch_size=8).differences(stored, 1, 1, "here")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth: 3\nwindow: 10\ndepth: 4", "'depth' is there twice: leave one out"),
        ("<<: {depth: 3, depth: 4}", "'depth' is there twice: leave one out"),
        ("<<: {depth: 3}\nwindow: 10\nwindow: 10", "'window' is there twice: leave one out"),
        ("[depth]: 3", "found unhashable key"),
        ("batch_size: 010", "010 is no plain number: write it out"),
        ("max_steps: 12:30", "12:30 is no plain number: write it out"),
        ("learning_rate: 1:30.5", "1:30.5 is no plain number: write it out"),
        ("precision: no", "precision must be str, not False .*: quote the word"),
        ("output_dir: ''", "output_dir must be the name of a folder, not ''"),
    ],
)
def test_what_yaml_would_take_for_something_else(tmp_path, text, message):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        TrainConfig.from_yaml(tmp_path / "run.yaml")
    assert "run.yaml" in str(raised.value)


def test_numbers_as_they_are_written(tmp_path):
    (tmp_path / "run.yaml").write_text("batch_size: 0\nmax_steps: 1_000\nseed: 0x10\nlearning_rate: 1e-3")
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        TrainConfig.from_yaml(tmp_path / "run.yaml")
    config = TrainConfig.from_yaml(tmp_path / "run.yaml", batch_size=2)
    assert (config.max_steps, config.seed, config.learning_rate) == (1000, 16, 1e-3)
