"""The plan of a run against counts by hand, and against what a real step keeps."""

import json

import pytest
import torch

from benchmarks import fusions
from rflav_lib import ROOT, train_plan
from rflav_lib.data.latents import encode_toy_clips
from rflav_lib.image_codec import load_vae
from rflav_lib.mel import MelCodec
from rflav_lib.precision import chosen, told
from rflav_lib.train import main
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_plan import (
    activation_bytes,
    count_flops,
    data_shape,
    make_plan,
    model_settings,
    saved_bytes,
)
from tests.tiny import tiny_config

CPU = torch.device("cpu")
TOY = TrainConfig.from_yaml(ROOT / "configs/toy-landscape.yaml")
RELEASED = TrainConfig(
    hidden_size=768, depth=12, num_heads=12, patch_size=1, n_mels=256, latent_size=32, classes=0
)


def test_backward_costs_twice_the_forward():
    forward = fusions.count_flops("conditioned_average", "toy", batch=1)
    assert 2.9 < count_flops(model_settings(TOY)) / forward <= 3


def test_the_released_size_is_planned_without_building_it(monkeypatch):
    monkeypatch.setattr(train_plan, "peak_flops", lambda *_: 1e12)
    plan = make_plan(RELEASED)
    assert plan.parameters == 324_013_316
    assert plan.state_bytes == 20 * plan.parameters
    assert plan.step_seconds == pytest.approx(plan.flops / 0.4e12)
    assert "estimated from a measured matmul of 1 TFLOP/s" in plan.how and "too long" in plan.how


def test_what_a_forward_keeps_is_what_is_counted(tmp_path):
    """The count on shapes alone equals the bytes that real tensors hold."""
    config = tiny_config(tmp_path)
    settings = model_settings(TrainConfig(**{**vars(config), "vae": "checkpoints/toy-vae"}))
    from rflav_lib.train_run import fast_attention
    from rflav_lib.transformer import RFLAVTransformer

    model, batch, kept = RFLAVTransformer(**settings), train_plan.random_batch(settings, 3, "cpu"), {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), fast_attention(CPU):
        loss = train_plan.loss_of(model, batch, config.window)
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    assert loss > 0
    assert saved_bytes(settings, 3, "no", CPU) == pytest.approx(
        sum(s.nbytes() for s in kept.values()), rel=0.02
    )


def test_checkpointing_keeps_less():
    settings = model_settings(TOY)
    less = TrainConfig(**{**vars(TOY), "gradient_checkpointing": True})
    for precision in ("no", "bf16"):
        checkpointed, whole = (activation_bytes(config, settings, precision, CPU) for config in (less, TOY))
        assert checkpointed < 0.5 * whole
    assert whole < activation_bytes(TOY, settings, "no", CPU), "bf16 keeps less"


def test_data_that_are_not_at_hand_must_be_described(tmp_path):
    assert data_shape(TOY) == ((4, 8, 8), 5)
    with pytest.raises(ValueError, match="latent_size and classes: for a plan without the data"):
        data_shape(TrainConfig(vae="somewhere/else"))


def changed_codec(folder, **changes):
    """The description of the bundled codec, with other values; without those that are None."""
    facts = {**json.loads((ROOT / "checkpoints/toy-vae/config.json").read_text()), **changes}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))
    return folder


def test_the_shape_is_that_of_the_codec_wherever_it_is_found(tmp_path, monkeypatch):
    changed_codec(tmp_path / "vae", latent_channels=16, block_out_channels=[8, 8, 8])
    assert data_shape(TrainConfig(vae=str(tmp_path / "vae"))) == ((16, 16, 16), 5)
    monkeypatch.chdir(tmp_path)
    assert data_shape(TrainConfig(vae="vae")) == ((16, 16, 16), 5), (
        "of the working folder, as load_vae finds it"
    )
    tiny = {
        "_class_name": "AutoencoderTiny",
        "encoder_block_out_channels": [8] * 5,
        "block_out_channels": None,
    }
    changed_codec(tmp_path / "tiny", **tiny)
    assert data_shape(TrainConfig(vae="tiny")) == ((4, 4, 4), 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_channels": None}, "says latent_channels None"),
        ({"latent_channels": "4"}, "says latent_channels '4'"),
        ({"block_out_channels": None}, "block_out_channels is None"),
        ({"_class_name": "UNet2DModel"}, "a UNet2DModel, not one of AutoencoderKL"),
    ],
)
def test_a_codec_that_does_not_say_what_it_is_ends_a_dry_run_in_one_line(tmp_path, capsys, changes, message):
    folder = changed_codec(tmp_path / "vae", **changes)
    assert main([str(ROOT / "configs/toy-landscape.yaml"), f"vae={folder}", "--dry-run"]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert error.startswith(f"error: {folder}: ") and message in error


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_codec_whose_description_is_no_json_of_names_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=f"{tmp_path}: "):
        data_shape(TrainConfig(vae=str(tmp_path)))


def test_dry_run_prints_the_plan_and_trains_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(train_plan, "peak_flops", lambda *_: 1e12)
    out = tmp_path / "run"
    arguments = [
        "configs/toy-landscape.yaml",
        "hidden_size=24",
        "depth=1",
        "num_heads=2",
        f"output_dir={out}",
    ]
    assert main([str(ROOT / arguments[0]), *arguments[1:], "--dry-run", "max_steps=7"]) == 0
    printed = capsys.readouterr().out
    for part in ("parameters", "TFLOP", "GiB", "7 steps, 112 samples", "hours", "timed on two real steps"):
        assert part in printed
    assert f"window of 10, {told(chosen('auto', 'cpu'))}\n" in printed
    assert not out.exists()


TINY = ["hidden_size=24", "depth=1", "num_heads=2", "latent_size=8", "classes=5"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("vae=/nope", "/nope: no image VAE here"),
        ("latents=/nope", "/nope: no cache of latents here"),
        ("start_from=/nope", "/nope"),
        (
            "start_from=checkpoints/toy-dance",
            "start_from: the model in checkpoints/toy-dance is not of this config",
        ),
        ("clips=3", "batch_size: a step takes 16 samples"),
        ("output_dir=/dev/null/run", "output_dir: /dev/null/run cannot be written"),
    ],
)
def test_dry_run_says_what_the_run_would_miss_after_the_plan(capsys, monkeypatch, change, message):
    monkeypatch.setattr(train_plan, "peak_flops", lambda *_: 1e12)
    assert main([str(ROOT / "configs/toy-landscape.yaml"), *TINY, change, "--dry-run"]) == 2
    printed = capsys.readouterr()
    assert "hours" in printed.out
    (error,) = printed.err.strip().splitlines()[-1:]
    assert error.startswith("error: ") and message in error


@pytest.mark.usefixtures("permissions_hold")
def test_dry_run_tries_whether_the_folder_can_be_written(tmp_path):
    tmp_path.chmod(0o500)
    config = TrainConfig(output_dir=str(tmp_path / "a" / "run"))
    assert "cannot be written" in train_plan.missing(config, 1)
    tmp_path.chmod(0o700)
    assert train_plan.missing(config, 1) is None and list(tmp_path.iterdir()) == []


def test_dry_run_opens_the_cache(tmp_path, monkeypatch):
    tiny = tiny_config(tmp_path)
    vae, mel = load_vae(tiny.vae), MelCodec(n_mels=32, audio_scale=2.5, peak=None)
    made = encode_toy_clips("toy-landscape", 0, 3, 6, vae, mel, tmp_path / "cache")
    cache = {**vars(tiny), "latents": str(made.folder), "overfit": False}
    assert train_plan.missing(TrainConfig.from_mapping(cache), 1) is None
    assert "only 3 clips" in train_plan.missing(TrainConfig.from_mapping(cache), 2)
    assert "other codecs" in train_plan.missing(TrainConfig.from_mapping({**cache, "audio_scale": 2.0}), 1)
    assert "window" in train_plan.missing(TrainConfig.from_mapping({**cache, "window": 10}), 1)
