"""The layers of a block, against torch's own and against their formulas."""

import pytest
import torch
from torch import nn

from rflav_lib.attention import ModulatedNorm, Modulation, SelfAttention
from rflav_lib.fusion import frame_causal_mask
from tests.golden import assert_within, open_gates


def torch_attention(ours: SelfAttention, hidden_size: int, num_heads: int) -> nn.MultiheadAttention:
    """torch's own attention with the same weights."""
    theirs = nn.MultiheadAttention(hidden_size, num_heads, batch_first=True)
    theirs.in_proj_weight, theirs.in_proj_bias = ours.qkv.weight, ours.qkv.bias
    theirs.out_proj.weight, theirs.out_proj.bias = ours.out.weight, ours.out.bias
    return theirs


@pytest.mark.parametrize("masked", ["not at all", "causally", "by frame"])
def test_self_attention_is_that_of_torch(masked):
    ours = open_gates(SelfAttention(24, 3))
    theirs = torch_attention(ours, 24, 3)
    tokens = torch.randn(2, 6, 24, generator=torch.Generator().manual_seed(1))
    causal, by_frame = torch.ones(6, 6).tril().bool(), frame_causal_mask(3, 2)
    options, may_look = {
        "not at all": ({}, torch.ones(6, 6).bool()),
        "causally": ({"is_causal": True}, causal),
        "by frame": ({"mask": by_frame}, by_frame),
    }[masked]
    # torch's mask is True where a token may NOT look
    expected, _ = theirs(tokens, tokens, tokens, attn_mask=~may_look, need_weights=False)
    assert_within(ours(tokens, **options), expected, 1e-5)


def test_frame_causal_mask_lets_a_frame_see_itself_and_the_past():
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert torch.equal(frame_causal_mask(2, 2), torch.tensor(expected).bool())


def test_heads_must_divide_the_hidden_size():
    with pytest.raises(ValueError, match="hidden_size 10 .* num_heads 3"):
        SelfAttention(10, 3)


def test_modulated_norm_normalises_each_token_then_scales_and_shifts_by_frame():
    tokens = torch.randn(2, 3, 5, 16, generator=torch.Generator().manual_seed(0)) * 4 + 1
    shift, scale = torch.randn(2, 2, 3, 16, generator=torch.Generator().manual_seed(1))
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    normal = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    expected = normal * (1 + scale.reshape(2, 3, 1, 16)) + shift.reshape(2, 3, 1, 16)
    norm = ModulatedNorm(16)
    assert_within(norm(tokens, shift, scale), expected, 1e-5)
    assert not list(norm.parameters())


def test_modulation_cuts_its_output_in_order_and_can_be_zeroed():
    modulation = open_gates(Modulation(8, 3))
    condition = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    whole = nn.functional.silu(condition) @ modulation[1].weight.T + modulation[1].bias
    parts = modulation(condition)
    assert [tuple(part.shape) for part in parts] == [(2, 4, 8)] * 3
    assert_within(torch.cat(parts, dim=-1), whole, 1e-6)
    modulation.zero()
    assert all((part == 0).all() for part in modulation(condition))
