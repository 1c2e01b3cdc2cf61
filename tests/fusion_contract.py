"""What every fusion keeps to, the built-in ones and one that is added: `for holds in CONTRACT: holds(name)`."""

import itertools

import torch
from torch import Tensor, nn

from rflav_lib.fast_transformer import FastTransformer
from rflav_lib.fusion import FUSIONS
from rflav_lib.transformer import RFLAVTransformer
from tests.golden import TINY, assert_within, open_gates, open_model, window_inputs

HIDDEN, FRAMES, PATCHES, MEL_FRAMES = 24, 4, 6, 5
VIDEO, AUDIO, VIDEO_CONDITION, AUDIO_CONDITION = range(4)


def make(fusion: str, causal: bool = True) -> nn.Module:
    """A small one with no gate shut."""
    return open_gates(FUSIONS[fusion](HIDDEN, num_heads=3, mlp_ratio=2.0, causal=causal)).eval()


def tokens_and_conditions(batch: int = 2) -> list[Tensor]:
    """Video (b k n d), audio (b k f d) and the condition of each (b k d)."""
    generator = torch.Generator().manual_seed(5)
    per_frame = ((PATCHES,), (MEL_FRAMES,), (), ())
    return [torch.randn(batch, FRAMES, *tokens, HIDDEN, generator=generator) for tokens in per_frame]


def perturbed(inputs: list[Tensor], which: int, frame: int, token: int | None = None) -> list[Tensor]:
    """A copy of `inputs` with another frame `frame`, or another token of it, in one of them."""
    inputs = [tensor.clone() for tensor in inputs]
    place = (slice(None), frame) if token is None else (slice(None), frame, token)
    # a vector, not a number: a constant added to a token is taken out again by its norm
    inputs[which][place] += torch.linspace(-1, 2, HIDDEN)
    return inputs


def movement(before: Tensor, after: Tensor) -> Tensor:
    """Largest change of each frame: (k,)."""
    return (after - before).abs().flatten(2).amax(dim=(0, 2))


@torch.no_grad()
def movements(
    module: nn.Module, inputs: list[Tensor], which: int, frame: int, token: int | None = None
) -> list[Tensor]:
    """How far each frame of the video and the audio output moves when `frame` of one input does."""
    before, after = module(*inputs), module(*perturbed(inputs, which, frame, token))
    return [movement(*pair) for pair in zip(before, after, strict=True)]


def shapes_stay(fusion: str) -> None:
    inputs = tokens_and_conditions()
    outputs = make(fusion)(*inputs)
    assert [output.shape for output in outputs] == [inputs[VIDEO].shape, inputs[AUDIO].shape]
    assert all(output.isfinite().all() for output in outputs)


def nothing_before_a_changed_frame_moves(fusion: str) -> None:
    module, inputs = make(fusion), tokens_and_conditions()
    for which, frame in itertools.product(range(4), range(FRAMES)):
        moved = movements(module, inputs, which, frame)
        assert all((m[:frame] == 0).all() for m in moved)
        if which in (VIDEO, AUDIO):
            assert all(m[frame] > 1e-4 for m in moved), "each branch hears of a change in either's frame"


@torch.no_grad()
def fresh_block_is_the_identity_and_a_fresh_network_is_silent(fusion: str) -> None:
    model = RFLAVTransformer(**TINY, fusion=fusion)
    video, audio, t = window_inputs()
    tokens = model.patchify(video, audio)
    outputs = model.blocks[0](*tokens, *model.condition(t, None))
    assert all(torch.equal(before, after) for before, after in zip(tokens, outputs, strict=True))
    assert all((velocity == 0).all() for velocity in model(video, audio, t))


def zero_gates_are_no_dead_end(fusion: str) -> None:
    """First the heads learn, then the gates, and from the third step on every weight has a gradient."""
    model = RFLAVTransformer(**TINY, fusion=fusion, num_classes=3)
    video, audio, t = window_inputs()
    for _ in range(3):
        model.zero_grad()
        video_velocity, audio_velocity = model(video, audio, t, torch.tensor([0, 1]))
        ((video_velocity - video).square().mean() + (audio_velocity - audio).square().mean()).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.5 * parameter.grad
    stuck = [name for name, parameter in model.named_parameters() if not parameter.grad.abs().max() > 0]
    assert not stuck


@torch.no_grad()
def network_is_causal_over_frames(fusion: str) -> None:
    model, inputs = open_model(fusion), dict(zip(("video", "audio", "t"), window_inputs(), strict=True))
    outputs = model(**inputs)
    for which, frame in itertools.product(inputs, range(TINY["window"])):
        changed = {**inputs, which: inputs[which].clone()}
        changed[which][:, frame] = 1 - changed[which][:, frame]
        for before, after in zip(outputs, model(**changed), strict=True):
            moved = movement(before, after)
            assert (moved[:frame] == 0).all()
            assert moved[frame] > 1e-4


@torch.no_grad()
def network_without_causality_lets_the_last_frame_reach_the_first(fusion: str) -> None:
    model = open_model(fusion, causal=False)
    inputs = dict(zip(("video", "audio", "t"), window_inputs(), strict=True))
    for which in ("video", "audio"):
        changed = {**inputs, which: inputs[which].clone()}
        changed[which][:, -1] += 1
        for before, after in zip(model(**inputs), model(**changed), strict=True):
            assert (movement(before, after) > 1e-5).all()


@torch.no_grad()
def shorter_window_is_the_beginning_of_the_full_one(fusion: str) -> None:
    model, (video, audio, t) = open_model(fusion), window_inputs()
    full = model(video, audio, t)
    for frames in (1, 2, 3):
        short = model(video[:, :frames], audio[:, :frames], t[:, :frames])
        for whole, beginning in zip(full, short, strict=True):
            torch.testing.assert_close(beginning, whole[:, :frames], atol=2e-5, rtol=1e-5)


@torch.no_grad()
def fast_network_has_the_plain_one_s_numbers(fusion: str) -> None:
    """The pipeline samples with the fast one, so a fusion that it misunderstood would be wrong in silence."""
    video, audio, t = window_inputs()
    for labels in ((1, 1), (0, 2)):
        model = open_model(fusion, num_classes=3)
        fast = FastTransformer(model)(video, audio, t[0], labels)
        plain = model(video, audio, t[:1].expand(2, -1), torch.tensor(labels))
        for ours, theirs in zip(fast, plain, strict=True):
            largest = theirs.abs().max()
            assert_within(ours / largest, theirs / largest, 1e-5)


CONTRACT = (
    shapes_stay,
    nothing_before_a_changed_frame_moves,
    fresh_block_is_the_identity_and_a_fresh_network_is_silent,
    zero_gates_are_no_dead_end,
    network_is_causal_over_frames,
    network_without_causality_lets_the_last_frame_reach_the_first,
    shorter_window_is_the_beginning_of_the_full_one,
    fast_network_has_the_plain_one_s_numbers,
)
