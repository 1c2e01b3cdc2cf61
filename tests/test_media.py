"""Clip: what it accepts, what its files hold, how it reads those of others, and how it shows itself."""

import base64
import math
import os
import re
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from rflav_lib.media import Clip, MediaError
from rflav_lib.view import clip_display

FLASHES = (3, 17, 30)  # frames that are white, and begin with a click


def plain(k=10, h=16, w=32, value=60):
    return Clip(np.full((k, h, w, 3), value, np.uint8), np.zeros(k * 1600, np.float32))


def noise(k=10, size=32, level=0.1, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (k, size, size, 3), dtype=np.uint8)
    return Clip(frames, (level * rng.standard_normal(k * 1600)).astype(np.float32))


def clicks_and_flashes(k=40, rate=16000, fps=10, places=FLASHES, size=64):
    frames = np.full((k, size, size, 3), 40, np.uint8)
    waveform = np.zeros(round(k * rate / fps), np.float32)
    for place in places:
        frames[place] = 230
        start = round(place * rate / fps)
        waveform[start : start + rate // 500] = 0.9
    return Clip(frames, waveform, fps, rate)


def decode(path):
    """Time stamp and brightness of each frame; time of the first sample; samples: straight from PyAV."""
    with av.open(str(path)) as container:
        pictures = [
            (frame.time, frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)
        ]
    with av.open(str(path)) as container:
        sounds = list(container.decode(audio=0))
    return pictures, sounds[0].time, np.concatenate([sound.to_ndarray()[0] for sound in sounds])


# ------------------------------------------------------------------ the container


def test_facts():
    clip = clicks_and_flashes()
    assert repr(clip) == "Clip(40 frames 64x64 @ 10 fps, 4.0 s, 64000 samples @ 16000 Hz)"
    assert len(clip) == 40 and clip.duration == 4.0
    assert repr(plain(5)) == "Clip(5 frames 32x16 @ 10 fps, 0.5 s, 8000 samples @ 16000 Hz)"


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_one_sample_more_or_less_is_accepted(extra):
    Clip(np.zeros((3, 4, 4, 3), np.uint8), np.zeros(4800 + extra, np.float32))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"frames": np.zeros((3, 4, 4, 3), np.float32)}, TypeError, "frames must be uint8, got float32"),
        ({"frames": [[0]]}, TypeError, "list"),
        ({"frames": np.zeros((3, 3, 4, 4), np.uint8)}, ValueError, r"\(3, 3, 4, 4\)"),
        ({"frames": np.zeros((0, 4, 4, 3), np.uint8)}, ValueError, "nothing empty"),
        ({"waveform": np.zeros(4800)}, TypeError, "waveform must be float32, got float64"),
        ({"waveform": np.zeros((1, 4800), np.float32)}, ValueError, "mono"),
        ({"waveform": np.full(4800, np.nan, np.float32)}, ValueError, "NaN"),
        ({"waveform": np.zeros(4798, np.float32)}, ValueError, "need 4800 samples .* got 4798"),
        ({"frame_rate": 0}, ValueError, "frame_rate"),
        ({"sample_rate": 16000.5}, ValueError, "sample_rate"),
    ],
)
def test_what_is_no_clip(change, error, message):
    good = {"frames": np.zeros((3, 4, 4, 3), np.uint8), "waveform": np.zeros(4800, np.float32)}
    Clip(**good)
    with pytest.raises(error, match=message):
        Clip(**good | change)


@pytest.mark.parametrize(("rate", "fps"), [(16000, 10), (44100, 29.97)])
def test_parts_have_their_own_sound_and_make_the_whole_again(rate, fps):
    waveform = np.arange(round(20 * rate / fps), dtype=np.float32)
    clip = Clip(np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(3, 3), waveform, fps, rate)
    parts = [clip.part(0, 7), clip.part(7, -5), clip.part(-5)]
    assert [part.frames[0].item(0) for part in parts] == [0, 7, 15]
    assert [part.waveform[0] for part in parts] == [round(first * rate / fps) for first in (0, 7, 15)]
    whole = Clip.concatenate(parts)
    assert np.array_equal(whole.frames, clip.frames) and np.array_equal(whole.waveform, waveform)
    assert repr(whole) == repr(clip)


def test_a_sample_that_a_clip_lacks_is_silence_in_its_last_part():
    part = Clip(np.zeros((3, 4, 4, 3), np.uint8), np.ones(4799, np.float32)).part(2)
    assert part.waveform.tolist() == [1] * 1599 + [0]


@pytest.mark.parametrize(
    ("first", "last", "named"),
    [(15, 21, "15 to 20"), (-21, 3, "-1 to 2"), (4, 4, "4 to 3"), (20, None, "20 to 19")],
)
def test_parts_that_a_clip_does_not_have_are_refused(first, last, named):
    with pytest.raises(ValueError, match=f"a clip of 20 frames has no frames {named}$"):
        plain(20).part(first, last)


def test_concatenate():
    first, second = noise(3), noise(4, seed=1)
    both = Clip.concatenate([first, second])
    assert np.array_equal(both.frames, np.concatenate([first.frames, second.frames]))
    assert np.array_equal(both.waveform, np.concatenate([first.waveform, second.waveform]))


def test_concatenating_many_keeps_each_sound_with_its_picture():
    """Each of these clips is a sample too long: appended as they are, the sound would run 99 samples late."""
    waveform = np.zeros(1601, np.float32)
    waveform[0] = 1
    whole = Clip.concatenate([Clip(np.zeros((1, 4, 4, 3), np.uint8), waveform)] * 100)
    assert np.array_equal(np.flatnonzero(whole.waveform), np.arange(100) * 1600)


def test_concatenate_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="no clips"):
        Clip.concatenate([])
    with pytest.raises(ValueError, match="clip 1 has frame size"):
        Clip.concatenate([plain(), plain(h=18)])
    slow = plain()
    with pytest.raises(ValueError, match="clip 2 has frame_rate 20"):
        Clip.concatenate([slow, slow, Clip(slow.frames, slow.waveform[:8000], frame_rate=20)])


# ------------------------------------------------------------------ writing


@pytest.mark.parametrize(("rate", "fps"), [(16000, 10), (44100, 25), (16000, 29.97)])
def test_click_and_flash_stay_together(tmp_path, rate, fps):
    path = clicks_and_flashes(40, rate, fps).save(tmp_path / "clip.mp4")
    pictures, sound_start, samples = decode(path)
    assert len(pictures) == 40
    assert sound_start == 0 and pictures[0][0] == 0
    assert 0 <= len(samples) - round(40 * rate / fps) < 1024  # AAC comes in blocks of 1024
    bright = [time for time, level in pictures if level > 150]
    assert len(bright) == len(FLASHES)
    for time, place in zip(bright, FLASHES, strict=True):
        near = slice(round((time - 0.02) * rate), round((time + 0.02) * rate))
        onset = (near.start + np.flatnonzero(np.abs(samples[near]) > 0.45)[0]) / rate
        assert abs(onset - time) < 0.005
        assert abs(time - place / fps) < 1e-3


def test_the_file_says_what_players_need(tmp_path):
    path = clicks_and_flashes().save(tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert audio.codec_context.name == "aac" and audio.rate == 16000
        assert audio.duration * audio.time_base == video.duration * video.time_base == 4
        order = [packet.pts - packet.dts for packet in container.demux(video) if packet.dts is not None]
        assert set(order) == {0}  # no B-frames
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before it is loaded whole


def test_streams_are_interleaved(tmp_path):
    """A player that reads from the start finds sound and picture of one time side by side."""
    path = noise(60).save(tmp_path / "clip.mp4")
    ends = {"video": 0.0, "audio": 0.0}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None:
                ends[packet.stream.type] = float(packet.pts * packet.time_base)
                assert packet.pos < path.stat().st_size
                assert abs(ends["video"] - ends["audio"]) < 1.5


def test_round_trip_keeps_picture_and_sound(tmp_path):
    y, x = np.mgrid[:64, :64] / 63
    frames = np.stack([np.stack([y * 200, x * 200, (y + x) * 60 + 5 * j], axis=-1) for j in range(10)])
    tone = (0.5 * np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000)).astype(np.float32)
    clip = Clip(frames.astype(np.uint8), tone)
    back = Clip.read(clip.save(tmp_path / "clip.mp4"))
    assert back.frames.shape == clip.frames.shape and back.waveform.shape == clip.waveform.shape
    assert np.abs(back.frames.astype(int) - clip.frames).mean() < 2
    error = (back.waveform - tone)[1000:-1000]
    assert np.sqrt(np.mean(error**2)) < 0.01  # a shift of one sample would make 0.06 of it


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (200, 100, 50)])
def test_colours_survive(tmp_path, colour):
    frames = np.full((3, 32, 32, 3), colour, np.uint8)
    back = Clip.read(Clip(frames, np.zeros(4800, np.float32)).save(tmp_path / "clip.mp4"))
    assert np.abs(back.frames.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("interpolation", ["nearest", "bicubic"])
def test_scale(tmp_path, interpolation):
    frames = np.full((3, 15, 21, 3), 40, np.uint8)  # odd sizes are fine when the scale is even
    frames[:, 5:10, 7:14] = 220
    clip = Clip(frames, np.zeros(4800, np.float32))
    large = Clip.read(clip.save(tmp_path / "clip.mp4", scale=4, interpolation=interpolation)).frames
    assert large.shape == (3, 60, 84, 3)
    assert np.abs(large[:, 1::4, 1::4].astype(int) - frames).mean() < 6
    steep = np.abs(np.diff(large[1, 30, :, 1].astype(int))).max()
    assert steep > 150 if interpolation == "nearest" else steep < 120


def test_same_clip_same_bytes(tmp_path):
    one, two = (noise().save(tmp_path / name).read_bytes() for name in ("one.mp4", "two.mp4"))
    assert one == two


def test_views_and_reversed_arrays_can_be_saved(tmp_path):
    clip = noise()
    turned = Clip(clip.frames[::-1, :, ::-1], clip.waveform[::-1])
    copied = Clip(turned.frames.copy(), turned.waveform.copy())
    assert turned.save(tmp_path / "a.mp4").read_bytes() == copied.save(tmp_path / "b.mp4").read_bytes()


def test_loud_samples_are_clipped_and_do_not_wrap(tmp_path):
    waveform = np.tile(np.repeat(np.float32([1.0, -1.0, 1.7, -1.7, 0.5]), 320), 10)
    clip = Clip(np.zeros((10, 16, 16, 3), np.uint8), waveform)
    with wave.open(str(clip.to_wav(tmp_path / "clip.wav"))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        pcm = np.frombuffer(file.readframes(16000), "<i2")
    assert len(pcm) == 16000
    assert np.abs(pcm / 32767 - np.clip(waveform, -1, 1)).max() < 1e-4
    back = Clip.read(clip.save(tmp_path / "clip.mp4")).waveform
    inside = np.arange(16000) % 320
    settled = (inside > 60) & (inside < 260) & (np.abs(np.arange(16000) - 8000) < 6000)
    assert np.abs(back - np.clip(waveform, -1, 1))[settled].max() < 0.25


def test_what_cannot_be_written(tmp_path):
    odd = plain(h=15)
    with pytest.raises(MediaError, match=r"odd\.mp4.*32x15.*even scale"):
        odd.save(tmp_path / "odd.mp4")
    with pytest.raises(MediaError, match="32x15 times 3"):
        odd.save(tmp_path / "odd.mp4", scale=3)
    odd.save(tmp_path / "even.mp4", scale=2)
    with pytest.raises(MediaError, match=r"clip\.avi: clips are written as \.mp4"):
        plain().save(tmp_path / "clip.avi")
    with pytest.raises(MediaError, match=r"clip\.mp3: sound is written as \.wav"):
        plain().to_wav(tmp_path / "clip.mp3")
    with pytest.raises(ValueError, match="scale"):
        plain().save(tmp_path / "clip.mp4", scale=1.5)
    with pytest.raises(ValueError, match="interpolation"):
        plain().save(tmp_path / "clip.mp4", interpolation="cubic")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MediaError, match=r"clip\.mp4: cannot be written"):
        plain().save(tmp_path / "file" / "clip.mp4")
    assert {path.name for path in tmp_path.iterdir()} == {"even.mp4", "file"}


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = plain().save(tmp_path / "clip.mp4")
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rflav_lib.av_files.sample_at", interrupt)
    with pytest.raises(KeyboardInterrupt):
        noise().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------ reading


def write_foreign(path, fps=30, rate=48000, seconds=2.0, sound_delay=0.0, codec="aac", channels=2):
    """A file such as others write: flash at 0.5 s and 1.3 s, click at the same instants; B-frames, stereo."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="stereo") if codec else None
        for number in range(round(seconds * fps)):
            flash = any(-1e-6 < number / fps - place < 0.1 - 1e-6 for place in (0.5, 1.3))
            picture = av.VideoFrame.from_ndarray(
                np.full((48, 64, 3), 230 if flash else 30, np.uint8), "rgb24"
            )
            picture.pts, picture.time_base = number, Fraction(1, fps)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if sound:
            samples = np.zeros((2, round((seconds - sound_delay) * rate)), np.float32)
            for place in (0.5, 1.3):
                start = round((place - sound_delay) * rate)
                samples[0, start : start + rate // 200] = 0.8  # left alone: the mean is 0.4
            frame = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(sound_delay * rate)
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("fps", [10, 25, 30])
def test_files_of_other_rates_are_read_in_sync(tmp_path, suffix, fps):
    clip = Clip.read(write_foreign(tmp_path / f"clip.{suffix}", fps))
    assert repr(clip) == "Clip(20 frames 64x48 @ 10 fps, 2.0 s, 32000 samples @ 16000 Hz)"
    assert [number for number, frame in enumerate(clip.frames) if frame.mean() > 130] == [5, 13]
    for place in (8000, 20800):
        near = np.abs(clip.waveform[place - 800 : place + 800])
        assert abs(np.flatnonzero(near > 0.2)[0] - 800) < 16  # 1 ms
        assert 0.3 < near.max() < 0.55  # the mean of the two channels
    assert np.abs(clip.waveform[9600:19200]).max() < 0.02


def test_sound_that_begins_late_stays_in_sync(tmp_path):
    clip = Clip.read(write_foreign(tmp_path / "clip.mkv", fps=10, sound_delay=0.3))
    bright = [number for number, frame in enumerate(clip.frames) if frame.mean() > 130]
    onsets = [np.flatnonzero(np.abs(clip.waveform[n * 1600 - 160 :]) > 0.2)[0] - 160 for n in bright]
    assert len(clip) == 17 and bright == [2, 10]  # the first 0.3 s have no sound: not part of the clip
    assert np.abs(onsets).max() < 80, onsets  # 5 ms


def test_read_at_other_rates(tmp_path):
    clip = Clip.read(write_foreign(tmp_path / "clip.mp4"), frame_rate=15, sample_rate=24000)
    assert repr(clip) == "Clip(30 frames 64x48 @ 15 fps, 2.0 s, 48000 samples @ 24000 Hz)"


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(MediaError, match=r"missing\.mp4: no such file"):
        Clip.read(tmp_path / "missing.mp4")
    with pytest.raises(MediaError, match="no such file"):
        Clip.read(tmp_path)
    (tmp_path / "text.mp4").write_text("this is no film" * 100)
    with pytest.raises(MediaError, match=r"text\.mp4: is a text"):
        Clip.read(tmp_path / "text.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match=r"empty\.mp4: cannot be decoded"):
        Clip.read(tmp_path / "empty.mp4")
    with pytest.raises(MediaError, match=r"sound\.wav: has no video"):
        Clip.read(plain().to_wav(tmp_path / "sound.wav"))
    with pytest.raises(MediaError, match=r"mute\.mp4: has no audio"):
        Clip.read(write_foreign(tmp_path / "mute.mp4", codec=None))
    with pytest.raises(ValueError, match="frame_rate"):
        Clip.read(tmp_path / "mute.mp4", frame_rate=0)


@pytest.mark.parametrize("share", [0.03, 0.5, 0.8])
def test_truncated_files_are_not_read_as_short_ones(tmp_path, share):
    whole = noise(40, 64).save(tmp_path / "whole.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MediaError, match=r"cut\.mp4: (is truncated|cannot be decoded)"):
        Clip.read(path)


def asset(name):
    folder = os.environ.get("RFLAV_ASSETS")
    if not folder:
        pytest.skip("set RFLAV_ASSETS to a folder of real media (clips/*.mp4) to read them")
    path = Path(folder) / "clips" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("greatesthits_hitting_bag.mp4", "60 frames 604x340 @ 10 fps, 6.0 s, 96000 samples"),  # 15 fps, mp3
        # 10 fps, mp3
        ("rflav_generated_aist_video0.mp4", "16 frames 256x256 @ 10 fps, 1.6 s, 25600 samples"),
        ("mdn_rabbit320.mp4", "78 frames 320x240 @ 10 fps, 7.8 s, 124800 samples"),  # 30 fps, 44.1 kHz stereo
    ],
)
def test_real_clips(name, facts):
    clip = Clip.read(asset(name))
    assert facts in repr(clip)
    assert np.abs(clip.waveform).max() > 0.05
    assert clip.frames.std() > 10 and np.abs(np.diff(clip.frames[:2].astype(int), axis=0)).max() > 0


# ------------------------------------------------------------------ display


def test_a_notebook_gets_facts_player_and_strip():
    clip = clicks_and_flashes()
    bundle = clip._repr_mimebundle_()
    assert bundle["text/plain"] == repr(clip)
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/html"] == clip_display.html(clip)
    assert bundle["image/png"] in bundle["text/html"]
    assert bundle == clip._repr_mimebundle_()  # the same bytes each time


def test_the_embedded_player_holds_the_clip(tmp_path):
    page = clip_display.html(clicks_and_flashes())
    assert "<video controls loop" in page
    assert not re.search(r"(src|href)=.(?!data:)", page)  # nothing from elsewhere: plays offline
    path = tmp_path / "clip.mp4"
    path.write_bytes(base64.b64decode(re.search(r"data:video/mp4;base64,([^\"]+)", page).group(1)))
    assert repr(Clip.read(path)) == "Clip(40 frames 320x320 @ 10 fps, 4.0 s, 64000 samples @ 16000 Hz)"


@pytest.mark.parametrize("size", [(1, 63, 63), (2, 15, 21), (3, 400, 640), (1, 2, 3)])
def test_clips_of_any_size_can_be_shown(size):
    clip = Clip(np.full((*size, 3), 99, np.uint8), np.zeros(size[0] * 1600, np.float32))
    assert set(clip._repr_mimebundle_()) == {"text/plain", "image/png", "text/html"}


def test_clips_of_other_rates_can_be_shown():
    fast = Clip(
        np.zeros((2, 16, 16, 3), np.uint8), np.zeros(320, np.float32), frame_rate=50, sample_rate=8000
    )
    assert clip_display.png(fast).startswith(b"\x89PNG")


def test_strip_stands_on_one_time_axis():
    clip = clicks_and_flashes()
    pictures, sound, _ = clip_display.strip(clip).axes
    left, right = sound.get_xlim()
    assert (left, right) == pictures.get_xlim() == (0, clip.duration)
    box, other = sound.get_position(), pictures.get_position()
    assert (box.x0, box.x1) == (other.x0, other.x1)
    assert sound.get_xlabel() == "time (s)" and sound.get_ylabel() == "mel scale (kHz)"
    mel = sound.images[0]
    assert mel.get_array().shape == (clip_display.MEL_BINS, 400)
    assert tuple(mel.get_extent()[:2]) == (0, 4)
    loudness = np.asarray(mel.get_array()).mean(axis=0)
    for place in FLASHES:  # each click is seen under its flash
        assert abs(place * 10 - 20 + loudness[place * 10 - 20 : place * 10 + 20].argmax() - place * 10) <= 1


def test_pictures_stand_where_they_appear():
    clip = noise(40)
    pictures = clip_display.strip(clip).axes[0].images
    assert 5 < len(pictures) < 20
    ends = 0.0
    for picture in pictures:
        left, right, *_ = picture.get_extent()
        assert left >= ends - 1e-6 and right <= clip.duration + 1e-6  # no overlap, none cut off
        assert np.array_equal(picture.get_array(), clip.frames[round(left * clip.frame_rate)])
        ends = right


def test_drawing_clips_needs_no_pyplot_and_leaves_styles_alone():
    before, figures = dict(matplotlib.rcParams), plt.get_fignums()
    with matplotlib.rc_context({"figure.autolayout": True, "font.size": 20}):
        styled = clip_display.png(plain())
    assert styled == clip_display.png(plain())
    assert dict(matplotlib.rcParams) == before and plt.get_fignums() == figures


def test_media_alone_stays_light():
    """Whoever only reads and writes clips loads neither torch nor matplotlib."""
    code = "import sys, rflav_lib.media; print({'torch', 'matplotlib', 'diffusers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("crf", [99, -1, 23.5, "16"])
def test_a_quality_that_h264_does_not_have_is_refused(tmp_path, crf):
    with pytest.raises(ValueError, match="crf must be"):
        short_clip().save(tmp_path / "clip.mp4", crf=crf)
    assert not list(tmp_path.iterdir())


def short_clip(frame_rate=10, sample_rate=16000):
    samples = round(2 * float(sample_rate) / float(frame_rate))
    return Clip(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(samples, np.float32), frame_rate, sample_rate)


@pytest.mark.parametrize("rate", [44099, 192000, 4000])
def test_flac_has_the_rates_that_aac_lacks(tmp_path, rate):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, rate).astype(np.float32)
    clip = Clip(np.zeros((10, 16, 16, 3), np.uint8), noise, 10, rate)
    read = Clip.read(clip.save(tmp_path / "clip.mp4", sound_codec="flac"), 10, rate)
    np.testing.assert_allclose(read.waveform, noise, atol=2**-15)


def test_a_codec_of_sound_that_there_is_not_is_named(tmp_path):
    clip = Clip(np.zeros((10, 16, 16, 3), np.uint8), np.zeros(16000, np.float32), 10, 16000)
    with pytest.raises(ValueError, match="sound_codec must be one of .*got 'mp3'"):
        clip.save(tmp_path / "clip.mp4", sound_codec="mp3")


@pytest.mark.parametrize("rate", [44099, 192000, 4000])
def test_a_sample_rate_that_aac_does_not_have_is_named_with_those_it_has(tmp_path, rate):
    with pytest.raises(MediaError, match=rf"AAC has no {rate} samples a second.* 48000, 44100, .*to_wav"):
        short_clip(sample_rate=rate).save(tmp_path / "clip.mp4")
    assert short_clip(sample_rate=rate).to_wav(tmp_path / "clip.wav").is_file()


@pytest.mark.parametrize("frame_rate", [np.float32(12.5), np.float64(12.5), np.int64(10), Fraction(25, 2)])
def test_rates_may_be_numbers_of_numpy(tmp_path, frame_rate):
    clip = short_clip(frame_rate, np.int64(16000))
    assert type(clip.frame_rate) in (int, float) and type(clip.sample_rate) is int
    assert len(Clip.read(clip.save(tmp_path / "clip.mp4"), frame_rate, np.int32(16000))) == 2


@pytest.mark.parametrize(
    "rates", [{"frame_rate": "10"}, {"frame_rate": True}, {"frame_rate": -1}, {"sample_rate": "16000"},
              {"frame_rate": math.nan}, {"frame_rate": math.inf}, {"sample_rate": 0}]
)  # fmt: skip
def test_rates_that_are_none_are_refused(rates):
    with pytest.raises(ValueError, match=f"{next(iter(rates))} must be a "):
        Clip(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(3200, np.float32), **rates)


@pytest.mark.parametrize(
    "window", [{"start": math.nan}, {"start": math.inf}, {"start": "0"}, {"frames": 2.5}, {"frames": "5"},
               {"frames": 0}]
)  # fmt: skip
def test_a_window_that_is_none_is_refused(tmp_path, window):
    path = short_clip().save(tmp_path / "clip.mp4")
    with pytest.raises(ValueError, match=f"{next(iter(window))} must be a "):
        Clip.read(path, **window)
