"""The toy worlds: deterministic, stationary, and true to their events."""

from itertools import pairwise

import numpy as np
import pytest

from rflav_lib.data.toy import CLASSES, Event, ToyClip, make_clip
from rflav_lib.data.toy_scenes import synth
from rflav_lib.data.toy_scenes.canvas import PALETTE, SIZE, Canvas, flash, frame_times
from rflav_lib.data.toy_scenes.landscape import PITCHES, SIREN_CENTRE, SIREN_SWING
from rflav_lib.data.toy_tracking import seeing

LANDSCAPE, DANCE, PILLAR = "toy-landscape", "toy-dance", "toy-pillar"
SCENES = [(LANDSCAPE, label) for label in range(len(CLASSES[LANDSCAPE]))] + [(DANCE, None)]
NAMES = [*CLASSES[LANDSCAPE], "dance"]
every_scene = pytest.mark.parametrize(("world", "label"), SCENES, ids=NAMES)
# the pillar has tests of its own beside these: test_toy_pillar.py
with_pillar = pytest.mark.parametrize(
    ("world", "label"), [*SCENES, (PILLAR, 0), (PILLAR, 3)], ids=[*NAMES, "hidden-5", "hidden-40"]
)
BOUNCE, PENDULUM, RAIN, FIREWORKS, SIREN = range(5)


def clips(world: str, label: int | None, count: int, num_frames: int = 40, seed: int = 1) -> list[ToyClip]:
    return [make_clip(world, seed, index, num_frames, label) for index in range(count)]


@with_pillar
def test_same_seed_same_bytes_and_other_seeds_differ(world: str, label: int | None) -> None:
    first, again = (make_clip(world, 3, 5, 20, label) for _ in range(2))
    assert first.clip.frames.tobytes() == again.clip.frames.tobytes()
    assert first.clip.waveform.tobytes() == again.clip.waveform.tobytes()
    assert (first.events, first.facts) == (again.events, again.facts)
    for other in (make_clip(world, 4, 5, 20, label), make_clip(world, 3, 6, 20, label)):
        assert not np.array_equal(first.clip.frames, other.clip.frames)
        assert not np.array_equal(first.clip.waveform, other.clip.waveform)


@with_pillar
def test_shapes_levels_and_events(world: str, label: int | None) -> None:
    for made in clips(world, label, 12, num_frames=25):
        assert made.clip.frames.shape == (25, SIZE, SIZE, 3)
        assert made.clip.waveform.shape == (40_000,)
        assert (made.clip.frame_rate, made.clip.sample_rate) == (10, 16_000)
        assert 0.4 < np.abs(made.clip.waveform).max() < 0.98
        times = [e.time for e in made.events]
        assert times == sorted(times) and times and times[0] >= 0 and times[-1] < 2.5
        assert made.label == label and made.world == world
        assert all(isinstance(e, Event) and isinstance(e.time, float) for e in made.events)


@with_pillar
def test_a_short_clip_is_the_beginning_of_a_long_one(world: str, label: int | None) -> None:
    short, long = (make_clip(world, 2, 7, frames, label) for frames in (13, 40))
    assert np.array_equal(short.clip.frames, long.clip.frames[:13])
    np.testing.assert_allclose(short.clip.waveform, long.clip.waveform[: 13 * 1_600], atol=1e-6)
    assert short.events == tuple(e for e in long.events if e.time < 1.3)


@every_scene
def test_clips_are_stationary(world: str, label: int | None) -> None:
    """The first second is like the last: as loud, as bright, as eventful, over many clips."""
    made = clips(world, label, 40)
    loud = np.array([(m.clip.waveform.reshape(4, -1) ** 2).mean(axis=1) for m in made]).mean(axis=0)
    bright = np.array([m.clip.frames.reshape(4, -1).mean(axis=1) for m in made]).mean(axis=0)
    busy = np.array([[sum(int(e.time) == s for e in m.events) for s in range(4)] for m in made]).mean(axis=0)
    np.testing.assert_allclose(loud, loud.mean(), rtol=0.12)
    np.testing.assert_allclose(bright, bright.mean(), rtol=0.02)
    np.testing.assert_allclose(busy, busy.mean(), rtol=0.2)


def test_no_label_draws_every_class_and_a_forced_label_agrees() -> None:
    drawn = [make_clip(LANDSCAPE, 0, index, 2) for index in range(100)]
    counts = np.bincount([made.label for made in drawn], minlength=5)
    assert counts.sum() == 100 and counts.min() >= 8
    forced = make_clip(LANDSCAPE, 0, 0, 2, label=drawn[0].label)
    assert np.array_equal(forced.clip.frames, drawn[0].clip.frames)


def test_the_background_says_nothing_about_the_class() -> None:
    """Every class is shown before every background of the shared palette, read from its upper corner."""
    tops = np.array([Canvas(1, index, 55.0).frames()[0, 1, 0] for index in range(len(PALETTE))], dtype=int)
    for world, label in [*SCENES, (PILLAR, 1)]:
        corners = np.array([m.clip.frames[0, 1, 0] for m in clips(world, label, 60, num_frames=1)], dtype=int)
        distance = np.abs(corners[:, None] - tops).sum(axis=-1)
        assert set(distance.argmin(axis=1)) == set(range(len(PALETTE)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mars", 0, 0), "unknown world 'mars': choose one of toy-landscape, toy-dance, toy-pillar"),
        ((LANDSCAPE, 0, 0, 40, 5), "unknown label 5 for toy-landscape; labels are 0 = bounce"),
        ((DANCE, 0, 0, 40, 0), "unknown label 0 for toy-dance; labels are none"),
        ((LANDSCAPE, -1, 0), "seed=-1"),
        ((LANDSCAPE, 0, 0, 0), "num_frames must be at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_clip(*arguments)


@pytest.mark.parametrize(
    ("world", "label"), [s for s in SCENES if s[1] != SIREN], ids=[n for n in NAMES if n != "siren"]
)
def test_every_event_is_audible_within_a_millisecond(
    world: str, label: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sound that goes into the waveform is recorded; each event has one that begins with it."""
    sounds: list[tuple[float, float, object]] = []
    add = synth.Track.add

    def record(self: synth.Track, start: float, duration: float, sound) -> None:
        sounds.append((start, duration, sound))
        add(self, start, duration, sound)

    monkeypatch.setattr(synth.Track, "add", record)
    for index in range(8):
        sounds.clear()
        made = make_clip(world, 1, index, 30, label)
        together, recorded = synth.Track(30), list(sounds)
        for start, duration, sound in recorded:
            add(together, start, duration, sound)
        assert np.array_equal(together.waveform, made.clip.waveform)  # so what follows is what one hears
        for event in made.events:
            alone = synth.Track(30)
            for start, duration, sound in recorded:
                if abs(start - event.time) < 1e-9:
                    add(alone, start, duration, sound)
            onset = int(np.ceil(event.time * synth.SAMPLE_RATE))
            assert not alone.waveform[:onset].any()
            assert (
                np.abs(alone.waveform[onset : onset + 16]).max(initial=1.0 if onset > 47_984 else 0.0) > 0.04
            )


def test_the_siren_follows_its_beam() -> None:
    """Pitch is the stated function of the beam's angle, the beam is seen there, and peaks are its maxima."""
    for made in clips(LANDSCAPE, SIREN, 6):
        turn, sense = made.facts["turn_seconds"], made.facts["sense"]
        peak = made.events[0].time
        n = np.arange(len(made.clip.waveform)) / 16_000
        cycles = SIREN_CENTRE * n + SIREN_SWING * turn / (2 * np.pi) * np.sin(2 * np.pi * (n - peak) / turn)
        wanted = np.exp(-2j * np.pi * cycles)
        # constant if the pitch is as stated
        beat = (made.clip.waveform * wanted).reshape(-1, 800).mean(axis=1)
        assert np.abs(beat).min() > 0.19
        assert np.abs(np.angle(beat[1:] / beat[:-1])).max() < 0.05
        angles = seeing.beam_angles(made.clip.frames)
        up = 2 * np.pi * (sense * (frame_times(40) - peak) / turn) + np.pi / 2
        assert np.abs(np.angle(np.exp(1j * (angles - up)))).max() < np.deg2rad(4)


def light_of(made: ToyClip, event: Event) -> np.ndarray:
    """A curve (k,) of what an event of this kind changes in the picture."""
    frames = made.clip.frames.astype(np.float32)
    bright = frames.mean(axis=-1)
    if event.kind == "hit":
        return bright[:, 55:62, max(0, int(event.value) - 2) : int(event.value) + 3].mean(axis=(1, 2))
    if event.kind == "impact":
        return bright[:, 54:62].max(axis=(1, 2))
    if event.kind == "launch":
        return bright[:, 52:59].max(axis=2).mean(axis=1)
    if event.kind == "burst":
        return seeing.sky_light(made.clip.frames)
    if event.kind == "turn":
        return bright.mean(axis=(1, 2))
    if event.kind == "hat":
        return bright[:, :8, 28:36].mean(axis=(1, 2))
    moved = np.sqrt((np.diff(frames[:, 14:], axis=0) ** 2).mean(axis=(1, 2, 3)))
    return np.maximum(np.append(moved, 0), np.append(0, moved))  # beat: motion to or from this frame


@pytest.mark.parametrize(
    ("world", "label", "kind"),
    [
        (LANDSCAPE, BOUNCE, "impact"), (LANDSCAPE, PENDULUM, "turn"), (LANDSCAPE, RAIN, "hit"),
        (LANDSCAPE, FIREWORKS, "launch"), (LANDSCAPE, FIREWORKS, "burst"),
        (DANCE, None, "beat"), (DANCE, None, "hat"),
    ],
)  # fmt: skip
def test_every_event_is_visible_in_its_frame(world: str, label: int | None, kind: str) -> None:
    """The frame whose 0.1 s holds the event stands out from the frames that no event of its kind touches."""
    for made in clips(world, label, 12):
        events = [e for e in made.events if e.kind == kind]
        assert events
        moments = np.array([e.time for e in events])
        before, after = {"burst": (0.12, 0.6), "beat": (0.21, 0.21)}.get(kind, (0.12, 0.12))
        since = frame_times(40)[:, None] - moments
        for event in events:
            curve = light_of(made, event)
            if kind == "hit":  # only its own place counts
                near = [e.time for e in events if abs(e.value - event.value) < 9]
                since = frame_times(40)[:, None] - np.array(near)
            quiet = ~((since > -before) & (since < after)).any(axis=1)
            if quiet.any():
                assert curve[int(event.time * 10)] > np.quantile(curve[quiet], 0.9) + 1.0, (kind, event)


def test_a_flash_is_exact_between_frames() -> None:
    times = frame_times(40)
    for event in np.random.default_rng(0).uniform(0.1, 3.9, 200):
        light = flash(times, event)
        assert light.sum() == pytest.approx(1.0)
        assert light @ times == pytest.approx(event)
        assert light[int(event * 10)] >= 0.5 - 1e-9


def test_facts_are_true() -> None:
    assert all(np.diff(np.log(PITCHES)) > np.log(1.28))
    for made in clips(LANDSCAPE, BOUNCE, 10):
        assert made.facts["pitch"] == PITCHES[round(made.facts["hue"] * 8)]
        np.testing.assert_allclose(np.diff([e.time for e in made.events]), made.facts["period"], atol=1e-9)
        spectrum = np.abs(np.fft.rfft(made.clip.waveform))
        assert np.fft.rfftfreq(len(made.clip.waveform), 1 / 16_000)[spectrum.argmax()] == pytest.approx(
            made.facts["pitch"], rel=0.02
        )
    for made in clips(LANDSCAPE, PENDULUM, 10):
        turns = [e for e in made.events if e.kind == "turn"]
        np.testing.assert_allclose(np.diff([e.time for e in turns]), made.facts["period"] / 2, atol=1e-9)
        assert all(a.value == -b.value for a, b in pairwise(turns))
    for made in clips(DANCE, None, 10):
        beats = [e.time for e in made.events if e.kind == "beat"]
        np.testing.assert_allclose(np.diff(beats), 60 / made.facts["bpm"], atol=1e-9)
        assert 90 <= made.facts["bpm"] <= 130
        assert made.facts["loop_seconds"] == pytest.approx(
            made.facts["beats_in_loop"] * 60 / made.facts["bpm"]
        )


def test_a_dance_loops_after_loop_seconds() -> None:
    """The picture is most like itself one loop later: of all shifts from half a loop to one and a half."""
    for made in clips(DANCE, None, 12, num_frames=120):
        frames, loop = made.clip.frames[:, 14:].astype(np.float32), made.facts["loop_seconds"] * 10
        shifts = np.arange(int(0.5 * loop) + 1, int(1.4 * loop))
        unlike = [np.abs(frames[s:] - frames[:-s]).mean() for s in shifts]
        assert abs(shifts[np.argmin(unlike)] - loop) <= 1.0
