"""The authors' weights under our names: nothing missing, nothing left over, nothing changed."""

import math

import pytest
import torch
from safetensors.torch import load_file

from rflav_lib.released import convert_transformer
from rflav_lib.transformer import RFLAVTransformer
from tests.golden import FIXTURES, TINY, facts

PARAMETERS = {"aist": 324_013_316, "landscape": 324_028_676}


@pytest.mark.parametrize(("which", "num_classes"), [("aist", 0), ("landscape", 9)])
def test_released_size_loads_whole(which, num_classes):
    released = facts("keys_flav_b1")[which]
    with torch.device("meta"):
        model = RFLAVTransformer(num_classes=num_classes)
        state_dict = {name: torch.empty(shape) for name, shape, _ in released["keys"]}
    converted = convert_transformer(state_dict)
    shapes = {name: tuple(tensor.shape) for name, tensor in converted.items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(converted) == len(state_dict) == released["n_keys"], "no two weights may get one name"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == released["n_params"] == PARAMETERS[which]
    assert parameters == sum(math.prod(shape) for _, shape, _ in released["keys"])


def test_conversion_renames_and_changes_no_value():
    released = load_file(FIXTURES / "model_tiny_class.weights.safetensors")
    converted = convert_transformer(released)
    # the names keep their order, so the tensors must be the very same ones
    assert all(ours is theirs for ours, theirs in zip(converted.values(), released.values(), strict=True))
    assert set(converted) == set(RFLAVTransformer(**TINY, num_classes=9).state_dict())


@pytest.mark.parametrize(
    "name",
    [
        "blocks.0.video_cross_attn.qkv.weight",  # a part that no released model has
        "module.v_embedder.proj.weight",  # a prefix in front
        "v_embedder.proj.weight_g",  # a tail behind
        "blocks.0.temporal_attn.qkv.weight",
        "video_embedding.weight",  # ours already
    ],
)
def test_unknown_name_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"'{name}'"):
        convert_transformer({"v_embedder.proj.bias": torch.zeros(1), name: torch.zeros(1)})


def test_a_missing_weight_is_noticed_when_the_model_loads():
    converted = convert_transformer(load_file(FIXTURES / "model_tiny_class.weights.safetensors"))
    del converted["blocks.1.fusion.audio_average.bias"]
    model = RFLAVTransformer(**TINY, num_classes=9)
    with pytest.raises(RuntimeError, match=r"blocks\.1\.fusion\.audio_average\.bias"):
        model.load_state_dict(converted)
