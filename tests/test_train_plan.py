"""The plan of a run against counts by hand, and against what a real step keeps."""

import pytest
import torch

from benchmarks import fusions
from rflav_lib import ROOT, train_plan
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
    monkeypatch.setattr(train_plan, "matmul_speed", lambda *_: 1e12)
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
        loss = train_plan.loss_of(model, batch)
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    assert loss > 0
    assert saved_bytes(settings, 3, "no", CPU) == pytest.approx(
        sum(s.nbytes() for s in kept.values()), rel=0.02
    )


def test_checkpointing_keeps_less():
    settings = model_settings(TOY)
    less = TrainConfig(**{**vars(TOY), "gradient_checkpointing": True})
    assert activation_bytes(less, settings, CPU) < 0.5 * activation_bytes(TOY, settings, CPU)


def test_data_that_are_not_at_hand_must_be_described(tmp_path):
    assert data_shape(TOY) == ((4, 8, 8), 5)
    with pytest.raises(ValueError, match="latent_size and classes: for a plan without the data"):
        data_shape(TrainConfig(vae="somewhere/else"))


def test_dry_run_prints_the_plan_and_trains_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(train_plan, "matmul_speed", lambda *_: 1e12)
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
    assert not out.exists()
