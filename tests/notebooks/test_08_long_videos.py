"""Notebook 08 measures drift and loops by hand, as the library does."""

import functools

import numpy as np
import pytest
import torch

from rflav_lib.metrics.longform import drift_curve, window_features
from rflav_lib.metrics.loops import mean_by_lag
from tests.notebook_tools import definitions


@functools.cache
def notebook():
    return definitions("08_long_videos")


def level(window):
    return np.array([window.mean()])


@pytest.mark.parametrize("size", [4, 16])
def test_drift_by_hand_is_the_librarys(size):
    videos = list(np.random.default_rng(0).integers(0, 256, (3, 30, 4, 4, 3), np.uint8))
    mine = notebook().drift_by_hand(videos, level, size)
    windows = window_features(videos, lambda clips: clips.double().mean(dim=(1, 2, 3, 4))[:, None], size)
    assert np.allclose(mine, drift_curve(windows, 0).value)


def test_r_by_hand_is_the_librarys():
    rows = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).numpy()
    distances = np.linalg.norm(rows[:, None] - rows, axis=-1)
    assert np.allclose(notebook().r_by_hand(distances, 30), mean_by_lag(distances, 30))


def test_grey_videos_are_as_bright_as_they_should_be():
    assert notebook().grey([3, 200])[:, 0, 0, 0].tolist() == [3, 200]
    assert notebook().level(notebook().grey([10, 20])) == 15


def test_blur_begins_where_it_should_and_keeps_the_mean():
    rng = np.random.default_rng(1)
    video = rng.integers(0, 256, (6, 32, 32, 3), np.uint8)
    soft = notebook().blurred(video, 4)
    assert (soft[:4] == video[:4]).all() and soft[4:].std() < 0.3 * video[4:].std()
    assert soft[4:].mean() == pytest.approx(video[4:].mean(), abs=3)


def test_an_interval_is_read_as_what_it_says():
    verdict = notebook().verdict
    assert verdict({"low": 0.1, "high": 2}) == "up" and verdict({"low": -2, "high": -1}) == "down"
    assert verdict({"low": -0.1, "high": 2}) == "not known"
