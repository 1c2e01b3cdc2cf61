"""The loop test: exact on made matrices, and its precision and recall on dances whose loop is known."""

import math

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.metrics.loop_controls import beats_shuffled, shuffled, wandering
from rflav_lib.metrics.loops import (
    beside,
    calibrate,
    distance_matrix,
    looping_share,
    mean_by_lag,
    precision,
    read_loops,
    small_pixels,
)

FRAMES = 140
SCORES = ("spectral", "depth")


def reading(frames):
    return read_loops(distance_matrix(small_pixels(frames)))


def readings(seed, count):
    """Looping: dances. Others: the same dances with each kind of repetition taken away, and fireworks."""
    looping, others, facts = [], [], []
    for i in range(count):
        made = make_clip("toy-dance", seed, i, FRAMES)
        frames = made.clip.frames
        beats = np.array([10 * e.time - 0.5 for e in made.events if e.kind == "beat"])
        looping.append(reading(frames))
        facts.append({"loop": 10 * made.facts["loop_seconds"], "beat": 600 / made.facts["bpm"]})
        others += [
            reading(of)
            for of in (shuffled(frames, i), wandering(frames, i), beats_shuffled(frames, beats, i))
        ]
        if i % 2:  # something else that never repeats
            others.append(reading(make_clip("toy-landscape", seed, i, FRAMES, 3).clip.frames))
    return looping, others, facts


@pytest.fixture(scope="module")
def calibrated():
    looping, others, _ = readings(seed=31, count=7)
    return {
        score: calibrate([getattr(r, score) for r in looping], [getattr(r, score) for r in others]).threshold
        for score in SCORES
    }


@pytest.fixture(scope="module")
def unseen():
    return readings(seed=32, count=10)


def test_r_of_a_loop_is_zero_at_its_multiples():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 6))).repeat(10, 1)
    r = mean_by_lag(distance_matrix(rows), 60)
    multiples = np.arange(1, 61) % 12 == 0
    assert r[multiples].max() < 1e-7 < 1 < r[~multiples].min()
    found = read_loops(distance_matrix(rows))
    assert found.lag == pytest.approx(12, abs=1e-3) and found.depth == pytest.approx(1, abs=1e-3)


def test_the_spectrum_finds_the_period_of_a_wave():
    """Frames on a circle: r(k) = mean |2 sin(pi k / 15)|, of period 15."""
    turn = 2 * np.pi * np.arange(150) / 15
    found = read_loops(distance_matrix(torch.from_numpy(np.stack([np.cos(turn), np.sin(turn)], 1))))
    assert np.allclose(found.r, np.abs(2 * np.sin(np.pi * np.arange(1, 76) / 15)), atol=1e-7)
    assert found.period == pytest.approx(15, rel=0.03) and found.lag == pytest.approx(15, abs=0.1)
    # Fourier: |sin| has mean 2/pi and first harmonic 4/(3 pi), so the share is 2/3
    assert found.spectral == pytest.approx(2 / 3, rel=0.05)


def test_neither_a_still_picture_nor_a_fade_loops():
    still = reading(np.full((60, 16, 16, 3), 7, np.uint8))
    assert still.spectral == still.depth == 0 and math.isnan(still.lag)
    fade = np.broadcast_to(np.arange(0, 180, 3)[:, None, None, None], (60, 16, 16, 3)).astype(np.uint8)
    assert reading(fade).spectral < 1e-3 and reading(fade).depth == 0


def test_on_unseen_dances_the_loop_is_found_and_measured(calibrated, unseen):
    looping, others, facts = unseen
    for score, needed in (("depth", 0.9), ("spectral", 0.6)):
        hits = sum(getattr(r, score) > calibrated[score] for r in looping)
        alarms = sum(getattr(r, score) > calibrated[score] for r in others)
        share = hits / (hits + alarms)
        print(
            f"{score}: threshold {calibrated[score]:.3f}, recall {hits / len(looping):.2f}, precision {share:.2f}"
        )
        assert hits >= needed * len(looping)
        assert precision(hits, alarms)["value"] >= needed
    right = [abs(r.lag / fact["loop"] - 1) < 0.03 for r, fact in zip(looping, facts, strict=True)]
    assert np.mean(right) > 0.8, "the shortest deep lag is the choreography's length"


def test_the_more_the_speed_wanders_the_less_it_loops():
    frames = [make_clip("toy-dance", 33, i, FRAMES).clip.frames for i in range(4)]
    depths = [
        np.mean([reading(wandering(each, 1, spread)).depth for each in frames])
        for spread in (0.0, 0.1, 0.2, 0.5)
    ]
    assert depths == sorted(depths, reverse=True) and depths[0] > 2 * depths[-1]


def test_controls_show_the_same_pictures():
    frames = np.arange(60, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    assert (
        sorted(shuffled(frames, 0).ravel()) == sorted(frames.ravel())
        and (shuffled(frames, 0) != frames).any()
    )
    slow = wandering(frames, 0)[:, 0, 0, 0].astype(int)
    assert (np.diff(slow) >= 0).all() and (slow[0], slow[-1]) == (0, 59)
    assert (wandering(frames, 0, spread=0.0) == frames).all()
    cut = beats_shuffled(frames, np.arange(5, 60, 10), 0)[:, 0, 0, 0].astype(int)
    assert (
        sorted(cut) == list(range(60))
        and (np.diff(cut) != 1).sum() <= 6
        and (cut[:10] == np.arange(10)).all()
    )
    with pytest.raises(ValueError, match="3 beats"):
        beats_shuffled(frames, np.array([1, 2, 3]), 0)


def test_calibration_takes_the_middle_of_the_gap():
    found = calibrate([0.8, 0.9, 1.0], [0.1, 0.2, 0.4])
    assert found.threshold == pytest.approx(0.6)
    assert found.recall["value"] == 1 and found.false_alarms["value"] == 0
    overlapping = calibrate([0.5, 0.9, 1.0], [0.1, 0.2, 0.6])
    assert overlapping.recall["value"] - overlapping.false_alarms["value"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="at least two"):
        calibrate([1.0], [0.0, 0.1])


def test_shares_carry_wilson_intervals():
    share = looping_share([0.9] * 692 + [0.1] * 288, 0.5)  # the paper's real clips: 692 of 980
    assert share["value"] == pytest.approx(0.706, abs=1e-3) and (
        share["low"],
        share["high"],
    ) == pytest.approx((0.677, 0.734), abs=1e-3)
    with pytest.raises(ValueError, match="no precision"):
        precision(0, 0)


def test_a_period_is_set_beside_beat_and_window():
    loop = beside(22, beat=5.5, window=10)
    assert loop.beats == 4 and loop.on_beat and not loop.on_window and not loop.confounded
    assert beside(10, beat=5, window=10).confounded, "the paper's own case: 117 BPM at 10 fps, window 10"
    assert not beside(7.6, beat=5, window=10).on_beat and beside(7.6, 5, 10, tolerance=2.5).on_beat
    with pytest.raises(ValueError, match="positive"):
        beside(10, 0, 10)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="shape"):
        read_loops(np.zeros((40, 41)))
    with pytest.raises(ValueError, match="at least 16 lags"):
        read_loops(np.zeros((20, 20)))
    with pytest.raises(ValueError, match="finite"):
        distance_matrix(torch.full((40, 3), math.nan))
