"""Files of others, read: which picture, which sample, whatever their rates, shapes and beginnings."""

import os
from fractions import Fraction
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rflav_lib import ROOT, av_pictures, av_sound, av_source
from rflav_lib.av_sound import read_sound
from rflav_lib.media import Clip, MediaError, probe
from tests.media_files import click_times, clicks, number_of, numbered, regular, write_media, write_samples

INSTANTS = (0.25, 0.8, 1.45)
STEREO = clicks(INSTANTS, 2, 48000, 2)


def on_screen(times, instants):
    """The last frame that began at or before each instant."""
    return [int(np.searchsorted(times, instant + 1e-6, side="right")) - 1 for instant in instants]


def middles(count, start=0.0, rate=10):
    return [start + (k + 0.5) / rate for k in range(count)]


def numbers(clip):
    return [number_of(frame) for frame in clip.frames]


# ------------------------------------------------------------------ which picture, which sample


@pytest.mark.parametrize("fps", [10, 12, 15, 21.5, 25, 30000 / 1001, 60])
def test_a_frame_shows_the_middle_of_its_sound(tmp_path, fps):
    times = regular(fps, 2)
    clip = Clip.read(write_media(tmp_path / "a.mp4", times, 2.0, STEREO))
    assert len(clip) == 20 and len(clip.waveform) == 32000
    assert numbers(clip) == on_screen(times, middles(20))
    assert np.abs(click_times(clip.waveform, 16000) - INSTANTS).max() < 1e-3


def test_our_own_rate_loses_and_doubles_nothing(tmp_path):
    clip = Clip.read(write_media(tmp_path / "a.mp4", regular(10, 2), 2.0, STEREO))
    assert numbers(clip) == list(range(20))


def test_a_rate_that_varies(tmp_path):
    """Frames of 7 ms to half a second; what is longest on the screen is what is seen most."""
    lengths = np.random.default_rng(0).choice([0.007, 0.02, 0.04, 0.11, 0.5], 40)
    times = [0.0, *np.cumsum(lengths)[:-1].tolist()]
    end = float(lengths.sum())
    path = write_media(tmp_path / "a.mp4", times, end, clicks(INSTANTS, end, 48000, 2))
    clip = Clip.read(path)
    assert abs(len(clip) - 10 * end) <= 0.5 + 1e-6
    assert numbers(clip) == on_screen(times, middles(len(clip)))


@pytest.mark.parametrize(("suffix", "slack"), [("mkv", 1e-3), ("mov", 2e-4)])
@pytest.mark.parametrize("delay", [0.25, -0.3])
def test_streams_that_begin_at_different_times(tmp_path, suffix, slack, delay):
    """Sound late, picture late: the clip is the time they share, and both stay where they are in it."""
    times = regular(25, 2, start=max(0.0, -delay))
    sound = clicks([instant + 0.3 for instant in INSTANTS], 2.3, 48000, 1)
    path = write_media(
        tmp_path / f"a.{suffix}",
        times,
        times[-1] + 0.04,
        sound,
        sound_start=max(0.0, delay),
        codec="pcm_s16le",
        layout="mono",
    )
    clip = Clip.read(path)
    begin = max(0.0, delay, -delay)
    assert abs(probe(path).start - begin) < 1e-3
    assert numbers(clip) == on_screen(times, middles(len(clip), begin))
    heard = np.array(INSTANTS) + 0.3 + max(0.0, delay) - begin
    assert (
        np.abs(click_times(clip.waveform, 16000) - heard[: len(click_times(clip.waveform, 16000))]).max()
        < slack
    )
    assert len(click_times(clip.waveform, 16000)) == sum(heard < clip.duration)


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2), ("5.1", 6)])
@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
def test_sound_of_any_rate_and_channels(tmp_path, layout, channels, rate):
    """Lossless, so that every sample can be compared: a tone, at full level, no sample early or late."""
    time = np.arange(round(2.1 * rate)) / rate
    tone = np.tile(0.5 * np.sin(2 * np.pi * 440 * time), (channels, 1)).astype(np.float32)
    path = write_media(
        tmp_path / "a.mov", regular(10, 2), 2.0, tone, rate=rate, layout=layout, codec="pcm_f32le"
    )
    clip = Clip.read(path)
    assert abs(len(clip.waveform) - 1600 * len(clip)) <= 1
    truth = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(clip.waveform)) / 16000)
    inside = slice(200, -200)
    assert np.abs(clip.waveform - truth)[inside].max() < 0.004  # one sample late would be 0.09
    assert probe(path).channels == channels and probe(path).sample_rate == rate


def test_channels_are_averaged(tmp_path):
    left = clicks(INSTANTS, 2, 48000, 2)
    left[1] = 0
    clip = Clip.read(write_media(tmp_path / "a.mov", regular(10, 2), 2.0, left, codec="pcm_s16le"))
    assert 0.35 < clip.waveform.max() < 0.5  # half of 0.8, and a little overshoot


# ------------------------------------------------------------------ how the picture is meant


def corners(_, width, height):
    """Red, green, blue, black: which corner is which is seen after any turn."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2, 0] = picture[: height // 2, width // 2 :, 1] = 220
    picture[height // 2 :, : width // 2, 2] = 220
    return picture


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_picture_is_shown_upright(tmp_path, degrees):
    stored = Clip.read(
        write_media(tmp_path / "a.mp4", regular(10, 1), 1.0, STEREO[:, :48000], picture=corners)
    )
    path = write_media(
        tmp_path / "b.mp4", regular(10, 1), 1.0, STEREO[:, :48000], picture=corners, rotation=degrees
    )
    shown, info = Clip.read(path), probe(path)
    meant = np.rot90(stored.frames, degrees // 90, axes=(1, 2))
    assert shown.frames.shape == meant.shape and np.abs(shown.frames.astype(int) - meant).mean() < 2
    assert (info.rotation, info.mirrored) == (degrees, False)
    assert (info.width, info.height) == shown.frames.shape[2:0:-1]


@pytest.mark.parametrize("turns", range(4))
def test_a_mirrored_picture_is_shown_unmirrored(tmp_path, turns):
    """All eight ways to hold a phone, by the matrix in the file's header."""
    plain = write_media(tmp_path / "a.mp4", regular(10, 1), 1.0, STEREO[:, :48000], picture=corners)
    stored = Clip.read(plain).frames[0]
    data = bytearray(plain.read_bytes())
    place = data.index(b"vide\0")  # its handler; the track header lies before it
    place = data.rindex((0x10000).to_bytes(4) + bytes(12) + (0x10000).to_bytes(4), 0, place)
    # in a space with y down: mirror left-right first, then turn counter-clockwise
    matrix = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), turns) @ np.array([[-1, 0], [0, 1]])
    for position, value in zip(
        (0, 4, 12, 16), (matrix[0, 0], matrix[1, 0], matrix[0, 1], matrix[1, 1]), strict=True
    ):
        data[place + position : place + position + 4] = int(value * 0x10000).to_bytes(4, signed=True)
    (tmp_path / "b.mp4").write_bytes(data)
    shown = Clip.read(tmp_path / "b.mp4").frames[0]
    meant = np.rot90(stored[:, ::-1], turns)
    assert probe(tmp_path / "b.mp4").mirrored
    assert shown.shape == meant.shape and np.abs(shown.astype(int) - meant).max() < 5


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (2, 2), (17, 200), (321, 9)])
def test_odd_sizes(tmp_path, size):
    path = write_media(
        tmp_path / "a.mp4", regular(10, 1), 1.0, STEREO[:, :48000], size=size, picture=corners,
        pixel_format="yuv444p",
    )  # fmt: skip
    frames = Clip.read(path).frames
    assert frames.shape == (10, *size[::-1], 3)
    assert np.abs(frames[0].astype(int) - corners(0, *size)).mean() < 12


def test_pixels_that_are_not_square_become_so(tmp_path):
    path = write_media(
        tmp_path / "a.mp4",
        regular(10, 1),
        1.0,
        STEREO[:, :48000],
        pixel_aspect=Fraction(4, 3),
        picture=corners,
    )
    frames = Clip.read(path).frames
    assert frames.shape == (10, 48, 85, 3) and (probe(path).width, probe(path).height) == (85, 48)
    assert (
        np.abs(frames[0, 5:-5, 8:-8].astype(int) - np.stack([corners(0, 85, 48)])[0, 5:-5, 8:-8]).mean() < 12
    )


# ------------------------------------------------------------------ containers and codecs


def test_containers_and_codecs(tmp_path):
    for path in write_samples(tmp_path):
        clip, info = Clip.read(path), probe(path)
        assert repr(clip) == "Clip(20 frames 64x48 @ 10 fps, 2.0 s, 32000 samples @ 16000 Hz)", path.name
        assert len(clip) == info.frames_at(10) and info.video_codec and info.audio_codec
        loudest = np.abs(clip.waveform).reshape(-1, 160).max(axis=1)
        assert set(np.flatnonzero(loudest > 0.6) // 5) == {10, 24}, path.name  # 0.5 and 1.2 s


def test_sound_alone(tmp_path):
    path = write_media(
        tmp_path / "a.wav", [], 0, clicks(INSTANTS, 2, 44100, 2), rate=44100, codec="pcm_s16le"
    )
    waveform = read_sound(path, 16000)
    assert waveform.shape == (32000,) and np.abs(click_times(waveform, 16000) - INSTANTS).max() < 1e-3
    assert probe(path).video_codec is None and probe(path).duration == 2


# ------------------------------------------------------------------ windows


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """26 seconds with noise for sound, so that every sample tells where it is from; key frames 4 s apart."""
    noise = 0.3 * np.random.default_rng(0).standard_normal((2, 26 * 44100)).astype(np.float32)
    folder = tmp_path_factory.mktemp("long")
    return {
        suffix: write_media(
            folder / f"long.{suffix}", regular(25, 26), 26.0, noise, rate=44100,
            options={"g": "100", "x264-params": f"open-gop={int(suffix == 'ts')}"},
            picture=lambda number, width, height: numbered(number % 256, width, height),
        )
        for suffix in ("mp4", "mkv", "ts")
    }  # fmt: skip


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_window_is_a_slice_of_the_whole(long, suffix):
    whole = Clip.read(long[suffix])
    info = probe(long[suffix])
    for first, count in [
        (0, 10),
        (3, 1),
        (120, 10),
        (39, 2),
        (97, 10),
        (105, 100),
        (195, 20),
        (len(whole) - 3, 3),
    ]:
        window = Clip.read(long[suffix], start=first / 10, frames=count, info=info)
        assert np.array_equal(window.frames, whole.frames[first : first + count])
        assert np.array_equal(window.waveform, whole.waveform[1600 * first : 1600 * (first + count)])
    rest = Clip.read(long[suffix], start=25.0)
    assert np.array_equal(rest.frames, whole.frames[250:])


def test_sound_has_no_seams(tmp_path):
    """The segments that sound is decoded in meet: a tone goes through them as if they were not there."""
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(25 * 44100) / 44100).astype(np.float32)[None]
    path = write_media(
        tmp_path / "a.mov", regular(10, 25), 25.0, tone, rate=44100, layout="mono", codec="pcm_f32le",
        picture=lambda number, width, height: numbered(number % 256, width, height),
    )  # fmt: skip
    truth = 0.5 * np.sin(2 * np.pi * 440 * np.arange(25 * 16000) / 16000)
    assert np.abs(Clip.read(path).waveform - truth)[200:-200].max() < 1e-4


def test_a_window_is_read_without_decoding_the_file(long, monkeypatch):
    given = {"video": 0, "audio": 0}
    true_decoded = av_source.decoded

    def counting(path, container, stream, *rest, **settings):
        for frame in true_decoded(path, container, stream, *rest, **settings):
            given[stream.type] += frame.samples / frame.sample_rate if stream.type == "audio" else 1 / 25
            yield frame

    for module in (av_sound, av_pictures):
        monkeypatch.setattr(module, "decoded", counting)
    Clip.read(long["mp4"], start=20.3, frames=3, info=probe(long["mp4"]))
    assert given["video"] < 4.1 + 0.4 and given["audio"] < 3, given  # of 26 s
    given.update(video=0, audio=0)
    Clip.read(long["mp4"], start=0.0, frames=3, info=probe(long["mp4"]))
    assert given["video"] < 0.5 and given["audio"] < 0.7, given


@pytest.mark.parametrize("frames_each", [1, 7, 100, 1000])
def test_pieces_make_the_whole(long, frames_each):
    whole = Clip.read(long["mkv"])
    pieces = list(Clip.pieces(long["mkv"], frames_each))
    assert {len(piece) for piece in pieces[:-1]} <= {frames_each}
    assert np.array_equal(np.concatenate([piece.frames for piece in pieces]), whole.frames)
    assert np.array_equal(np.concatenate([piece.waveform for piece in pieces]), whole.waveform)


def test_windows_that_are_not_there(long):
    for window, message in [
        ({"start": 0.05}, "multiple of a frame, 0.1 s, got 0.05"),
        ({"start": -1}, "multiple of a frame"),
        ({"start": 25.8, "frames": 3}, r"long.mp4: has 260 frames at 10 fps, so no 3 frames from 25.8 s on"),
        ({"frames": 261}, "has 260 frames"),
        ({"start": 26.0}, "has 260 frames"),
        ({"frames": 0}, "frames must be a whole number, at least 1, not 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            Clip.read(long["mp4"], **window)
    with pytest.raises(ValueError, match="frames_each must be a whole number, at least 1"):
        next(Clip.pieces(long["mp4"], 0))


# ------------------------------------------------------------------ what cannot be read


def test_each_fault_has_its_words(tmp_path):
    good = write_media(tmp_path / "good.mp4", regular(10, 2), 2.0, STEREO)
    data = good.read_bytes()
    times = regular(10, 2)
    write_media(tmp_path / "mute.mp4", times, 2.0)
    write_media(tmp_path / "blind.m4a", [], 0, STEREO)
    write_media(tmp_path / "apart.mkv", regular(10, 1), 1.0, STEREO, sound_start=5.0, codec="pcm_s16le")
    (tmp_path / "cut.mp4").write_bytes(data[:-2000])
    (tmp_path / "text.mp4").write_text("#EXTM3U\n/etc/passwd\n" * 20)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ngood.mp4\n")
    (tmp_path / "notes.txt").write_text("nothing to see " * 50)
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    (tmp_path / "empty.mp4").touch()
    for name, reason in {
        "mute.mp4": "has no audio stream",
        "blind.m4a": "has no video stream",
        "apart.mkv": "share no time",
        "cut.mp4": "is truncated",
        "text.mp4": "text or a playlist|cannot be decoded",
        "list.m3u8": "playlist|cannot be decoded",
        "notes.txt": "text or a playlist|cannot be decoded",
        "zeros.mp4": "not a media file",
        "empty.mp4": "not a media file",
        "gone.mp4": "no such file",
        ".": "no such file",
    }.items():
        with pytest.raises(MediaError, match=reason) as caught:
            Clip.read(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: "), caught.value
        assert "\n" not in str(caught.value)


def test_a_gap_in_the_sound_is_named(tmp_path):
    """A tenth of a second of sound is missing: neither is what follows moved up, nor silence put in."""

    def keep(packet):
        return packet.stream.type == "video" or not 0.5 < packet.pts * packet.time_base < 0.6

    path = write_media(tmp_path / "a.mkv", regular(10, 3), 3.0, clicks(INSTANTS, 3, 48000, 2), keep=keep)
    with pytest.raises(MediaError, match=r"a\.mkv: its sound has a gap of 0\.1"):
        Clip.read(path)


def test_no_word_of_a_file_leads_elsewhere(tmp_path, monkeypatch):
    """A name that looks like a protocol is a file's name."""
    monkeypatch.chdir(tmp_path)
    for name in ("12:30:00.mp4", "http:a b.mp4", 'it\'s "über" 100%d.mp4', "-i.mp4"):
        write_media(tmp_path / name, regular(10, 1), 1.0, STEREO[:, :48000])
        assert len(Clip.read(name)) == 10


# ------------------------------------------------------------------ real clips


def real_clips():
    folder = os.environ.get("RFLAV_ASSETS")
    return sorted(path for path in Path(folder, "clips").iterdir() if path.is_file()) if folder else []


@pytest.mark.skipif(
    not real_clips(), reason="set RFLAV_ASSETS to a folder of real media (clips/*) to read them"
)
def test_all_real_clips_are_read_and_shown():
    """Leaves a contact sheet of them in outputs/: look at it."""
    paths = real_clips()
    fig, axes = plt.subplots(len(paths), 7, figsize=(12, 1.4 * len(paths)), width_ratios=[1] * 6 + [2.4])
    try:
        for path, row in zip(paths, axes, strict=True):
            info = probe(path)
            count = info.frames_at(10)
            pictures, sounds = [], []
            for piece in Clip.pieces(path, 50, info=info):
                assert piece.frames.shape[1:] == (info.height, info.width, 3)
                pictures += [frame[::2, ::2] for frame in piece.frames]
                sounds.append(piece.waveform)
            waveform = np.concatenate(sounds)
            assert len(pictures) == count and abs(len(waveform) - 1600 * count) <= 1
            shown = [pictures[k] for k in np.linspace(0, count - 1, 6).astype(int)]
            assert np.std(shown) > 5 and np.abs(waveform).max() > 0.01, "something is to be seen and heard"
            for axis, frame in zip(row, shown, strict=False):
                axis.imshow(frame)
                axis.set_axis_off()
            row[0].set_title(
                f"{path.name}: {info.video_codec} {info.width}x{info.height} {info.frame_rate:.3g} fps, "
                f"{info.audio_codec} {info.sample_rate} Hz",
                fontsize=7,
                loc="left",
            )
            row[-1].plot(np.arange(len(waveform)) / 16000, waveform, linewidth=0.3)
            row[-1].tick_params(labelsize=6)
        (ROOT / "outputs").mkdir(exist_ok=True)
        fig.savefig(ROOT / "outputs" / "real_clips.png", dpi=110, bbox_inches="tight")
    finally:
        plt.close(fig)
