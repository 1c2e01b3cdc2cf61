"""Files of others, read: which picture, which sample, whatever their rates, shapes and beginnings."""

import numpy as np
import pytest

from rflav_lib.media import Clip, probe
from tests.media_files import click_times, clicks, number_of, regular, write_media

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
