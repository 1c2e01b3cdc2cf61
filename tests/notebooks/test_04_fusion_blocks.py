"""Every class that notebook 04 writes out gives the library's numbers, with the library's weights."""

import pytest
import torch
from torch import nn

from rflav_lib import attention, fusion, transformer
from tests.golden import TINY, assert_within, open_gates, window_inputs
from tests.notebook_tools import definitions

HIDDEN, FRAMES, PATCHES, MEL_FRAMES = 24, 4, 6, 5
PAPER = ("joint_attention", "average", "conditioned_average")
EACH_FUSION = pytest.mark.parametrize("name", PAPER)


@pytest.fixture(scope="module")
def notebook():
    return definitions("04_fusion_blocks")


def drawn(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens_and_conditions():
    """Video (b k n d), audio (b k f d) and the two conditions (b k d), all different."""
    shapes = ((PATCHES, HIDDEN), (MEL_FRAMES, HIDDEN), (HIDDEN,), (HIDDEN,))
    return [drawn(2, FRAMES, *shape, seed=seed) for seed, shape in enumerate(shapes)]


@torch.no_grad()
def assert_same(ours: nn.Module, library: nn.Module, *inputs, seed=0, **options):
    """Random weights in the library's module, the same in ours, and the same outputs."""
    open_gates(library, seed).eval()
    ours.load_state_dict(library.state_dict())
    mine, theirs = ours.eval()(*inputs, **options), library(*inputs, **options)
    mine, theirs = ((x,) if isinstance(x, torch.Tensor) else x for x in (mine, theirs))
    for a, b in zip(mine, theirs, strict=True):
        assert_within(a, b, 1e-6)
        assert b.abs().max() > 0.1, "an output of zeros would prove nothing"


@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": True}, {"mask": torch.eye(7, dtype=torch.bool) | (torch.arange(7) < 3)}],
    ids=["open", "causal", "mask"],
)
def test_self_attention(notebook, options):
    assert_same(
        notebook.SelfAttention(HIDDEN, 3), attention.SelfAttention(HIDDEN, 3), drawn(2, 7, HIDDEN), **options
    )


def test_modulated_norm(notebook):
    tokens, _, shift, scale = tokens_and_conditions()
    assert_same(notebook.ModulatedNorm(HIDDEN), attention.ModulatedNorm(HIDDEN), tokens, shift, scale)


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_modulation_and_its_zero(notebook, parts):
    ours = notebook.Modulation(HIDDEN, parts)
    assert_same(ours, attention.Modulation(HIDDEN, parts), drawn(2, FRAMES, HIDDEN))
    ours.zero()
    assert all((part == 0).all() for part in ours(drawn(2, FRAMES, HIDDEN)))


def test_time_embedding(notebook):
    library = transformer.RFLAVTransformer(**TINY)
    open_gates(library)
    ours = notebook.TimeEmbedding(TINY["hidden_size"])
    ours.load_state_dict(library.video_time.state_dict())
    t = torch.cat([torch.tensor([[0.0, 1e-6, 0.5, 1.0]]), drawn(2, 4).sigmoid()])
    with torch.no_grad():
        assert_within(ours(t), library.condition(t, None)[0], 2e-5)


def test_feed_forward(notebook):
    inputs = drawn(2, FRAMES, HIDDEN)
    assert_same(notebook.feed_forward(HIDDEN, 4.0), fusion.feed_forward(HIDDEN, 4.0), inputs)


def test_frame_causal_mask(notebook):
    assert torch.equal(notebook.frame_causal_mask(4, 3), fusion.frame_causal_mask(4, 3))


def test_fusions_have_the_library_s_names(notebook):
    assert {name: kind.__name__ for name, kind in notebook.FUSIONS.items()} == {
        name: fusion.FUSIONS[name].__name__ for name in PAPER
    }


@EACH_FUSION
@pytest.mark.parametrize("causal", [True, False])
def test_fusion(notebook, name, causal):
    ours, library = (kinds[name](HIDDEN, 3, 2.0, causal) for kinds in (notebook.FUSIONS, fusion.FUSIONS))
    assert_same(ours, library, *tokens_and_conditions())


@EACH_FUSION
@pytest.mark.parametrize("causal", [True, False])
def test_block(notebook, name, causal):
    ours, library = (module.RFLAVBlock(HIDDEN, 3, 4.0, name, causal) for module in (notebook, transformer))
    assert_same(ours, library, *tokens_and_conditions())


def test_output_head(notebook):
    tokens, _, condition, _ = tokens_and_conditions()
    assert_same(notebook.OutputHead(HIDDEN, 12), transformer.OutputHead(HIDDEN, 12), tokens, condition)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_there_and_back(notebook, patch):
    video = drawn(2, 3, 4, 8, 8)
    library = transformer.RFLAVTransformer(**{**TINY, "patch_size": patch})
    patches = drawn(2, 3, (8 // patch) ** 2, 4 * patch**2)
    assert torch.equal(
        notebook.unpatchify(patches, rows=8 // patch, patch=patch), library.unpatchify(patches)
    )
    embedding = library.video_embedding
    with torch.no_grad():
        by_hand = notebook.patches_of(video, patch) @ embedding.weight.flatten(1).T + embedding.bias
        audio = torch.zeros(2, 3, 10, TINY["n_mels"])
        positions = library.video_time_position[:, :3] + library.video_patch_position
        assert_within(by_hand + positions, library.patchify(video, audio)[0], 1e-5)


@EACH_FUSION
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("classes", [0, 3])
def test_assembled_network(notebook, name, causal, classes):
    options = {**TINY, "fusion": name, "causal": causal, "num_classes": classes}
    ours, library = notebook.PlainTransformer(**options), transformer.RFLAVTransformer(**options)
    inputs = window_inputs()
    open_gates(library).eval()
    ours.load_state_dict(library.state_dict())  # strict: every name of the one is a name of the other
    assert ours.state_dict().keys() == library.state_dict().keys()
    for y in [None, torch.tensor([0, 2])] if classes else [None]:
        for frames in (1, TINY["window"]):
            window = [tensor[:, :frames] for tensor in inputs]
            with torch.no_grad():
                pairs = zip(ours(*window, y), library(*window, y), strict=True)
            for mine, theirs in pairs:
                assert theirs.abs().max() > 0.1
                torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@EACH_FUSION
def test_fresh_network_is_silent(notebook, name):
    network = notebook.PlainTransformer(**TINY, fusion=name)
    with torch.no_grad():
        assert all((velocity == 0).all() for velocity in network(*window_inputs()))


def test_watched_attention_sees_the_weights_and_leaves_everything_as_it_was(notebook):
    block = open_gates(transformer.RFLAVBlock(HIDDEN, 3, 4.0, "joint_attention", True)).eval()
    inputs = tokens_and_conditions()
    with torch.no_grad():
        before = block(*inputs)
        with notebook.watched_attention() as seen:
            during = block(*inputs)
        after = block(*inputs)
    assert len(seen) == 4, "nothing is recorded outside"
    for a, b, c in zip(before, during, after, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)
    *_, joint = seen
    assert torch.equal(joint[0, 0] > 0, fusion.frame_causal_mask(FRAMES, PATCHES + MEL_FRAMES))


def test_influence_finds_what_is_there(notebook):
    """Output k of the stand-in is video k plus twice audio k - 1: two diagonals, one twice the other."""

    class Stub(nn.Module):
        def forward(self, video, audio):
            late = torch.cat([torch.zeros_like(audio[:, :1]), audio[:, :-1]], dim=1)
            return video + 2 * late, audio

    inputs = {"video": drawn(1, 3, 500), "audio": drawn(1, 3, 500)}
    matrix = notebook.influence(Stub(), inputs)
    expected = torch.eye(6, dtype=torch.bool)
    expected[1, 3] = expected[2, 4] = True
    assert torch.equal(matrix > 0, expected)
    assert matrix[1, 3] / matrix[1, 1] == pytest.approx(2, rel=0.15)
