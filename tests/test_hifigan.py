"""HiFi-GAN against recorded values of the released code, and in pieces against the whole."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rflav_lib.hifigan import HiFiGAN, fold_weight_norm, upsampling
from tests.golden import FIXTURES, assert_within, facts

TINY = {
    "n_mels": 32,
    "upsample_initial_channel": 32,
    "resblock_kernel_sizes": (3, 7),
    "resblock_dilation_sizes": ((1, 3, 5), (1, 3, 5)),
}


def released_weights():
    return torch.load(FIXTURES / "vocoder_tiny" / "vocoder.pt", weights_only=True)["generator"]


@pytest.fixture(scope="module")
def vocoder():
    model = HiFiGAN(**TINY)
    model.load_state_dict(fold_weight_norm(released_weights()))
    return model.eval()


def mel(frames, batch=1, seed=0):
    return torch.randn(batch, 32, frames, generator=torch.Generator().manual_seed(seed)) - 4


def test_its_sound_is_the_released_one(vocoder):
    golden = load_file(FIXTURES / "vocoder_tiny.safetensors")
    assert_within(vocoder(golden["mel"]), golden["wav"][:, 0], 1e-6)


def test_weight_norm_is_folded_over_the_right_dimensions():
    golden, weights = load_file(FIXTURES / "vocoder_tiny.safetensors"), fold_weight_norm(released_weights())
    # the second is transposed: its norm is of input channels
    for name in ("conv_pre.weight", "ups.0.weight"):
        assert_within(weights[name], golden[f"{name}_effective"], 1e-6)
    assert facts("vocoder_tiny")["n_params"] == sum(tensor.numel() for tensor in released_weights().values())


def test_the_released_weights_fit_name_by_name():
    keys = json.loads((FIXTURES / "keys_vocoder.json").read_text())
    keys = keys.get("keys", keys)
    with torch.device("meta"):
        model = HiFiGAN()
        weights = fold_weight_norm({name: torch.empty(shape) for name, shape in keys.items()})
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == ours


@pytest.mark.parametrize(("kernel", "rate"), [(11, 5), (8, 4), (4, 2), (8, 5), (7, 4), (3, 2)])
def test_upsampling_multiplies_exactly(kernel, rate):
    assert upsampling(2, 1, kernel, rate)(torch.zeros(1, 2, 9)).shape == (1, 1, 9 * rate)


@pytest.mark.parametrize("size", [1, 10, 33, 150])
def test_pieces_are_the_whole(vocoder, size):
    log_mel = mel(150, batch=2)
    stream = vocoder.stream(2)
    pieces = [stream.push(part) for part in log_mel.split(size, dim=-1)]
    assert_within(torch.cat([*pieces, stream.flush()], dim=-1), vocoder(log_mel), 1e-5)


@pytest.mark.parametrize("frames", [1, 5, 39, 61])
def test_short_sounds_too(vocoder, frames):
    stream = vocoder.stream()
    sound = torch.cat([stream.push(mel(frames)), stream.flush()], dim=-1)
    assert_within(sound, vocoder(mel(frames)), 1e-5)


def test_a_sample_depends_on_no_frame_beyond_its_reach(vocoder):
    frames, place = 4 * vocoder.reach, 2 * vocoder.reach
    log_mel = mel(frames)
    changed = log_mel.clone()
    changed[..., place] += 3
    moved = (vocoder(changed) != vocoder(log_mel))[0].nonzero().flatten() // 160
    assert moved.min() >= place - vocoder.reach and moved.max() <= place + vocoder.reach
    assert moved.min() < place - vocoder.reach // 2, "the reach is not far too generous"


def test_a_stream_goes_on_elsewhere(vocoder):
    log_mel, stream, other = mel(150), vocoder.stream(), vocoder.stream()
    stream.push(log_mel[..., :90])
    other.load_state_dict(stream.state_dict())
    rest = [torch.cat([s.push(log_mel[..., 90:]), s.flush()], dim=-1) for s in (stream, other)]
    assert torch.equal(*rest)


def test_it_is_a_component_that_is_saved_and_loaded(vocoder, tmp_path):
    vocoder.save_pretrained(tmp_path)
    loaded = HiFiGAN.from_pretrained(tmp_path, use_safetensors=True)
    assert torch.equal(loaded(mel(12)), vocoder(mel(12))) and loaded.hop_length == 160


def test_bad_input_is_named(vocoder):
    with pytest.raises(ValueError, match="m=32"):
        vocoder(torch.zeros(1, 31, 10))
    with pytest.raises(ValueError, match="NaN"):
        vocoder(torch.full((1, 32, 10), float("nan")))
    with pytest.raises(ValueError, match="is for 2 sounds, this stream for 1"):
        vocoder.stream().push(mel(10, batch=2))
    with pytest.raises(ValueError, match=r"conv_pre.weight_g is there, conv_pre.weight_v is not"):
        fold_weight_norm({"conv_pre.weight_g": torch.zeros(1)})
    with pytest.raises(ValueError, match="24 channels cannot be halved 4 times"):
        HiFiGAN(upsample_initial_channel=24)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_mels": 0}, "n_mels must be a whole number, at least 1, not 0"),
        ({"upsample_rates": (5, 0, 4, 2)}, "each of upsample_rates must be a whole number, at least 1, not 0"),
        ({"upsample_kernel_sizes": (11, 3, 8, 4)}, "upsample_kernel_sizes: 3 leaves gaps at a rate of 4"),
        ({"resblock_kernel_sizes": (3, 4, 11)}, "resblock_kernel_sizes must be odd, not 4"),
        ({"resblock_dilation_sizes": ((1, 3), (0,), (1,))}, "resblock_dilation_sizes must be a whole"),
        ({"upsample_rates": (), "upsample_kernel_sizes": ()}, r"upsample_rates must be a list .*, not \(\)"),
        ({"upsample_initial_channel": -16}, "upsample_initial_channel must be a whole number"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sound_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        HiFiGAN(**wrong)
