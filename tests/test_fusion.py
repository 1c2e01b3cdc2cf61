"""The three fusions: what the paper says of each. Recorded values exist for (c) alone."""

import itertools

import pytest
import torch

from rflav_lib.fusion import (
    FUSIONS,
    AverageFusion,
    ConditionedAverageFusion,
    Fusion,
    JointAttentionFusion,
    feed_forward,
    frame_causal_mask,
)
from rflav_lib.transformer import RFLAVBlock, RFLAVTransformer
from tests.fusion_contract import (
    AUDIO,
    AUDIO_CONDITION,
    CONTRACT,
    FRAMES,
    HIDDEN,
    MEL_FRAMES,
    PATCHES,
    VIDEO,
    VIDEO_CONDITION,
    make,
    movement,
    movements,
    perturbed,
    tokens_and_conditions,
)
from tests.golden import TINY, assert_within, open_gates

PAPER = ("joint_attention", "average", "conditioned_average")
EACH_FUSION = pytest.mark.parametrize("fusion", list(FUSIONS))


@EACH_FUSION
@pytest.mark.parametrize("holds", CONTRACT, ids=lambda holds: holds.__name__)
def test_contract(holds, fusion):
    holds(fusion)


@EACH_FUSION
@pytest.mark.parametrize("branch", ["video", "audio"])
@torch.no_grad()
def test_the_feed_forward_is_modulated_by_scale_shift_and_gate_in_this_order(fusion, branch):
    """The released weights hold them in this order; that of the attentions is another one."""
    module = make(fusion)
    if fusion == "joint_attention":  # leaves the tokens as they are
        module.video_joint_modulation.zero(), module.audio_joint_modulation.zero()
    modulation, mlp = getattr(module, f"{branch}_modulation"), getattr(module, f"{branch}_mlp")
    modulation.zero()
    scale, shift, gate = drawn = torch.randn(3, HIDDEN, generator=torch.Generator().manual_seed(1))
    modulation[1].bias.copy_(drawn.flatten())
    inputs = tokens_and_conditions()
    which = (VIDEO, AUDIO)[branch == "audio"]
    normal = torch.nn.functional.layer_norm(inputs[which], (HIDDEN,), eps=1e-6)
    expected = inputs[which] + gate * mlp(normal * (1 + scale) + shift)
    assert_within(module(*inputs)[which], expected, 1e-5)


@pytest.mark.parametrize("fusion", ["average", "conditioned_average"])
@pytest.mark.parametrize("which", [VIDEO, AUDIO])
def test_averages_stay_within_their_frame(fusion, which):
    for m in movements(make(fusion), tokens_and_conditions(), which, frame=1):
        assert (m[[0, 2, 3]] == 0).all()


@pytest.mark.parametrize("which", [VIDEO, AUDIO])
def test_joint_attention_reaches_later_frames_and_without_causality_all(which):
    inputs = tokens_and_conditions()
    for m in movements(make("joint_attention"), inputs, which, frame=2):
        assert (m[:2] == 0).all() and (m[2:] > 1e-4).all()
    for m in movements(make("joint_attention", causal=False), inputs, which, frame=2):
        assert (m > 1e-4).all()


def test_joint_attention_mixes_the_branches_and_the_others_do_not_before_the_feed_forward():
    inputs = tokens_and_conditions()
    louder = perturbed(inputs, AUDIO, frame=1)
    with torch.no_grad():
        for fusion in PAPER:
            module = make(fusion)
            moved = movement(module.exchange(*inputs)[VIDEO], module.exchange(*louder)[VIDEO])
            assert (moved[1] > 1e-4) == (fusion == "joint_attention")


def test_joint_attention_is_causal_by_frame_not_by_token():
    """The last token of a frame reaches the first ones of the same frame, in both branches."""
    module, inputs = make("joint_attention"), tokens_and_conditions()
    with torch.no_grad():
        before = module.exchange(*inputs)
        after = module.exchange(*perturbed(inputs, AUDIO, frame=2, token=-1))
        assert (after[VIDEO] - before[VIDEO])[:, 2, 0].abs().min() > 0
        after = module.exchange(*perturbed(inputs, VIDEO, frame=2, token=-1))
        assert (after[VIDEO] - before[VIDEO])[:, 2, 0].abs().min() > 0
        assert (after[AUDIO] - before[AUDIO])[:, 2, 0].abs().min() > 0


def test_joint_attention_is_attention_over_all_tokens_that_may_be_seen():
    """Frame by frame, unmasked, over its own tokens and the past ones: the same without any mask."""
    module, (video, audio, video_condition, audio_condition) = (
        make("joint_attention"),
        tokens_and_conditions(),
    )
    with torch.no_grad():
        video_shift, video_scale, video_gate = module.video_joint_modulation(video_condition)
        audio_shift, audio_scale, audio_gate = module.audio_joint_modulation(audio_condition)
        seen = torch.cat(
            [module.norm(video, video_shift, video_scale), module.norm(audio, audio_shift, audio_scale)],
            dim=2,
        )
        actual = module.exchange(video, audio, video_condition, audio_condition)
        for frame in range(FRAMES):
            mixed = module.joint_attention(seen[:, : frame + 1].flatten(1, 2))[:, -PATCHES - MEL_FRAMES :]
            expected_video = video[:, frame] + video_gate[:, frame, None] * mixed[:, :PATCHES]
            expected_audio = audio[:, frame] + audio_gate[:, frame, None] * mixed[:, PATCHES:]
            assert_within(actual[0][:, frame], expected_video, 1e-5)
            assert_within(actual[1][:, frame], expected_audio, 1e-5)
        assert torch.equal(actual[2], video_condition), "each has its own condition"
        assert torch.equal(actual[3], audio_condition)


def test_average_ignores_time_and_class_and_the_others_do_not():
    inputs = tokens_and_conditions()
    for fusion, which in itertools.product(PAPER, (VIDEO_CONDITION, AUDIO_CONDITION)):
        moved = movements(make(fusion), inputs, which, frame=1)
        own, other = moved if which == VIDEO_CONDITION else moved[::-1]
        assert (own[1] > 1e-4) == (fusion != "average"), fusion
        assert (other[1] > 1e-4) == (fusion == "joint_attention"), "conditions belong to one branch"


def test_average_is_modulated_by_the_other_branch_alone():
    """(b) is (c) without conditions, and (c) with the conditions at zero is (b)."""
    video, audio, video_condition, audio_condition = tokens_and_conditions()
    average, conditioned = make("average"), make("conditioned_average")
    conditioned.load_state_dict(average.state_dict())
    zero = torch.zeros_like(video_condition)
    with torch.no_grad():
        expected = conditioned(video, audio, zero, zero)
        actual = average(video, audio, video_condition, audio_condition)
        *_, for_video, for_audio = conditioned.exchange(video, audio, video_condition, audio_condition)
        assert_within(for_video, average.audio_average(audio.mean(dim=2)) + video_condition, 1e-6)
        assert_within(for_audio, average.video_average(video.mean(dim=2)) + audio_condition, 1e-6)
    for ours, theirs in zip(actual, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_parameter_counts_side_by_side():
    """(b) and (c) have the same weights; (a) has attention and two modulations for two linear layers."""
    hidden = TINY["hidden_size"]
    counts = {
        fusion: sum(p.numel() for p in RFLAVTransformer(**TINY, fusion=fusion).parameters())
        for fusion in PAPER
    }
    print({fusion: f"{count:,}" for fusion, count in counts.items()})
    linear = hidden * hidden + hidden
    assert counts["average"] == counts["conditioned_average"] == 256_272
    joint = counts["joint_attention"] - counts["average"]
    assert joint == TINY["depth"] * (2 * 3 * linear + 4 * linear - 2 * linear)


def test_the_paper_s_three_have_their_names():
    papers = {"joint_attention": JointAttentionFusion, "average": AverageFusion}
    assert FUSIONS.items() >= {**papers, "conditioned_average": ConditionedAverageFusion}.items()


def test_feed_forward_is_two_layers_with_tanh_gelu():
    layers = open_gates(feed_forward(8, 4.0))
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    inner = x @ layers[0].weight.T + layers[0].bias
    gelu = 0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
    assert layers[0].out_features == 32
    assert_within(layers(x), gelu @ layers[2].weight.T + layers[2].bias, 1e-5)


def test_unknown_fusion_is_refused_with_the_names_there_are():
    with pytest.raises(
        ValueError, match="joint_attention, average, conditioned_average.*, not 'concatenate'"
    ):
        RFLAVTransformer(**TINY, fusion="concatenate")
    with pytest.raises((ValueError, KeyError), match="concatenate"):
        RFLAVBlock(24, 3, 4.0, "concatenate", True)


@EACH_FUSION
def test_a_feed_forward_is_four_times_as_wide_if_nothing_else_is_asked(fusion):
    module = FUSIONS[fusion](8, 2)
    assert module.video_mlp[0].out_features == module.audio_mlp[0].out_features == 32
    assert FUSIONS[fusion](8, 2, 3.0).video_mlp[0].out_features == 24


def test_joint_attention_is_causal_if_nothing_else_is_asked():
    assert JointAttentionFusion(8, 2).causal


def test_a_token_looks_at_its_own_frame_and_those_before():
    T, F = True, False
    assert frame_causal_mask(2, 2).tolist() == [[T, T, F, F], [T, T, F, F], [T, T, T, T], [T, T, T, T]]
    assert frame_causal_mask(2, 2, "meta").device.type == "meta"


def test_a_fusion_must_say_how_tokens_mix():
    with pytest.raises(NotImplementedError):
        Fusion(8, 2, 4.0, causal=True)(*tokens_and_conditions())
