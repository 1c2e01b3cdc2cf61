"""toy-pillar: nothing but a memory can bring the colour back, and the tracker reads it from pixels alone."""

import functools

import numpy as np
import pytest
import torch
from scipy import ndimage

from rflav_lib.data.toy import CLASSES, ToyClip, make_clip
from rflav_lib.data.toy_scenes.pillar import HIDDEN_FRAMES
from rflav_lib.data.toy_tracking.classing import soft_noise
from rflav_lib.data.toy_tracking.hiding import CHANCE, absences, ball_colours, tone_hue
from rflav_lib.mel import MelCodec

WORLD = "toy-pillar"
FRAMES = 75  # the longest way: 2.2 s in view, 4 s away, and back
every_class = pytest.mark.parametrize("label", range(4), ids=CLASSES[WORLD])


@functools.cache
def clips(label: int, count: int = 14) -> list[ToyClip]:
    return [make_clip(WORLD, 20_250, index, FRAMES, label) for index in range(count)]


@functools.cache
def mel() -> MelCodec:
    return MelCodec(n_mels=64, peak=None)


def log_mel(waveform: np.ndarray) -> np.ndarray:
    return mel().log_mel(torch.from_numpy(waveform))[0].numpy()


def hue_of(made: ToyClip) -> int:
    return round(made.facts["hue"] * 8)


def hidden(made: ToyClip) -> np.ndarray:
    """Which frames (k,) show an instant between a `hidden` and its `shown`."""
    times = (np.arange(len(made.clip)) + 0.5) / 10
    changes = [event.time for event in made.events]
    assert [event.kind for event in made.events] == (["hidden", "shown"] * len(changes))[: len(changes)]
    return np.searchsorted(changes, times, side="right") % 2 == 1


@every_class
def test_the_ball_is_seen_in_every_frame_but_for_the_frames_of_its_class(label: int) -> None:
    for made in clips(label):
        unseen = np.isnan(ball_colours(made.clip.frames)[:, 0])
        assert np.array_equal(unseen, hidden(made))
        assert not unseen[:3].any()  # a clip begins with the ball in view
        assert (
            made.facts["hidden_frames"]
            == HIDDEN_FRAMES[label]
            == unseen[: int(made.events[1].time * 10) + 1].sum()
        )


@every_class
def test_on_real_clips_the_tracker_reads_every_absence_and_every_colour(label: int) -> None:
    for made in clips(label):
        found = absences(made.clip.frames)
        assert found
        for absence in found:
            assert absence.frames == HIDDEN_FRAMES[label]
            assert absence.before == absence.after == hue_of(made) and absence.remembered
    assert len({hue_of(made) for made in clips(label)}) >= 5  # else the line above says little
    assert CHANCE == 1 / 8


@pytest.mark.parametrize("label", [0, 3])
def test_a_ball_that_comes_back_in_another_colour_reads_as_forgotten(label: int) -> None:
    """Its pixels are painted over with those of a clip of another hue, from `shown` on."""
    for made in clips(label):
        (first, *_), frames = absences(made.clip.frames), made.clip.frames.copy()
        after = frames[first.back :]
        ball = np.ptp(after, axis=-1) > 60
        painted = after[..., [1, 2, 0]]  # every hue becomes one that is a third of the circle away
        after[ball] = painted[ball]
        (again, *_) = absences(frames)
        assert (again.gone, again.back, again.before) == (first.gone, first.back, first.before)
        assert not again.remembered


def test_blur_and_noise_like_a_generator_s_do_not_upset_the_tracker() -> None:
    rng = np.random.default_rng(1)
    for made in clips(1)[:8]:
        blurred = ndimage.gaussian_filter(made.clip.frames.astype(np.float32), (0, 0.8, 0.8, 0))
        coarse = soft_noise(FRAMES, 8, 6, rng)
        found = absences(np.clip(blurred + coarse, 0, 255).astype(np.uint8))
        assert len(found) == len(absences(made.clip.frames))
        for absence in found:
            assert absence.before == absence.after == hue_of(made)
            assert abs(absence.frames - 10) <= 2


@every_class
def test_nothing_tells_the_colour_while_the_ball_is_hidden(label: int) -> None:
    """Hidden frames of two clips that differ in their hue alone are the same, and their mel segments silent."""
    silence = log_mel(np.zeros(16_000, np.float32))[:, 50]
    for made in clips(label)[:8]:
        away = np.repeat(hidden(made), 10)
        np.testing.assert_allclose(
            log_mel(made.clip.waveform)[:, away], silence[:, None] * np.ones(away.sum()), atol=1e-4
        )


def test_hidden_frames_are_the_same_whatever_the_hue(monkeypatch: pytest.MonkeyPatch) -> None:
    made = clips(1)[0]
    monkeypatch.setattr("rflav_lib.data.toy_scenes.pillar.hsv", lambda *_: np.array((255.0, 0.0, 90.0)))
    other = make_clip(WORLD, 20_250, 0, FRAMES, 1)
    away = hidden(made)
    assert away.any() and np.array_equal(made.clip.frames[away], other.clip.frames[away])
    differs = (made.clip.frames[~away] != other.clip.frames[~away]).any(axis=(1, 2, 3))
    assert differs.all()


@every_class
def test_the_tone_tells_the_hue_when_the_ball_is_in_view(label: int) -> None:
    for made in clips(label):
        sound, first = log_mel(made.clip.waveform), absences(made.clip.frames)[0]
        assert tone_hue(sound, max(0, first.gone - 12), first.gone) == hue_of(made)
        assert tone_hue(sound, first.gone, first.back) is None


def test_the_lamp_tells_how_long_it_will_take_and_the_side() -> None:
    """Its height is linear in the share of the time that is over: up on the way to the right, else down."""
    for made in clips(2)[:8]:
        first, frames = absences(made.clip.frames)[0], made.clip.frames.astype(np.float32)
        bright = frames[first.gone : first.back].min(axis=-1)[:, :, 26:38].mean(axis=2)
        height = (np.maximum(0, bright - bright.min(axis=0) - 20) ** 2 @ np.arange(64)) / (
            np.maximum(0, bright - bright.min(axis=0) - 20) ** 2
        ).sum(axis=1)
        steps = np.diff(height)
        before, after = (
            np.nonzero(np.ptp(made.clip.frames[place], axis=-1) > 90)[1].mean()
            for place in (first.gone - 1, first.back)
        )
        assert (before < 32) != (after < 32)
        assert np.sign(steps).mean() == (-1 if before < 32 else 1)
        assert np.abs(steps).std() < 0.35


def test_a_clip_without_a_ball_has_no_absences() -> None:
    assert absences(np.zeros((20, 64, 64, 3), np.uint8)) == []
    still = np.repeat(clips(0)[0].clip.frames[:1], 20, axis=0)
    assert absences(still) == []
    assert tone_hue(log_mel(np.zeros(16_000, np.float32)), 0, 10) is None
