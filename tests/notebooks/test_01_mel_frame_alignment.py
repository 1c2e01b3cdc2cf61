"""Notebook 01 writes out `rflav_lib.mel.MelCodec`, to the last bit the same; its tools measure what they say."""

import functools

import numpy as np
import pytest
import torch

import rflav_lib.mel as library
from rflav_lib.data.toy import make_clip
from tests.golden import assert_within, vectors
from tests.notebook_tools import definitions

SETTINGS = (
    {},
    {"n_mels": 64, "audio_scale": 3.5},
    {"peak": None, "frame_rate": 25},
    {"sample_rate": 48_000, "frame_rate": 24, "hop_length": 200, "f_max": 24_000.0},
    {"n_fft": 1024, "win_length": 512, "n_mels": 32, "f_min": 50.0, "f_max": 4000.0},
)
ids = ["released", "toy", "25 fps", "48 kHz", "small"]


@functools.cache
def notebook():
    return definitions("01_mel_frame_alignment")


def sounds() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    noise = 0.3 * torch.randn(2, 25_759, generator=generator)
    noise[1] *= 1e-3
    toy = [
        torch.from_numpy(make_clip("toy-landscape", 3, 0, 20, label=label).clip.waveform)
        for label in range(5)
    ]
    dance = torch.from_numpy(make_clip("toy-dance", 3, 0, 20).clip.waveform)
    return {"noise": noise, "toy": torch.stack([*toy, dance]), "silence": torch.zeros(9600)}


@pytest.mark.parametrize("settings", SETTINGS, ids=ids)
@pytest.mark.parametrize("name", ["noise", "toy", "silence"])
def test_the_finished_class_is_the_library_s(settings, name):
    mine, theirs = notebook().MelCodec(**settings), library.MelCodec(**settings)
    sound = sounds()[name]
    segments = theirs.encode(sound)
    assert torch.equal(mine.log_mel(sound), theirs.log_mel(sound))
    assert torch.equal(mine.encode(sound), segments)
    assert torch.equal(mine.decode(segments), theirs.decode(segments))
    assert mine.frames_per_segment == theirs.frames_per_segment == segments.shape[2]


def test_it_agrees_with_the_recorded_vectors():
    golden = vectors("mel")
    codec = notebook().MelCodec(audio_scale=3.5009668382765917)
    assert_within(codec.log_mel(golden["wav"]), golden["logmel"], 1e-4)
    assert_within(codec.encode(golden["wav"])[:, 15].mT, golden["model_frame15"][:, 0], 1e-4)


@pytest.mark.parametrize("rates", [(44_100, 10), (44_100, 25), (16_000, 24), (16_000, 200)])
def test_both_refuse_rates_that_give_no_whole_columns(rates):
    for codec in (notebook().MelCodec, library.MelCodec):
        with pytest.raises(ValueError, match="whole"):
            codec(*rates)


@pytest.mark.parametrize("rates", [(10, 16_000), (25, 44_100), (30, 48_000)])
def test_an_offset_is_read_from_pixels_and_sound(rates):
    for asked in (-180, -3, 0, 64, 150):
        clip = notebook().click_and_flash(asked, *rates)
        assert notebook().offset_ms(clip) == pytest.approx(asked, abs=1)


def test_drift_is_the_formula_s():
    moments = [0.55, 5.2, 9.4]
    wave = notebook().clicks(moments, 10, 44_100)
    drift = notebook().drift_ms(wave, 44_100, 10, moments)
    np.testing.assert_allclose(drift, 1000 * np.array(moments) * (27.5625 / 28 - 1), atol=0.5)


@pytest.mark.parametrize("rate", [12.5, 24, 25, 30_000 / 1001, 60])
def test_picked_frames_stay_within_half_a_source_frame(rate):
    picked = notebook().pick_frames(rate, 60)
    instants = (torch.arange(600, dtype=torch.float64) + 0.5) / 10
    assert picked.shape == (600,)
    assert ((picked.double() + 0.5) / rate - instants).abs().max() <= 0.5 / rate + 1e-9


@pytest.mark.parametrize(("honours", "expected"), [(True, (0, 64)), (False, (64, 64))])
def test_a_file_fakes_an_offset(tmp_path, honours, expected):
    clip = notebook().click_and_flash(0)
    for compensate, milliseconds in zip((True, False), expected, strict=True):
        path = tmp_path / f"{compensate}.mp4"
        notebook().write(path, clip, compensate=compensate)
        assert notebook().file_offset_ms(path, honours) == pytest.approx(milliseconds, abs=5)
