"""GriffinLim: what goes in as sound comes out as the same sound, at the same time."""

import math

import numpy as np
import pytest
import torch

from rflav_lib.mel import MelCodec
from rflav_lib.vocoder import GriffinLim
from tests.golden import vectors


@pytest.fixture(scope="module", params=[256, 64])
def pair(request):
    codec = MelCodec(n_mels=request.param, peak=None)
    return codec, GriffinLim.from_codec(codec)


def test_round_trip_keeps_the_log_mel(pair):
    codec, vocoder = pair
    log_mel = codec.log_mel(vectors("mel")["wav_normalised"])
    waveform = vocoder(log_mel)
    assert waveform.shape == (1, 25600)
    difference = (codec.log_mel(waveform) - log_mel).abs()
    assert difference.mean() < {256: 0.16, 64: 0.20}[codec.config.n_mels]  # measured: 0.14 and 0.18
    assert difference[log_mel > -6].mean() < 0.13  # where there is something to hear: 0.09 and 0.11


def test_clicks_stay_in_their_place(pair):
    """Within 1 ms (16 samples), wherever in its mel frame and its video frame a click falls."""
    codec, vocoder = pair
    places = torch.tensor([1000, 1637, 2400, 3333, 4871, 6100])
    clicks = torch.zeros(len(places), 8000)
    for row, place in enumerate(places):
        clicks[row, place - 16 : place + 16] = torch.hann_window(32)
    found = vocoder(codec.log_mel(clicks)).abs().argmax(dim=1)
    assert (found - places).abs().max() <= 16, found - places


def test_tones_keep_pitch_and_onset(pair):
    codec, vocoder = pair
    n = torch.arange(16000)
    tone = (
        torch.where(n >= 8000, torch.exp(-(n - 8000) / 3200) * torch.sin(n * 2 * math.pi * 625 / 16000), 0)
        * 0.7
    )
    back = vocoder(codec.log_mel(tone))[0]
    spectrum = torch.fft.rfft(back[8000:]).abs()
    assert abs(spectrum.argmax().item() * 16000 / 8000 - 625) < {256: 10, 64: 30}[codec.config.n_mels]
    onset = (back.abs() > 0.3 * back.abs().max()).nonzero()[0, 0].item()
    assert abs(onset - 8000) < 80  # 5 ms: the window of 64 ms smears a soft onset
    assert 0.7 < back.abs().max() / tone.abs().max() < 1.3


def test_silence_stays_silent(pair):
    codec, vocoder = pair
    assert vocoder(codec.log_mel(torch.zeros(3200))).abs().max() < 1e-3


@pytest.mark.parametrize("frames", [1, 2, 10, 13])
def test_length_is_exact_however_short(pair, frames):
    _, vocoder = pair
    assert vocoder(torch.full((2, vocoder.config.n_mels, frames), -4.0)).shape == (2, frames * 160)


def test_deterministic_and_independent_of_the_batch(pair):
    codec, vocoder = pair
    log_mel = codec.log_mel(torch.randn(2, 3200, generator=torch.Generator().manual_seed(0)) * 0.1)
    before = torch.random.get_rng_state()
    waveforms = vocoder(log_mel)
    assert torch.equal(waveforms, vocoder(log_mel))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.testing.assert_close(vocoder(log_mel[1:]), waveforms[1:], atol=1e-3, rtol=0)


def test_travels_in_a_folder_and_stays_float32(tmp_path):
    codec = MelCodec(n_mels=40, peak=None)
    vocoder = GriffinLim.from_codec(codec, iterations=8, momentum=0.5)
    vocoder.save_pretrained(tmp_path)
    back = GriffinLim.from_pretrained(tmp_path, torch_dtype=torch.bfloat16).to(torch.bfloat16)
    assert back.filter_bank.dtype == torch.float32
    assert (back.config.iterations, back.config.momentum) == (8, 0.5)
    log_mel = codec.log_mel(torch.randn(1600, generator=torch.Generator().manual_seed(0)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(back(log_mel), vocoder(log_mel))


@pytest.mark.parametrize(
    ("log_mel", "error", "message"),
    [
        (torch.zeros(1, 80, 10), ValueError, "m=64"),
        (torch.zeros(64, 10), ValueError, "m=64"),
        (torch.zeros(1, 64, 0), ValueError, "empty"),
        (torch.full((1, 64, 10), math.nan), ValueError, "NaN"),
        (torch.full((1, 64, 10), 90.0), ValueError, "90.0"),
        (torch.zeros(1, 64, 10, dtype=torch.int32), TypeError, "int32"),
    ],
)
def test_bad_input(log_mel, error, message):
    with pytest.raises(error, match=message):
        GriffinLim(n_mels=64)(log_mel)


@pytest.mark.parametrize(
    "settings", [{"iterations": 0}, {"momentum": 1.0}, {"n_mels": -1}, {"hop_length": 161}]
)
def test_impossible_settings(settings):
    with pytest.raises(ValueError, match="must"):
        GriffinLim(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": "4"}, "iterations must be a whole number, at least 1, not '4'"),
        ({"iterations": 4.0}, "iterations must be a whole number, at least 1, not 4.0"),
        ({"momentum": "0.5"}, "momentum must be a number, not '0.5'"),
        ({"momentum": None}, "momentum must be a number, not None"),
        ({"momentum": math.nan}, r"momentum must lie in \[0, 1\), got nan"),
    ],
)
def test_settings_that_are_no_numbers_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        GriffinLim(**settings)


def test_a_vocoder_of_numpys_numbers_is_saved(tmp_path):
    vocoder = GriffinLim(
        n_mels=np.int64(32), f_max=np.float64(7000), iterations=np.int32(4), momentum=np.float32(0.5)
    )
    vocoder.save_pretrained(tmp_path)
    config = GriffinLim.from_pretrained(tmp_path).config
    assert (config.n_mels, config.f_max, config.iterations, config.momentum) == (32, 7000, 4, 0.5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"win_length": 160}, "win_length must be above hop_length, got 160 and 160"),
        ({"win_length": 100}, "win_length must be above hop_length, got 100 and 160"),
        ({"n_fft": 401, "win_length": 400, "hop_length": 161}, "n_fft must be even to find phases, not 401"),
    ],
)
def test_settings_from_which_no_phases_can_be_found_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GriffinLim(n_mels=16, **wrong)
