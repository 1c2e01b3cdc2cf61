"""Synchrony: right on clicks and flashes whose times are known, falling as the sound is shifted."""

import dataclasses
import math

import numpy as np
import pytest

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.metrics.sync import (
    AgainstChance,
    against_chance,
    av_align,
    beat_alignment,
    beat_times,
    intersection_over_union,
    motion_curve,
    motion_times,
    one_to_one,
    onset_times,
    over_clips,
    tempo,
)


def clicks_and_flashes(seconds, length=8.0, late=0.0):
    """A black clip with white frames and noise bursts at irregular times."""
    frames, sound = (
        np.zeros((int(10 * length), 16, 16, 3), np.uint8),
        np.zeros(int(16000 * length), np.float32),
    )
    rng = np.random.default_rng(0)
    for second in seconds:
        frames[round(10 * second)] = 255
        first = int(16000 * (second + late))
        sound[first : first + 800] = rng.normal(0, 0.2, 800)[: len(sound) - first]
    return Clip(frames, sound)


IRREGULAR = (0.7, 1.5, 2.9, 3.6, 5.2, 6.1, 7.0)


def shifted(clip, frames):
    return dataclasses.replace(clip, waveform=np.roll(clip.waveform, round(1600 * frames)))


@pytest.fixture(scope="module")
def dances():
    return [make_clip("toy-dance", 41, i, 100) for i in range(8)]


def test_one_sound_takes_one_sight():
    """The rule whose absence made scores above 1."""
    assert one_to_one(np.array([1.0, 1.02, 1.04]), np.array([1.0]), 0.1) == 1
    assert intersection_over_union(np.array([1.0, 1.02]), np.array([1.0]), 0.1) == pytest.approx(1 / 2)
    assert one_to_one(np.array([1.0]), np.array([1.25]), 0.25) == 0, "strictly within"
    assert one_to_one(np.array([1.0, 1.1]), np.array([1.05, 1.15]), 0.1) == 2
    assert one_to_one(np.array([1.0]), np.array([0.95, 1.05]), 0.1) == 1, "and one sight takes one sound"
    assert intersection_over_union(np.arange(5.0), np.arange(5.0), 0.1) == 1
    assert math.isnan(intersection_over_union(np.zeros(0), np.zeros(0), 0.1))


def test_onsets_are_found_where_they_are():
    heard = onset_times(clicks_and_flashes(IRREGULAR).waveform, 16000)
    assert np.allclose(heard, IRREGULAR, atol=0.01)


def test_motion_is_where_something_changes():
    frames = np.zeros((30, 8, 8, 3), np.uint8)
    frames[12:] = 255
    curve = motion_curve(frames)
    assert curve[12] == 1 and curve.sum() == 1
    assert motion_times(frames, 10) == pytest.approx([1.2])


def test_irregular_events_in_time_beat_chance_and_out_of_time_do_not():
    excess = [av_align(clicks_and_flashes(IRREGULAR, late=late)) for late in (0.0, 0.3)]
    assert excess[0].score > 0.8 and excess[0].excess > 0.5 and excess[0].z > 3
    assert excess[1].excess < 0


def test_chance_is_the_mean_over_circular_shifts():
    """By hand: one sight at 1 s of 4, one sound; a shift by s hits when |s| < 0.5."""
    one = np.array([1.0])
    found = against_chance(lambda a, b: intersection_over_union(a, b, 0.5), one, one, 4.0, shifts=39)
    by = 4.0 * np.arange(1, 40) / 40
    expected = np.mean(np.minimum(by, 4 - by) < 0.5)
    assert found.score == 1 and found.chance == pytest.approx(expected)
    assert found.excess == pytest.approx(1 - expected)


def test_regular_events_score_high_by_chance():
    """A metronome is in time with every shift by a beat: a bare score would praise it."""
    beats = np.arange(0.25, 8, 0.25)
    clip = av_align(clicks_and_flashes(beats[beats % 0.5 == 0]))
    assert clip.chance > 0.3 and clip.excess < clip.score - 0.3


def test_rain_in_time_is_told_from_rain_out_of_time():
    clips = [make_clip("toy-landscape", 41, i, 80, 2).clip for i in range(6)]
    means = [over_clips([av_align(shifted(clip, by)) for clip in clips]).excess for by in (0, 0.5, 1)]
    assert means == sorted(means, reverse=True) and means[0] > 0.1 > means[2]
    assert over_clips([av_align(clip) for clip in clips]).low > 0


def test_tempo_and_beats_of_dances(dances):
    """The truth is known: every tempo within 1 %, nine beats in ten within 20 ms."""
    late = []
    for made in dances:
        assert tempo(made.clip.waveform, 16000) == pytest.approx(made.facts["bpm"], rel=0.01)
        beats = np.array([event.time for event in made.events if event.kind == "beat"])
        found = beat_times(made.clip.waveform, 16000)
        late += list(np.abs(found[:, None] - beats).min(axis=1))
        assert len(found) >= len(beats) - 2
    assert np.quantile(late, 0.9) < 0.02


@pytest.mark.parametrize("over", ["motion", "music"])
def test_the_figure_is_fastest_on_the_beat_and_rests_between(dances, over):
    fastest, rests = (
        over_clips([beat_alignment(made.clip, over, kind) for made in dances]) for kind in ("peaks", "rests")
    )
    assert fastest.low > 0.3 and rests.high < 0


def test_beat_alignment_falls_as_the_sound_is_shifted(dances):
    scores = []
    for by in (0, 0.5, 1, 1.5):
        clips = [
            beat_alignment(shifted(made.clip, by), "music", "peaks", bpm=made.facts["bpm"])
            for made in dances[:4]
        ]
        scores.append(over_clips(clips).excess)
    assert scores == sorted(scores, reverse=True)


def test_silence_and_stillness_are_nothing_to_compare():
    silent = Clip(
        np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), np.uint8), np.zeros(64000, np.float32)
    )
    still = Clip(np.zeros((40, 8, 8, 3), np.uint8), clicks_and_flashes((1.0, 2.2), 4.0).waveform)
    for clip in (silent, still):
        assert math.isnan(av_align(clip).excess) and math.isnan(beat_alignment(clip).z)
    good = av_align(clicks_and_flashes(IRREGULAR))
    together = over_clips([good, av_align(silent)])
    assert (together.clips, together.skipped) == (1, 1) and together.excess == pytest.approx(good.excess)
    with pytest.raises(ValueError, match="none of 1 clips"):
        over_clips([av_align(silent)])


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="multiple of 100"):
        onset_times(np.zeros(22050, np.float32), 22050 + 1)
    with pytest.raises(ValueError, match="at least 2 s"):
        tempo(np.zeros(16000, np.float32), 16000)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"over": "sound"}, "over must be one of motion, music, not 'sound'"),
        ({"kind": "rest"}, "kind must be one of peaks, rests, not 'rest'"),
        ({"bpm": 0}, "bpm must lie between 20 and 1000, not 0"),
        ({"bpm": -3}, "bpm must lie between"),
        ({"bpm": 1e5}, "bpm must lie between"),
        ({"bpm": math.nan}, "bpm must be a finite number"),
        ({"bpm": "90"}, "bpm must be a finite number"),
    ],
)
def test_settings_of_beats_that_are_none_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        beat_alignment(clicks_and_flashes(IRREGULAR), **wrong)


@pytest.mark.parametrize("bpm", [20, 1000])
def test_the_slowest_and_the_fastest_tempo_have_beats(bpm):
    clip = clicks_and_flashes((0.3, 0.9), length=1.5)
    beats = beat_times(clip.waveform, 16000, bpm)
    assert len(beats) and beats.min() >= 0 and beats.max() <= 1.52


def test_a_clip_that_is_exactly_at_chance_has_its_spread_too():
    """Two clips with spreads of 0.1 and excesses of 0 and 0.2: the mean's error by chance is 0.1 / sqrt(2)."""
    scores = [AgainstChance(0.5 + e, 0.5, e, e / 0.1, 0.1) for e in (0.0, 0.2)]
    assert over_clips(scores).z == pytest.approx(2**0.5)
