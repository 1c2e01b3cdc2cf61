"""MelCodec against vectors recorded from the released code, and against bad input."""

import math

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from rflav_lib.mel import (
    LOG_FLOOR,
    Float32Module,
    MelCodec,
    check_log_mel,
    check_stft_settings,
    mel_filter_bank,
)
from tests.golden import assert_within, vectors

AIST_SCALE = 3.5009668382765917


@pytest.fixture(scope="module")
def golden():
    return vectors("mel")


@pytest.fixture(scope="module")
def codec():
    return MelCodec(audio_scale=AIST_SCALE)


TOLERANCE = 1e-4  # float32: torchaudio's filters and the recorded ones differ in the last digits


def test_log_mel_agrees_with_the_released_code(codec, golden):
    assert_within(codec.log_mel(golden["wav"]), golden["logmel"], TOLERANCE)
    unscaled = MelCodec(peak=None)
    assert_within(unscaled.log_mel(golden["wav_normalised"]), golden["logmel"], TOLERANCE)
    assert (unscaled.log_mel(golden["wav"]) - golden["logmel"]).abs().max() > 0.1  # the peak does matter


def test_filter_bank_agrees(codec, golden):
    assert_within(codec.filter_bank.sum(dim=0), golden["fbank_rowsum"], 1e-5)
    assert_within(codec.filter_bank.sum(dim=1), golden["fbank_colsum"], 1e-5)
    assert torch.equal(codec.filter_bank.argmax(dim=0).int(), golden["fbank_argmax"])
    assert torch.equal((codec.filter_bank > 0).sum(dim=0).int(), golden["fbank_nnz"])


def test_segments_agree(codec, golden):
    segments = codec.encode(golden["wav"])
    assert segments.shape == (1, 16, 10, 256)
    assert segments.dtype == torch.float32
    assert_within(segments[:, 0].mT, golden["model_frame0"][:, 0], TOLERANCE)
    assert_within(segments[:, 15].mT, golden["model_frame15"][:, 0], TOLERANCE)
    assert_within(MelCodec().encode(golden["wav"]).flatten(1, 2).mT, golden["norm11"], TOLERANCE)
    assert_within((segments.flatten(1, 2).mT / AIST_SCALE + 1) / 2, golden["norm01"], TOLERANCE)
    assert_within(codec.decode(segments), golden["logmel_back"], TOLERANCE)


def test_decode_undoes_encode_whatever_the_values(codec):
    """The formulas are fixed: a batch that holds no negative value is decoded like any other."""
    segments = torch.rand(2, 3, 10, 256) * AIST_SCALE
    alone = codec.decode(segments[:1])
    with_silence = codec.decode(torch.cat([segments[:1], torch.full((1, 3, 10, 256), -AIST_SCALE)]))
    assert torch.equal(alone[0], with_silence[0])
    assert with_silence[1].sub(LOG_FLOOR).abs().max() < 1e-5
    assert codec.decode(torch.full((1, 1, 10, 256), AIST_SCALE)).sub(math.log(200)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("samples", "k"), [(1600, 1), (3199, 1), (3200, 2), (25759, 16), (27199, 16), (27200, 17)]
)
def test_only_whole_video_frames_give_segments(codec, samples, k):
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    assert codec.log_mel(noise).shape == (1, 256, samples // 160)
    assert codec.encode(noise).shape == (1, k, 10, 256)


def test_mel_frames_are_centred_in_their_stretch():
    codec = MelCodec(n_mels=64, peak=None)
    for frame in (0, 7, 55, 99):
        click = torch.zeros(16000)
        click[frame * 160 + 80] = 1.0
        assert codec.log_mel(click).mean(dim=1).argmax().item() == frame


def test_each_sound_of_a_batch_has_its_own_peak():
    codec = MelCodec(n_mels=64)
    noise = torch.randn(1600, generator=torch.Generator().manual_seed(0))
    batch = codec.encode(torch.stack([noise, noise * 0.01, noise * 0]))
    torch.testing.assert_close(batch[0], batch[1], atol=1e-4, rtol=0)
    assert batch[2].add(1).abs().max() < 1e-6  # silence stays silence
    quiet = MelCodec(n_mels=64, peak=None).encode(noise * 0.01)
    assert quiet.mean() < batch[0].mean() - 0.3


def test_the_peak_is_the_largest_sample_of_either_sign():
    sound = torch.randn(1600, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    sound[800] = -4
    codec = MelCodec(n_mels=64)
    assert torch.equal(codec.log_mel(sound), codec.log_mel(-sound))


def test_loud_sound_lies_above_one_and_comes_back():
    codec = MelCodec(peak=None)
    tone = torch.sin(torch.arange(16000) * 2 * math.pi * 440 / 16000) * 50
    log_mel, segments = codec.log_mel(tone), codec.encode(tone)
    assert log_mel.max() > math.log(200)
    assert segments.max() > 1
    assert_within(codec.decode(segments), log_mel, TOLERANCE)


def test_other_rates():
    codec = MelCodec(sample_rate=24000, frame_rate=12.5, hop_length=240, n_mels=80, f_max=12000)
    assert codec.frames_per_segment == 8
    assert codec.encode(torch.randn(24000)).shape == (1, 12, 8, 80)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_maths_is_float32_for_every_float_input(dtype):
    codec = MelCodec(n_mels=64)
    noise = torch.randn(1600, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(codec.encode(noise), codec.encode(noise.float()))
    assert codec.decode(codec.encode(noise).to(dtype)).dtype == torch.float32


def test_casts_and_autocast_leave_the_precision_alone(golden):
    codec = MelCodec().to(torch.bfloat16)
    assert codec.filter_bank.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert_within(codec.log_mel(golden["wav"]), golden["logmel"], TOLERANCE)
    assert_within(codec.half().log_mel(golden["wav"]), golden["logmel"], TOLERANCE)


class _Holder(DiffusionPipeline):
    def __init__(self, mel):
        super().__init__()
        self.register_modules(mel=mel)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_travels_in_a_pipeline_folder(tmp_path, golden, dtype):
    codec = MelCodec(n_mels=80, audio_scale=2.5, peak=None)
    codec.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    back = MelCodec.from_pretrained(tmp_path, torch_dtype=dtype)
    assert dict(back.config).items() >= {"n_mels": 80, "audio_scale": 2.5, "peak": None}.items()
    assert torch.equal(back.encode(golden["wav"]), codec.encode(golden["wav"]))


def test_survives_a_pipeline_cast(golden):
    pipe = _Holder(MelCodec()).to(torch.bfloat16)
    assert_within(pipe.mel.log_mel(golden["wav"]), golden["logmel"], TOLERANCE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame_rate": 30}, "16000 Hz at 30 .* 160 samples gives 3.333"),
        ({"frame_rate": 0}, "0 mel frames"),
        ({"hop_length": 161}, "even"),
        ({"win_length": 4096}, r"win_length \(4096\)"),
        ({"f_max": 9000.0}, "9000.0 Hz at 16000"),
        ({"n_mels": 0}, "n_mels"),
        ({"audio_scale": 0.0}, "audio_scale"),
        ({"audio_scale": math.nan}, "audio_scale"),
        ({"peak": 0.0}, "peak"),
        ({"sample_rate": -1}, "positive"),
        ({"hop_length": 0}, "positive"),
        ({"n_fft": 160, "win_length": 160, "hop_length": 162}, "not negative"),
        ({"f_min": 8000.0}, "8000.0..8000.0 Hz"),
        ({"peak": 1.01}, "peak"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MelCodec(**settings)


@pytest.mark.parametrize(
    ("waveform", "error", "message"),
    [
        (torch.zeros(16000, dtype=torch.int16), TypeError, "int16"),
        ([0.0] * 16000, TypeError, "list"),
        (torch.zeros(1, 1, 16000), ValueError, r"\(1, 1, 16000\)"),
        (torch.full((16000,), math.nan), ValueError, "^waveform contains NaN"),
        (torch.full((16000,), math.inf), ValueError, "infinite"),
        (torch.zeros(944), ValueError, "945 samples"),
        (torch.zeros(0), ValueError, "too short"),
        (torch.zeros(0, 16000), ValueError, "too short"),
        (torch.zeros(1599), ValueError, "shorter than one video frame"),
    ],
)
def test_bad_waveforms(codec, waveform, error, message):
    with pytest.raises(error, match=message):
        codec.encode(waveform)


@pytest.mark.parametrize("shape", [(1, 2, 10, 64), (1, 2, 9, 256), (2, 10, 256)])
def test_bad_segments(codec, shape):
    with pytest.raises(ValueError, match="f=10 and m=256"):
        codec.decode(torch.zeros(shape))


def test_segments_that_are_no_numbers_are_refused(codec):
    with pytest.raises(ValueError, match="^segments contains NaN"):
        codec.decode(torch.full((1, 2, 10, 256), math.nan))
    with pytest.raises(TypeError, match="^segments must be floating point"):
        codec.decode(torch.zeros(1, 2, 10, 256, dtype=torch.int64))


def test_a_sound_of_another_rate_is_refused():
    codec, sound = MelCodec(n_mels=32), torch.zeros(3200)
    assert torch.equal(codec.encode(sound, sample_rate=16000), codec.encode(sound))
    with pytest.raises(ValueError, match="44100 samples a second, this codec needs 16000: resample"):
        codec.encode(sound, sample_rate=44100)


def test_settings_at_their_limits():
    check_stft_settings(1, 1, 1, 1)
    assert mel_filter_bank(16000, 2048, 1, 0.0, 8000.0).shape == (1025, 1)
    assert MelCodec(n_mels=8, win_length=2048, peak=1.0).config.peak == 1
    assert MelCodec(n_mels=8, frame_rate=100).frames_per_segment == 1
    assert MelCodec(n_mels=8, frame_rate=1).frames_per_segment == 100


def test_the_shortest_sound():
    """Reflection needs a sample more than it adds; without any, a mel frame needs a hop."""
    assert MelCodec(n_mels=8).log_mel(torch.zeros(945)).shape == (1, 8, 5)
    unpadded = MelCodec(n_mels=8, n_fft=160, win_length=160, frame_rate=100)
    assert unpadded.encode(torch.zeros(160)).shape == (1, 1, 1, 8)
    with pytest.raises(ValueError, match="at least 160 samples"):
        unpadded.encode(torch.zeros(159))


def test_quiet_sound_meets_the_epsilon_and_the_floor():
    """Magnitudes are sqrt(power + 1e-9), mel magnitudes at least 1e-5: what that makes of sound at -100 dB."""
    codec = MelCodec(peak=None)
    sound = 1e-5 * torch.randn(4000, generator=torch.Generator().manual_seed(0))
    frames = torch.nn.functional.pad(sound[None], (944, 944), mode="reflect")[0].unfold(0, 2048, 160)
    window = torch.nn.functional.pad(torch.hann_window(1024), (512, 512))
    power = torch.fft.rfft(frames * window).abs().square()
    mel = (power + 1e-9).sqrt() @ codec.filter_bank
    assert (mel < 1e-5).any() and (mel > 1e-5).any() and (power < 1e-8).any()
    assert_within(codec.log_mel(sound)[0], mel.clamp(min=1e-5).log().mT, TOLERANCE)


def test_a_cast_moves_everything_but_keeps_the_precision():
    class Parent(Float32Module):
        def __init__(self):
            super().__init__()
            self.child = torch.nn.Linear(2, 2)

    codec = MelCodec(n_mels=8).to("meta", torch.bfloat16)
    assert codec.filter_bank.device.type == "meta" and codec.filter_bank.dtype == torch.float32
    weight = Parent().to("meta", torch.bfloat16).child.weight
    assert weight.device.type == "meta" and weight.dtype == torch.float32


@pytest.mark.parametrize("shape", [(8, 5), (1, 1, 8, 5), (1, 7, 5), (1, 8, 0), (0, 8, 5)])
def test_what_is_no_log_mel_is_refused(shape):
    check_log_mel(torch.zeros(1, 8, 5), 8)
    with pytest.raises(ValueError, match="m=8 and nothing empty"):
        check_log_mel(torch.zeros(shape), 8)


def test_a_log_mel_of_no_numbers_is_refused():
    with pytest.raises(TypeError, match="log_mel must be floating point"):
        check_log_mel(torch.zeros(1, 8, 5, dtype=torch.int64), 8)
    with pytest.raises(ValueError, match="log_mel contains NaN"):
        check_log_mel(torch.full((1, 8, 5), math.nan), 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": "16000"}, "sample_rate must be a whole number, not '16000'"),
        ({"hop_length": 160.0}, "hop_length must be a whole number, not 160.0"),
        ({"n_mels": 2.5}, "n_mels must be a whole number, not 2.5"),
        ({"n_mels": True}, "n_mels must be a whole number, not True"),
        ({"f_max": "8000"}, "f_max must be a number, not '8000'"),
        ({"frame_rate": None}, "frame_rate must be a number, not None"),
        ({"audio_scale": "2"}, "audio_scale must be a number, not '2'"),
        ({"peak": "loud"}, "peak must be a number, not 'loud'"),
    ],
)
def test_settings_that_are_no_numbers_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MelCodec(**settings)


def test_a_codec_of_numpys_numbers_is_saved(tmp_path):
    MelCodec(sample_rate=np.int64(16000), n_mels=np.int32(32), audio_scale=np.float32(2)).save_pretrained(
        tmp_path
    )
    config = MelCodec.from_pretrained(tmp_path).config
    assert (config.sample_rate, config.n_mels, config.audio_scale) == (16000, 32, 2)
