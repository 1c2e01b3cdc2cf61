"""Reports on long clips: each measure answers right where the answer is known."""

import json
import math

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.metrics.features import FeatureNetwork
from rflav_lib.metrics.long_measures import drift_report, loop_report, offsets, periods, plain, sync_report
from rflav_lib.metrics.sync_classifier import SyncClassifier, SyncNetwork

FRAMES = 160


class Level(FeatureNetwork):
    """Two features: how bright the first and the last row are."""

    name, layer, width, weights = "level", "rows", 2, "none"

    def features(self, batch):
        return torch.stack([batch[:, :, row].double().mean(dim=(1, 2, 3)) for row in (0, -1)], dim=1)


def grey(levels, count, seed):
    """Clips that follow `levels` (k,), each with a level and grain of its own, and the sound of silence."""
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        grain = rng.normal(rng.normal(0, 0.5), 2, (len(levels), 8, 8, 3))
        frames = np.clip(np.asarray(levels)[:, None, None, None] + grain, 0, 255).astype(np.uint8)
        clips.append(Clip(frames, np.zeros(1600 * len(levels), np.float32)))
    return clips


def test_what_climbs_is_found_and_what_does_not_is_not():
    still, fades = np.full(FRAMES, 90), np.linspace(90, 122, FRAMES)
    control, reference = grey(still, 12, 1), grey(still, 6, 2)
    faded = drift_report(grey(fades, 12, 3), control, reference, [Level()], 16, 100)
    steady = drift_report(grey(still, 12, 4), control, reference, [Level()], 16, 100)
    titles = ["Fréchet distance, level", "kernel distance, level", "drift, level"]
    assert list(faded)[:3] == titles
    moved = 32 * 144 / 159  # grey levels from the first window to the tenth
    drift = faded["drift, level"]
    assert drift["starts"] == list(range(0, 145, 16))
    assert drift["rise"]["generated"]["value"] == pytest.approx(moved * math.sqrt(2), rel=0.1)
    assert faded[titles[0]]["rise"]["beyond"]["value"] == pytest.approx(2 * moved**2, rel=0.15)
    for title in titles:
        assert faded[title]["rise"]["beyond"]["low"] > 0
        assert steady[title]["rise"]["beyond"]["high"] < faded[title]["rise"]["beyond"]["low"] / 4
        generated, real, both = (
            np.array(faded[title][kind]["value"]) for kind in ("generated", "real", "beyond")
        )
        assert np.allclose(generated - real, both)
    assert faded[titles[0]]["last"] == faded[titles[0]]["rise"], "160 frames end with the tenth window"
    jump = drift["jump"]["generated"]["value"]
    assert jump == pytest.approx(drift["generated"]["value"][1], abs=1e-9)


def test_the_climb_goes_on_to_the_very_last_window_within_classes():
    """What the clips of a class differ from those of others by is no chance: intervals are narrower within classes."""
    classes = [number % 2 for number in range(12)]
    sets = [
        [grey(np.linspace(90, 90 + (10 + 40 * label) * end, 208), 1, 7 * number + seed)[0]
         for number, label in enumerate(classes)]
        for seed, end in ((100, 1), (200, 0))
    ]  # fmt: skip
    reference = grey(np.full(208, 90), 6, 2)
    found, without = (
        drift_report(*sets, reference, [Level()], 16, 300, classes=each)["drift, level"]
        for each in (classes, None)
    )
    assert found["starts"][-1] == 192 and set(found["last"]) == {"generated", "real", "beyond"}
    values = found["generated"]["value"]
    assert found["last"]["generated"]["value"] == pytest.approx(values[-1] - values[0])
    assert found["last"]["generated"]["value"] > found["rise"]["generated"]["value"] + 8
    width = {name: each["last"]["beyond"]["high"] - each["last"]["beyond"]["low"]
             for name, each in (("within", found), ("over all", without))}  # fmt: skip
    assert width["within"] < width["over all"] / 5


def test_too_few_clips_for_a_frechet_distance_are_said_so():
    clips = grey(np.full(FRAMES, 90), 2, 0)
    found = drift_report(clips, clips, clips, [Level()], 16, 5)
    assert "2 clips for 2 features" in found["Fréchet distance, level"]["left out"]
    assert "value" in found["kernel distance, level"]["real"]


def test_loops_from_beat_and_window_are_told_apart():
    rng = np.random.default_rng(0)
    beats = 600 / rng.uniform(90, 130, 150)
    on_beat = periods([(rng.choice((4, 8)) * beat, beat) for beat in beats], 10)
    on_window = periods([(rng.choice((2, 3, 4)) * 10, beat) for beat in beats], 10)
    assert on_beat["on the beat"]["value"] == 1 > on_beat["on the beat, by chance"]
    assert on_window["on the window"]["value"] == 1
    for found, unit in ((on_beat, "window"), (on_window, "beat")):
        assert found[f"on the {unit}"]["low"] < found[f"on the {unit}, by chance"] + 0.05
    assert periods([], 10) == {"loops": 0, "window": 10}
    alone = periods([(20.0, math.nan)], 10)
    assert alone["on the window"]["value"] == 1 and "on the beat" not in alone


def test_the_dance_alone_is_not_taken_for_the_window():
    """Loops of whole beats fall on a window of 10 more often than other windows let one expect."""
    by_dance, wrong, right = [], 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        beats = 600 / rng.uniform(90, 130, 200)
        found = periods([(rng.choice((4, 8)) * beat, beat) for beat in beats], 10)
        by_dance.append(found["on the window, by the dance"])
        wrong += found["on the window"]["low"] > by_dance[-1]
        window = periods([(rng.choice((2, 3, 4)) * 10 + rng.normal(0, 0.2), beat) for beat in beats], 10)
        right += window["on the window"]["low"] > window["on the window, by the dance"]
    assert 0.13 < np.mean(by_dance) < 0.145, "not the 10 % of chance"
    assert wrong <= 4 and right == 40


def test_dances_loop_on_their_beat_and_noise_does_not():
    dances = [make_clip("toy-dance", 61, number, FRAMES).clip for number in range(3)]
    found = loop_report(dances, {"depth": 0.5, "spectral": 0.1}, 10, has_beat=True)
    assert found["share"]["depth"]["value"] == 1 and found["periods"]["loops"] == 3
    assert found["periods"]["on the beat"]["value"] == 1
    facts = [make_clip("toy-dance", 61, number, FRAMES).facts for number in range(3)]
    for reading, fact in zip(found["readings"], facts, strict=True):
        assert reading["lag"] == pytest.approx(10 * fact["loop_seconds"], rel=0.03)
        assert reading["beat"] == pytest.approx(600 / fact["bpm"], rel=0.03)
    rng = np.random.default_rng(0)
    noise = [Clip(rng.integers(0, 255, (FRAMES, 16, 16, 3), np.uint8), dances[0].waveform)]
    assert loop_report(noise, {"depth": 0.5}, 10, has_beat=False)["share"]["depth"]["value"] == 0


def late(clip, seconds):
    """The clip with its sound `seconds` later, from half of it on."""
    half, shift = len(clip.waveform) // 2, round(seconds * clip.sample_rate)
    sound = clip.waveform.copy()
    sound[half:] = clip.waveform[half - shift : len(clip.waveform) - shift]
    return Clip(clip.frames, sound, clip.frame_rate, clip.sample_rate)


def test_sound_that_comes_late_in_the_second_half_is_late_there_alone():
    real = [make_clip("toy-landscape", 62, number, FRAMES, 1).clip for number in range(4)]
    mel = MelCodec(n_mels=64)
    judge = SyncClassifier(SyncNetwork().eval(), mel, 0.0)  # untrained: what it says is not looked at
    found = sync_report([late(clip, 0.12) for clip in real], real, judge, mel, [1] * 4)
    size = {
        (end, kind): found["offset"][end][kind]["median size (ms)"]["value"]
        for end in ("first", "last")
        for kind in ("generated", "real")
    }
    assert size["last", "generated"] == pytest.approx(120, abs=20)
    assert max(size["first", "generated"], size["first", "real"], size["last", "real"]) < 25
    assert set(found["classifier"]["last"]["real"]) == {"aligned", "shifted", "shuffled", "preferred"}
    assert "beats" not in found and set(found["AV-Align"]) == {"generated", "real", "generated, shuffled"}


def test_dances_are_on_the_beat_beyond_chance_and_shuffled_ones_less():
    real = [make_clip("toy-dance", 63, number, FRAMES).clip for number in range(5)]
    mel = MelCodec(n_mels=64)
    found = sync_report(real, real, SyncClassifier(SyncNetwork().eval(), mel, 0.0), mel, [None] * 5)
    assert found["beats"]["real"]["low"] > found["beats"]["generated, shuffled"]["excess"] + 0.1


def test_silence_has_no_offset():
    clip = make_clip("toy-landscape", 64, 0, 40, 1).clip
    silent = Clip(clip.frames, np.zeros_like(clip.waveform), clip.frame_rate, clip.sample_rate)
    found = plain(offsets([silent], MelCodec(n_mels=64), [1]))
    assert found["clips with a measurable offset"]["value"] == 0
    assert found["median size (ms)"]["value"] is None


def test_a_report_is_plain_json():
    held = plain({"a": [math.nan, 1 / 3], "b": {"c": math.inf, "d": True, "e": 12}})
    assert held == {"a": [None, 0.333333], "b": {"c": None, "d": True, "e": 12}}
    json.dumps(held, allow_nan=False)
