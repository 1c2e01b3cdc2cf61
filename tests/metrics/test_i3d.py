"""I3D gives the numbers recorded from MM-Diffusion's code, and takes the published file or nothing."""

import json
from dataclasses import replace

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file

from rflav_lib.metrics import weights
from rflav_lib.metrics.i3d import I3D, pad_same
from tests.golden import FIXTURES, assert_within
from tests.metrics.formula_weights import filled

FACTS = json.loads((FIXTURES / "i3d.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def golden():
    return load_file(FIXTURES / "i3d.safetensors")


@pytest.fixture(scope="module")
def state():
    """As the published file: without the counters of the batch norms."""
    return {row["key"]: filled(row) for row in FACTS["keys"] if row["kind"] != "zero"}


@pytest.fixture(scope="module")
def network(state):
    network = I3D()
    weights.load_exactly(network, state, "the formula")
    return network


def clip(golden, name):
    return rearrange(golden[f"clip_{name}"], "b k c h w -> b k h w c")


def formula_clip(height, width):
    y, x, c, t = torch.meshgrid(*(torch.arange(n) for n in (height, width, 3, 2)), indexing="ij")
    values = (7 * y + 13 * x + 29 * c + 5 * t + x * y // 3) % 256
    return rearrange(values, "h w c k -> 1 k h w c").to(torch.uint8)


def test_names_and_shapes_are_those_of_the_published_file():
    own = {name: list(tensor.shape) for name, tensor in I3D().state_dict().items()}
    assert own == {row["key"]: row["shape"] for row in FACTS["keys"]}
    assert sum(p.numel() for p in I3D().parameters()) == 12_697_264


@pytest.mark.parametrize("name", ["ab", "c", "ns", (256, 320), (300, 240), (50, 50), (41, 41)], ids=str)
def test_frames_are_prepared_as_recorded(golden, name):
    batch = clip(golden, name) if isinstance(name, str) else formula_clip(*name)
    key = name if isinstance(name, str) else f"formula_{name[0]}x{name[1]}"
    prepared = I3D.prepare(batch)
    facts = FACTS["preprocessing"]["results"][key]
    assert list(prepared.shape) == facts["shape"]
    assert_within(prepared[:, :, ::5, ::37, ::37], golden[f"pre_{key}"], 2e-6)
    for place, value in facts["entries"].items():
        assert prepared[tuple(map(int, place[1:-1].split(",")))].item() == pytest.approx(value, abs=2e-6)


@torch.no_grad()
def test_logits_and_blocks_are_the_recorded_ones(network, golden):
    seen = {}
    names = {key.split(".", 1)[1] for key in golden if key.startswith("mean.")} - {"avg_pool", "logits"}
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: out})
        )
        for name in names
    ]
    assert_within(network.features(clip(golden, "ab")), golden["logits_ab"], 5e-6)
    for hook in hooks:
        hook.remove()
    assert seen.keys() == names
    for name, out in seen.items():
        assert_within(out.mean(dim=(2, 3, 4)), golden[f"mean.{name}"], 1e-5)
        if f"first.{name}" in golden:
            assert_within(out[:1, :, 0, 0, 0], golden[f"first.{name}"], 1e-5)
            assert_within(out[:1, :, -1, -1, -1], golden[f"last.{name}"], 1e-5)


@torch.no_grad()
def test_odd_lengths_and_frames_that_are_not_square(network, golden):
    cells = network.cells(network.prepare(clip(golden, "c")))
    assert_within(cells, golden["cells_c"], 5e-6)
    assert_within(cells.mean(-1), golden["logits_c"], 5e-6)
    assert_within(network.features(clip(golden, "ns")), golden["logits_ns"], 5e-6)


def test_padding_follows_the_size_and_puts_the_larger_half_behind():
    x = torch.ones(1, 1, 4, 7, 8)
    padded = pad_same(x, (7, 3, 2), (2, 2, 2))
    assert padded.shape == (1, 1, 4 + 5, 7 + 2, 8)
    assert padded[0, 0, :, 3, 3].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert padded[0, 0, 3, :, 3].tolist() == [0, *[1] * 7, 0]


def test_what_is_no_batch_of_clips_is_refused(network):
    with pytest.raises(ValueError, match="8 frames; this network needs at least 9"):
        network.features(torch.zeros(1, 8, 32, 32, 3, dtype=torch.uint8))
    for wrong in (torch.zeros(1, 16, 32, 32, 3), torch.zeros(1, 16, 3, 32, 32, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="must be uint8"):
            network.features(wrong)


def publish(path, state):
    """Write a state as if it were the published file."""
    torch.save(state, path)
    return replace(weights.I3D, git_blob=weights._checksum(path, "git blob"))


def test_it_is_loaded_from_a_file_strictly(tmp_path, state, network, monkeypatch):
    path = tmp_path / "i3d" / "i3d_pretrained_400.pt"
    path.parent.mkdir()
    published = publish(path, state)
    loaded = I3D.load(path, published)
    assert torch.equal(loaded.Mixed_5c.b0.conv3d.weight, network.Mixed_5c.b0.conv3d.weight)
    assert loaded.weights == f"git {published.git_blob[:8]}" and not loaded.training
    monkeypatch.setenv("RFLAV_WEIGHTS", str(tmp_path))
    assert I3D.load(published=published).weights == loaded.weights

    key = "Mixed_4b.b1a.conv3d.weight"
    for name, changed, words in (
        ("missing", {k: v for k, v in state.items() if k != key}, f"1 missing .{key}"),
        ("more", state | {"extra.weight": torch.zeros(1)}, "1 left over .extra.weight"),
        ("shape", state | {key: torch.zeros(96, 480, 1, 1, 3)}, f"1 of another shape .{key} is"),
    ):
        file = tmp_path / f"{name}.pt"
        with pytest.raises(ValueError, match=f"{name}.pt does not fit this network: {words}"):
            I3D.load(file, publish(file, changed))
