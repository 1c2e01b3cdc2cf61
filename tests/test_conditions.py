"""A video for a sound and a sound for a video, from what a user has at hand."""

import wave
import weakref

import numpy as np
import pytest
import torch

from rflav_lib import av_pictures, conditions
from rflav_lib.conditions import given_sound, given_video
from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip, MediaError
from tests.media_files import clicks, number_of, regular, write_media
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


def numbers_of(frames):
    return [number_of(frame[8:56]) for frame in frames]


@pytest.mark.parametrize("seconds", [None, 0.5, 3.0])
def test_a_video_is_completed_over_its_own_length_whatever_sound_it_has(pipeline, tmp_path, seconds):
    sound = None if seconds is None else clicks((0.2,), seconds, 16000)
    path = write_media(tmp_path / "a.mp4", regular(10, 1.2), 1.2, sound, rate=16000, layout="mono")
    (made,) = complete(pipeline, video=path)
    assert numbers_of(made.frames) == list(range(12)) and len(made.waveform) == 12 * 1600
    assert numbers_of(complete(pipeline, video=path, num_frames=5)[0].frames) == list(range(5))
    with pytest.raises(ValueError, match=r"num_frames is 13, but .*a\.mp4 lasts 12 frames"):
        complete(pipeline, video=path, num_frames=13)


def test_a_file_without_pictures_is_no_video(pipeline, clip, tmp_path):
    with pytest.raises(MediaError, match=r"a\.wav: has no video stream"):
        complete(pipeline, video=clip.to_wav(tmp_path / "a.wav"))
    blink = write_media(tmp_path / "blink.mp4", [0.0], 0.03)
    with pytest.raises(MediaError, match=r"blink\.mp4: its pictures last 0\.030 s, less than half a frame"):
        complete(pipeline, video=blink)


def test_of_a_long_video_no_more_is_decoded_than_asked_and_little_is_held(pipeline, tmp_path, monkeypatch):
    path = write_media(tmp_path / "long.mp4", regular(25, 10), 10, size=(320, 240), options={"g": "5"})
    decoded, held, most = [0], [], [0]

    def counted(*arguments, whole=av_pictures.decoded, **more):
        for frame in whole(*arguments, **more):
            decoded[0] += 1
            yield frame

    def watched(frames, size, whole=conditions.letterbox):
        held.append(weakref.ref(frames))
        alive = [each() for each in held]
        most[0] = max(most[0], sum(len(each) for each in alive if each is not None))
        return whole(frames, size)

    monkeypatch.setattr(av_pictures, "decoded", counted)
    monkeypatch.setattr(conditions, "letterbox", watched)
    few = given_video(path, 64, pipeline.mel, num_frames=3)
    assert len(few) == 3 and decoded[0] < 15
    decoded[0] = most[0] = 0
    everything = given_video(path, 64, pipeline.mel)
    assert len(everything) == 100 and decoded[0] == 250
    assert most[0] <= 2 * conditions.AT_ONCE
    assert np.array_equal(everything[:3], few)


def test_sound_of_files_and_clips_beyond_full_scale_is_scaled_down_with_one_warning(pipeline, tmp_path):
    waveform = np.sin(np.arange(3200) / 9).astype(np.float32)
    loud = Clip(np.zeros((2, 8, 8, 3), np.uint8), 1.18 * waveform)
    path = write_media(
        tmp_path / "loud.mkv", [], 0, 1.3 * waveform[None], rate=16000, layout="mono", codec="pcm_f32le"
    )
    for given, told in ((loud, r"audio reaches 1\.18"), (path, r"loud\.mkv reaches 1\.30")):
        with pytest.warns(UserWarning, match=told) as warned:
            heard = given_sound(given, pipeline.mel)
        assert len(warned) == 1 and np.abs(heard).max() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(heard, waveform / np.abs(waveform).max(), atol=1e-5)
    with pytest.raises(ValueError, match=r"audio reaches 1\.18, beyond \[-1, 1\]: scale it down"):
        given_sound(loud.waveform, pipeline.mel)
    with pytest.raises(ValueError, match=r"audio reaches 3\d+\.\d+, beyond"):
        given_sound(Clip(loud.frames, 32767 * waveform), pipeline.mel)


@pytest.mark.parametrize("name", ["audio", "video"])
def test_a_condition_guides_as_strongly_inside_of_inference_mode(pipeline, clip, name):
    """Where torch takes no gradients, whatever the sampler made there before."""
    (expected,) = complete(pipeline, y="rain", **{name: clip})
    with torch.inference_mode():
        (made,) = complete(pipeline, y="rain", **{name: clip})
    assert np.array_equal(made.frames, expected.frames) and np.array_equal(made.waveform, expected.waveform)


@pytest.mark.parametrize("fast", [False, True])
def test_a_sampler_that_made_clips_in_inference_mode_still_takes_gradients(pipeline, fast):
    def made(sampler):
        noise = pipeline.initial_noise(1, torch.Generator().manual_seed(2))
        labels = torch.tensor([1])
        frames = sampler.audio_to_video(
            noise[1][:, :2], noise[0], generator=torch.Generator().manual_seed(3), y=labels
        )
        return torch.stack([frame[0] for frame in frames])

    sampler = pipeline.sampler(1, fast=fast)
    with torch.inference_mode():
        joint = sampler.stream(*pipeline.initial_noise(1), torch.Generator(), torch.tensor([1]))
        for _ in range(3):
            next(joint)
        inside = made(sampler)
    expected = made(pipeline.sampler(1, fast=fast))
    assert torch.equal(inside, expected) and torch.equal(made(sampler), expected)


def test_a_pipeline_that_was_opened_in_inference_mode_says_what_it_cannot_do(clip):
    with torch.inference_mode():
        opened = tiny_pipeline()
    with pytest.raises(ValueError, match=r"opened inside of torch\.inference_mode\(\).*: open it outside"):
        complete(opened, audio=clip)
    assert len(complete(opened, audio=clip, condition_scale=0)[0]) == 6


def test_tensors_of_every_kind_are_taken_or_named(pipeline):
    sound = torch.sin(torch.arange(3200) / 9).bfloat16()
    heard = given_sound(sound, pipeline.mel)
    assert heard.dtype == np.float32 and np.array_equal(heard, sound.float().numpy())
    with pytest.raises(ValueError, match="audio must be a plain tensor, got torch.strided on meta"):
        given_sound(sound.to("meta"), pipeline.mel)
    with pytest.raises(ValueError, match="video must be a plain tensor, got torch.sparse_coo on cpu"):
        given_video(torch.zeros(2, 64, 64, 3, dtype=torch.uint8).to_sparse(), 64, pipeline.mel)
