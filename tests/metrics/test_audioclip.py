"""AudioCLIP's audio head gives the numbers recorded from MM-Diffusion's code, in both ways of running it."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rflav_lib.metrics import weights
from rflav_lib.metrics.audioclip import FULL_SCALE, OPTIONAL, AudioCLIP, time_axis
from tests.golden import FIXTURES, assert_within
from tests.metrics.formula_weights import filled, filled_fbsp, noise

FACTS = json.loads((FIXTURES / "audioclip_audio.json").read_text(encoding="utf-8"))


def formula_state(variant):
    """Weights by their published names, without those that are fixed by definition."""
    return {
        row["key"]: filled_fbsp(row, variant) if row["kind"].startswith("fbsp") else filled(row)
        for row in FACTS["keys"]
        if row["kind"] not in ("window", "empty")
    }


@pytest.fixture(scope="module")
def golden():
    return load_file(FIXTURES / "audioclip_audio.safetensors")


@pytest.fixture(scope="module")
def state():
    return formula_state("varied")


def network_of(state, mode="exact"):
    network = AudioCLIP(mode)
    own = {name.removeprefix("audio."): tensor for name, tensor in state.items()}
    weights.load_exactly(network, own, "the formula", OPTIONAL)
    return network


@pytest.fixture(scope="module")
def network(state):
    return network_of(state)


@pytest.fixture(scope="module")
def as_run(state):
    return network_of(state, "mm_diffusion")


def formula_spectrum():
    """The recorded input in decibels (8 3 341 124)."""
    b, c, f, w = np.meshgrid(*(np.arange(n) for n in (8, 3, 341, 124)), indexing="ij")
    drawn = noise("golden2.netonly.db", b.size).reshape(b.shape)
    waves = 18 * np.sin(0.02 * (b + 1) * f + 0.8 * c) + 10 * np.cos(0.09 * (b + 2) * w + 0.5 * b)
    return torch.from_numpy((-75 + waves + 8 * drawn).astype(np.float32))


def sound(golden, scale):
    return golden["wave_int16"].float() / scale


def test_names_and_shapes_are_those_of_the_published_file():
    own = {f"audio.{name}": list(tensor.shape) for name, tensor in AudioCLIP().state_dict().items()}
    assert own == {row["key"]: row["shape"] for row in FACTS["keys"]}
    (window,) = (row for row in FACTS["keys"] if row["kind"] == "window")
    assert AudioCLIP().window.shape == tuple(window["shape"])
    assert AudioCLIP().window.double().sum().item() == pytest.approx(1654 * 0.35875)
    assert sum(p.numel() for p in AudioCLIP().parameters()) == 32_104_771


def test_the_time_axis_is_equal_to_the_last_bit(golden):
    assert torch.equal(time_axis(), golden["time_axis"])


@pytest.mark.parametrize("variant", ["init", "varied"])
@torch.no_grad()
def test_the_spectrum_s_kernel(golden, network, variant):
    fbsp = AudioCLIP().fbsp if variant == "init" else network.fbsp
    part = torch.stack(fbsp.kernel(), dim=-1)[FACTS["kernel"]["bins"]][:, FACTS["kernel"]["times"]]
    assert_within(part, golden[f"kernel_sub.{variant}"], 2e-8)


@pytest.mark.parametrize(("name", "scale", "tolerance"), [("i16", 1, 1e-6), ("f1", FULL_SCALE, 5e-6)])
@torch.no_grad()
def test_sound_to_embedding(golden, network, name, scale, tolerance):
    fed = sound(golden, scale)
    assert torch.equal(AudioCLIP.scaled(fed)[:, ::4410], golden[f"scaled.{name}"])
    decibels = network.decibels(fed)
    assert decibels.shape == (2, 3, 341, 124)
    assert_within(decibels[:, :, ::31, ::13], golden[f"db_sub.varied.{name}"], 0.02)
    assert_within(decibels.mean(-1), golden[f"db_binmean.varied.{name}"], 2e-3)
    assert_within(network.embed(decibels), golden[f"out.varied.{name}.eval"], tolerance)


@torch.no_grad()
def test_sound_between_minus_one_and_one_is_brought_to_the_range_it_was_trained_on(golden, network):
    assert_within(network.features(sound(golden, FULL_SCALE)), golden["out.varied.i16.eval"], 1e-6)


@torch.no_grad()
def test_both_ways_of_running_it(golden, network, as_run):
    spectrum = formula_spectrum()
    seen, hooks = {}, []
    for name in ("layer1", "att1", "att2", "layer3", "att3"):
        for mode, net in (("eval", network), ("train", as_run)):
            keep = lambda _m, _i, out, key=(mode, name): seen.update({key: out[0].mean(dim=(1, 2))})  # noqa: E731
            hooks.append(net.get_submodule(name).register_forward_hook(keep))
    assert_within(network.embed(spectrum), golden["netonly.eval"], 2e-6)
    assert_within(as_run.embed(spectrum), golden["netonly.train"], 2e-5)
    for (mode, name), mean in seen.items():
        assert_within(mean, golden[f"netonly_mean.{mode}.{name}"], {"eval": 1e-5, "train": 1e-4}[mode])
    for hook in hooks:
        hook.remove()
    # the batch's statistics were used and not kept
    state = as_run.state_dict()
    assert torch.equal(state["bn1.running_mean"], network.bn1.running_mean)
    assert state["bn1.num_batches_tracked"] == 0


@torch.no_grad()
def test_as_mm_diffusion_runs_it_an_embedding_depends_on_the_clips_beside_it(network, as_run):
    spectrum = formula_spectrum()[:4, :, :, :40]
    for net, alone_is_enough in ((network, True), (as_run, False)):
        far = (net.embed(spectrum)[:2] - net.embed(spectrum[[0, 1, 3, 3]])[:2]).abs().max()
        assert (far < 1e-5) == alone_is_enough


def test_what_it_cannot_take_is_refused(network, as_run):
    with pytest.raises(ValueError, match="takes 8 clips at a time, not 2"):
        as_run.features(torch.zeros(2, 70_560))
    with pytest.raises(ValueError, match="must be floating point"):
        network.features(torch.zeros(2, 70_560, dtype=torch.int16))
    with pytest.raises(ValueError, match="NaN"):
        network.features(torch.full((1, 70_560), torch.nan))
    with pytest.raises(ValueError, match="mode must be"):
        AudioCLIP("eval")
    assert network.name != as_run.name and as_run.batch_size == 8


def test_the_audio_part_of_a_file_is_loaded_strictly(tmp_path, state, network):
    def publish(name, content):
        path = tmp_path / name
        torch.save(content, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return path, weights.Published(name, sha256=digest)

    others = {"logit_scale": torch.ones(1), "visual.conv1.weight": torch.ones(2)}
    path, published = publish("whole.pt", state | others)
    loaded = AudioCLIP.load(path, "mm_diffusion", published)
    assert loaded.weights == published.label
    assert torch.equal(loaded.att3.conv_point.weight, network.att3.conv_point.weight)
    bare = {name.removeprefix("audio."): tensor for name, tensor in state.items()}
    path, published = publish("bare.pt", bare)
    with pytest.raises(
        ValueError, match="the audio part of .*bare.pt does not fit this network: 310 missing"
    ):
        AudioCLIP.load(path, "exact", published)
