"""A video for a sound and a sound for a video, from what a user has at hand."""

import wave

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip, MediaError
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def clip():
    return make_clip("toy-landscape", 0, 0, 6, label=0).clip


def complete(pipeline, seed=1, **given):
    return pipeline(steps_per_frame=1, generator=torch.Generator().manual_seed(seed), **given)


def test_a_sound_gets_a_video_and_comes_back_untouched(pipeline, clip):
    (made,) = complete(pipeline, audio=clip.waveform, y="rain")
    assert len(made) == 6 and np.array_equal(made.waveform, clip.waveform)
    (joint,) = complete(pipeline, num_frames=6, y="rain")
    assert not np.array_equal(made.frames, joint.frames)


def test_a_video_gets_a_sound_and_comes_back_untouched(pipeline, clip):
    (made,) = complete(pipeline, video=clip.frames)
    assert np.array_equal(made.frames, clip.frames) and len(made.waveform) == 9600
    (other,) = complete(pipeline, video=clip.frames[::-1].copy())
    assert not np.array_equal(made.waveform, other.waveform)


def test_the_given_side_may_be_a_clip_a_tensor_or_a_file(pipeline, clip, tmp_path):
    path = clip.save(tmp_path / "a clip.mp4")
    (plain,) = complete(pipeline, audio=clip.waveform)
    for audio in (clip, torch.from_numpy(clip.waveform)):
        (made,) = complete(pipeline, audio=audio)
        assert np.array_equal(made.frames, plain.frames)
    assert len(complete(pipeline, audio=path)[0]) == 6
    assert len(complete(pipeline, audio=clip.to_wav(tmp_path / "a.wav"))[0]) == 6
    assert len(complete(pipeline, video=str(path))[0]) == 6


def test_a_file_of_another_size_is_letterboxed(pipeline, clip, tmp_path):
    wide = Clip(np.ascontiguousarray(clip.frames[:, :32]), clip.waveform)
    (made,) = complete(pipeline, video=wide.save(tmp_path / "wide.mp4", scale=2))
    assert made.frames.shape == (6, 64, 64, 3)
    assert not made.frames[:, :12].any() and made.frames[:, 20:44].any(), "bars above and below"


def test_less_may_be_asked_and_several_made(pipeline, clip):
    several = complete(pipeline, audio=clip, num_frames=2, y=["rain", "siren"])
    assert [len(made) for made in several] == [2, 2]
    assert not np.array_equal(several[0].frames, several[1].frames)


def test_several_sounds_and_videos_are_completed_in_one_batch_as_they_would_be_alone(pipeline, clip):
    other = make_clip("toy-landscape", 0, 1, 6, label=2).clip
    for side in ("waveform", "frames"):
        name = {"waveform": "audio", "frames": "video"}[side]
        given = [getattr(each, side) for each in (clip, other)]
        made = pipeline(
            steps_per_frame=1, generator=[torch.Generator().manual_seed(n) for n in (4, 5)], **{name: given}
        )
        for n, both in enumerate(made):
            (alone,) = complete(pipeline, seed=4 + n, **{name: given[n]})
            assert np.array_equal(getattr(both, side), given[n])
            np.testing.assert_allclose(both.waveform, alone.waveform, atol=1e-3)
            assert np.abs(both.frames.astype(int) - alone.frames).max() <= 1


def test_the_scale_matters(pipeline, clip):
    weak, strong = (complete(pipeline, audio=clip, condition_scale=scale)[0] for scale in (0.0, 5000.0))
    assert not np.array_equal(weak.frames, strong.frames)


@pytest.mark.parametrize("name", ["audio", "video"])
def test_either_side_guides_with_a_strength_of_1000_unless_told(pipeline, clip, name):
    given, scale = {name: clip}, 1000.0
    usual, told = (complete(pipeline, **given, **more)[0] for more in ({}, {"condition_scale": scale}))
    other = complete(pipeline, **given, condition_scale=scale / 2)[0]
    assert np.array_equal(usual.frames, told.frames) and np.array_equal(usual.waveform, told.waveform)
    assert not (np.array_equal(usual.frames, other.frames) and np.array_equal(usual.waveform, other.waveform))


SOUND = np.full(3200, 0.1, np.float32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"audio": SOUND, "video": np.zeros((2, 64, 64, 3), np.uint8)}, "nothing left to generate"),
        ({"audio": SOUND[:1599]}, "audio has 1599 samples; a video frame takes 1600"),
        ({"audio": 0 * SOUND}, "audio is silent"),
        ({"audio": 20 * SOUND}, r"audio reaches 2.00, beyond \[-1, 1\]"),
        (
            {"audio": np.stack([SOUND, SOUND])},
            r"mono waveform .* got float32 \(2, 3200\): average its channels",
        ),
        ({"audio": (1000 * SOUND).astype(np.int16)}, "divide whole numbers"),
        ({"audio": np.full(3200, np.nan, np.float32)}, "audio contains NaN"),
        ({"audio": Clip(np.zeros((2, 8, 8, 3), np.uint8), SOUND[:1600], 10, 8000)}, "audio is at 8000 Hz"),
        ({"audio": SOUND, "num_frames": 3}, "num_frames is 3, but what is given lasts 2 frames"),
        ({"audio": SOUND, "num_frames": 0}, "num_frames must be a whole number"),
        ({"video": np.zeros((2, 32, 64, 3), np.uint8)}, r"uint8 \(k 64 64 3\), got uint8 \(2, 32, 64, 3\)"),
        ({"video": np.zeros((2, 64, 64, 3), np.float32)}, "got float32"),
        (
            {"video": Clip(np.zeros((2, 64, 64, 3), np.uint8), SOUND[:1280], 25)},
            "video has 25 frames a second",
        ),
        ({"audio": []}, "audio is an empty list"),
        ({"audio": [SOUND, 0 * SOUND]}, r"audio\[1\] is silent"),
        ({"audio": [SOUND, SOUND[:1600]]}, "lasts 1 to 2 frames: .* num_frames=1"),
        ({"audio": [SOUND, SOUND], "num_clips": 3}, "2 sounds or videos for 3 clips"),
        ({"audio": [SOUND, SOUND], "y": ["rain"]}, "y is a list of 1 for num_clips=2"),
        ({}, "num_frames must be a whole number, at least 1, not None"),
    ],
)
def test_bad_input_is_named(pipeline, given, message):
    with pytest.raises(ValueError, match=message):
        complete(pipeline, **given)


def test_a_file_at_8_khz_in_stereo_is_heard(pipeline, tmp_path):
    """Resampled and averaged: it is the mono sound at 16 kHz, up to what resampling does at the ends."""
    n = np.arange(4000) / 8000
    left = np.sin(2 * np.pi * 400 * n)
    stereo = (np.stack([left, 0 * left], axis=1) * 20000).astype("<i2")
    with wave.open(str(tmp_path / "phone.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(stereo.tobytes())
    (made,) = complete(pipeline, audio=tmp_path / "phone.wav")
    assert len(made) == 5 and made.waveform.shape == (8000,)
    expected = np.sin(2 * np.pi * 400 * np.arange(8000) / 16000) * 10000 / 32768
    np.testing.assert_allclose(made.waveform[400:-400], expected[400:-400], atol=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said_and_nothing_breaks(pipeline, clip):
    with pytest.raises((RuntimeError, AssertionError), match="NVIDIA|CUDA"):
        pipeline.to("cuda")
    assert len(complete(pipeline, audio=clip, num_frames=1)[0]) == 1


def test_a_file_that_cannot_be_read_is_named(pipeline, tmp_path):
    with pytest.raises(MediaError, match=r"gone\.wav: no such file"):
        complete(pipeline, audio=tmp_path / "gone.wav")
    (tmp_path / "not a video.mp4").write_text("text")
    with pytest.raises(MediaError, match=r"not a video\.mp4"):
        complete(pipeline, video=tmp_path / "not a video.mp4")
