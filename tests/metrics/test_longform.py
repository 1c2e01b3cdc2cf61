"""Drift and distances over windows: right on videos whose course is known."""

import math

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.metrics.curves import beyond, rise
from rflav_lib.metrics.distances import frechet
from rflav_lib.metrics.features import FeatureNetwork
from rflav_lib.metrics.longform import (
    PixelStatistics,
    clip_windows,
    distance_curve,
    drift_curve,
    window_features,
    window_starts,
)


def videos(levels, count=4, seed=0):
    """`count` grey videos that follow `levels` (k,) in 0..255, each with grain of its own."""
    grain = np.random.default_rng(seed).integers(-5, 6, (count, len(levels), 8, 8, 3))
    return list(
        np.clip(np.asarray(levels)[None, :, None, None, None] + grain, 0, 255).round().astype(np.uint8)
    )


def mean_colour(clips):
    """(b k h w 3) -> (b 1), mean level."""
    return clips.double().mean(dim=(1, 2, 3, 4))[:, None]


def test_windows_of_240_frames():
    assert len(window_starts(240)) == 225 and list(window_starts(240, stride=16)) == list(range(0, 240, 16))
    for bad, says in (({"length": 15}, "15 frames"), ({"length": 20, "stride": 0}, "at least 1")):
        with pytest.raises(ValueError, match=says):
            window_starts(**bad)


def test_each_window_sees_its_own_frames_in_its_own_video():
    ramp = np.arange(40)
    pair = [
        np.broadcast_to(level[:, None, None, None], (40, 8, 8, 3)).astype(np.uint8)
        for level in (ramp, 100 + ramp)
    ]
    # batches that end within a window's videos
    windows = window_features(pair, mean_colour, stride=3, batch=5)
    assert windows.values.shape == (9, 2, 1)
    expected = np.array(windows.starts) + 7.5
    assert np.allclose(windows.values[:, 0, 0], expected) and np.allclose(
        windows.values[:, 1, 0], 100 + expected
    )


def test_a_fade_drifts_by_what_it_fades_and_a_still_video_not_at_all():
    for stride in (1, 16):
        fading = window_features(videos(np.linspace(20, 220, 96)), mean_colour, stride=stride)
        curve = drift_curve(fading)
        expected = np.array(fading.starts) * 200 / 95
        assert np.allclose(curve.value, expected, atol=1) and (np.diff(curve.value) > 0).all()
        assert (curve.low <= curve.value + 1e-9).all() and (curve.high >= curve.value - 1e-9).all()
    still = [np.full((96, 8, 8, 3), 90, np.uint8)] * 3
    assert (drift_curve(window_features(still, PixelStatistics())).value == 0).all()


def test_a_jump_after_the_first_window_is_seen_where_it_is():
    """The shape of Fig. 5: a step, and then nothing."""
    curve = drift_curve(window_features(videos([50] * 16 + [120] * 80), mean_colour, stride=16))
    assert np.allclose(curve.value, [0, 70, 70, 70, 70, 70], atol=1)


def test_only_what_goes_beyond_the_control_counts():
    """Drift that real videos have too is none; more than that is."""
    levels = np.linspace(60, 120, 64)
    control, like_it, faster = (
        drift_curve(window_features(videos(to, 12, seed), mean_colour, stride=16))
        for seed, to in ((1, levels), (2, levels), (3, np.linspace(60, 180, 64)))
    )
    same, more = beyond(like_it, control), beyond(faster, control)
    assert ((same.low <= 0.2) & (same.high >= -0.2)).all()
    assert (more.low[1:] > 10).all() and np.allclose(more.value[-1], 60 * 48 / 63, atol=1)
    with pytest.raises(ValueError, match="different windows"):
        beyond(control, drift_curve(window_features(videos(levels), mean_colour)))


def test_any_distance_along_the_video_against_one_reference():
    """The squared difference of means has a known answer in every window."""

    def squared_means(first, second):
        return float((first.mean(0) - second.mean(0)).square().sum())

    windows = window_features(videos(np.linspace(100, 200, 64), 8), mean_colour, stride=16)
    reference = torch.full((5, 1), 100.0)
    curve = distance_curve(windows, reference, squared_means, resamples=50)
    middle = (np.array(windows.starts) + 7.5) * 100 / 63
    assert np.allclose(curve.value, middle**2, rtol=0.05)
    assert (curve.low <= curve.value * 1.01).all() and np.isnan(
        distance_curve(windows, reference, squared_means).low
    ).all()
    colours = window_features(
        videos(np.linspace(100, 200, 64), 8),
        lambda clips: clips.double().mean(dim=(1, 2, 3))[:, :2],
        stride=16,
    )
    drawn = torch.from_numpy(np.random.default_rng(0).normal(100, 0.3, (40, 2)))
    assert np.allclose(distance_curve(colours, drawn, frechet).value, 2 * middle**2, rtol=0.1)
    with pytest.raises(ValueError, match="reference must have shape"):
        distance_curve(windows, torch.zeros(5, 2), squared_means)


def test_dances_stand_still_on_the_whole_and_blur_shows():
    """The stand-in sees blur that sets in half-way, in every measure, and no drift beyond the control before."""
    clean = [make_clip("toy-dance", 8, i, 96).clip.frames for i in range(8)]
    control = [make_clip("toy-dance", 9, i, 96).clip.frames for i in range(8)]
    blurred = []
    for video in clean:
        half = torch.from_numpy(video[48:]).movedim(-1, 1).float()
        soft = torch.nn.functional.avg_pool2d(half, 15, 1, 7, count_include_pad=False)
        blurred.append(np.concatenate([video[:48], soft.movedim(1, -1).numpy().astype(np.uint8)]))
    features = PixelStatistics(8)
    of = {name: drift_curve(window_features(set_, features, stride=16)) for name, set_ in
          (("clean", clean), ("control", control), ("blurred", blurred))}  # fmt: skip
    quiet, loud = beyond(of["clean"], of["control"]), beyond(of["blurred"], of["control"])
    assert (quiet.low <= 0).all() and (quiet.high >= 0).all()
    assert (loud.low[3:] > 0).all() and (loud.low[:3] <= 0).all()


class Hears(FeatureNetwork):
    """One feature: the mean of the sound."""

    name, layer, width, weights, sample_rate = "mean", "mean", 1, "none", 8000

    def features(self, batch):
        assert batch.shape[1] == 8000 * 16 // 10
        return batch.double().mean(dim=1, keepdim=True)


def test_a_network_that_listens_hears_the_sound_of_the_windows_it_would_see():
    frames = np.zeros((48, 8, 8, 3), np.uint8)
    ramps = [Clip(frames, start + np.linspace(0, 0.48, 48 * 1600, dtype=np.float32)) for start in (0.0, 0.2)]
    windows = clip_windows(ramps, Hears(), stride=8, batch=3)  # 16 kHz, resampled to 8
    middle = (np.array(windows.starts) + 8) / 100
    assert windows.starts == (0, 8, 16, 24, 32)
    assert np.allclose(windows.values[:, 0, 0], middle, atol=2e-3)
    assert np.allclose(windows.values[:, 1, 0], 0.2 + middle, atol=2e-3)
    lacking = Clip(frames, ramps[1].waveform[:-1])  # a clip may lack a sample
    assert clip_windows([lacking], Hears(), stride=32).values.shape == (2, 1, 1)


def test_a_rise_is_between_two_windows_and_has_its_interval():
    curve = drift_curve(window_features(videos(np.linspace(50, 130, 81), 8), mean_colour, stride=16))
    found = rise(curve, 16, 48)
    assert found["value"] == pytest.approx(32, abs=1) and found["low"] <= found["value"] <= found["high"]
    with pytest.raises(ValueError, match="no window begins at frame 50"):
        rise(curve, 0, 50)


def test_resampling_does_not_lift_a_distance_from_its_interval():
    """Few videos drawn with replacement are further from everything; the interval must not be."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (32, 8, 8, 3), np.uint8) for _ in range(6)]

    def rows(clips):
        return clips.double().mean(dim=(1, 3))[:, :3].flatten(1)

    windows = window_features(noise, rows, stride=16)
    reference = torch.from_numpy(rng.normal(127, 7, (60, 9)))
    with pytest.warns(UserWarning, match="6 samples"):
        curve = distance_curve(windows, reference, frechet, resamples=100)
    assert (curve.low < curve.value).all() and (curve.value < curve.high).all()
    error = curve.resampled.std(axis=0) / 100**0.5
    assert (np.abs(curve.resampled.mean(axis=0) - curve.value) < 3 * error).all(), "about the value"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "no videos"),
        ([np.zeros((20, 8, 8, 3), np.uint8), np.zeros((21, 8, 8, 3), np.uint8)], "video 1 has shape"),
        ([np.zeros((20, 8, 8, 3), np.float32)], "must be uint8"),
    ],
)
def test_videos_that_do_not_fit_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        window_features(given, mean_colour)


def test_features_that_are_none_are_refused_with_their_place():
    def sick(clips):
        values = mean_colour(clips)
        values[values > 25] = math.nan
        return values

    ramp = [np.broadcast_to(np.arange(40)[:, None, None, None], (40, 8, 8, 3)).astype(np.uint8)]
    with pytest.raises(ValueError, match="video 0, frames 18 to 33"):
        window_features(ramp, sick)
    with pytest.raises(ValueError, match="must have shape"):
        window_features(ramp, lambda clips: clips.double())
