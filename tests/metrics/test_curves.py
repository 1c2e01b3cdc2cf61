"""Intervals of curves: they hold the truth as often as they say, in studies whose truth is known."""

import numpy as np
import pytest
import torch

from rflav_lib.metrics.curves import beyond, drawn_sums, mean, rise, strata, within_classes
from rflav_lib.metrics.distances import frechet, kernel_distance
from rflav_lib.metrics.longform import WindowFeatures, distance_curve, drift_curve

STARTS = (0, 16)


class Studies:
    """Clips whose classes take turns, in two windows; in the second one all have moved."""

    def __init__(self, clips, width, seed=0, reference=500):
        self.rng = np.random.default_rng(seed)
        self.clips, self.width = clips, width
        self.classes = [number % 5 for number in range(clips)]
        self.means = 2 * self.rng.normal(size=(5, width))
        self.moves = 0.3 * self.rng.normal(size=width)
        self.reference = torch.from_numpy(self.normals(reference, np.arange(reference) % 5))

    def normals(self, count, classes):
        return self.means[classes] + 0.6 * self.rng.normal(size=(count, self.width))

    def draw(self):
        """One study: half of what a clip is, beside its class, is the same in both windows."""
        own = self.normals(self.clips, np.array(self.classes))
        windows = [own + 0.6 * self.rng.normal(size=own.shape) + move * self.moves for move in (0, 1)]
        return WindowFeatures(STARTS, torch.from_numpy(np.stack(windows)), 16)

    def values(self, count, distance):
        """Distances (count 2) of many studies: their mean is the truth that intervals are to hold."""
        return np.array([
            [distance(self.reference, window) for window in self.draw().values] for _ in range(count)
        ])  # fmt: skip


def resampled_before(windows, reference, distance, resamples, rng):
    """As it was: whole sets drawn from all clips, moved to the value."""
    count = windows.values.shape[1]
    draws = rng.integers(count, size=(resamples, count))
    found = np.array([[distance(reference, w[index]) for w in windows.values] for index in draws])
    return found - found.mean(axis=0) + [distance(reference, w) for w in windows.values]


def held(drawn, truth):
    """Whether the middle 95 % hold the truth, and how wide they are."""
    low, high = np.quantile(drawn, (0.025, 0.975))
    return low <= truth <= high, high - low


@pytest.mark.parametrize("distance", [frechet, kernel_distance])
def test_intervals_of_distances_and_rises_hold_the_truth_as_often_as_they_say(distance):
    """200 studies of 40 clips; the way it was is twice as wide as it need be or worse, and never wrong."""
    studies = Studies(40, 8, reference=100)
    many = studies.values(800, distance)
    truth = {"distance": many.mean(axis=0)[1], "rise": np.diff(many, axis=1).mean()}
    spread = {"distance": many.std(axis=0)[1], "rise": np.diff(many, axis=1).std()}
    now, before = ({name: [] for name in truth} for _ in range(2))
    for number in range(200):
        windows = studies.draw()
        curve = distance_curve(windows, studies.reference, distance, 400, number, studies.classes)
        climb = rise(curve, *STARTS)
        now["distance"].append(
            (curve.low[1] <= truth["distance"] <= curve.high[1], curve.high[1] - curve.low[1])
        )
        now["rise"].append((climb["low"] <= truth["rise"] <= climb["high"], climb["high"] - climb["low"]))
        if number < 30:
            drawn = resampled_before(windows, studies.reference, distance, 60, studies.rng)
            before["distance"].append(held(drawn[:, 1], truth["distance"]))
            before["rise"].append(held(drawn[:, 1] - drawn[:, 0], truth["rise"]))
    for name in truth:
        covered, width = np.mean(now[name], axis=0)
        assert 0.91 <= covered <= 0.985, (name, covered)
        assert 0.85 <= width / (3.92 * spread[name]) <= 1.35, (name, width)
        always, width = np.mean(before[name], axis=0)
        assert always == 1 and width > 2 * 3.92 * spread[name], (name, width)


def test_with_hardly_more_clips_than_features_intervals_are_wider_than_they_need_be_but_not_tenfold():
    studies = Studies(70, 64)
    spread = studies.values(150, frechet).std(axis=0)[1]
    now, before = [], []
    for number in range(4):
        windows = studies.draw()
        curve = distance_curve(windows, studies.reference, frechet, 400, number, studies.classes)
        now.append(curve.high[1] - curve.low[1])
        drawn = resampled_before(windows, studies.reference, frechet, 40, studies.rng)
        before.append(held(drawn[:, 1], 0)[1])
    assert 1 < np.mean(now) / (3.92 * spread) < 1.8
    assert np.mean(before) / (3.92 * spread) > 5


def test_of_a_mean_the_interval_is_that_of_a_stratified_mean():
    """What differs between classes is no chance: the standard error is of what differs within them."""
    rng = np.random.default_rng(1)
    classes = [number % 5 for number in range(60)]
    moved = 10 + 10 * np.array(classes) + rng.normal(0, 1, 60)
    values = torch.from_numpy(np.stack([np.zeros(60), moved]))[:, :, None]
    windows = WindowFeatures(STARTS, values, 16)
    within, over_all = (drift_curve(windows, 20_000, classes=each) for each in (classes, None))
    variance = np.mean([np.var(moved[number::5], ddof=1) for number in range(5)])
    assert within.resampled[:, 1].std() == pytest.approx((variance / 60) ** 0.5, rel=0.03)
    assert over_all.resampled[:, 1].std() == pytest.approx(moved.std(ddof=1) / 60**0.5, rel=0.03)
    assert np.linalg.norm(within.shares[:, 1]) == pytest.approx((variance / 60) ** 0.5)
    both = beyond(within, over_all)
    assert both.shares.shape == (120, 2)
    averaged = mean(within)  # of two windows, the first without spread: half of the second's
    assert averaged["value"] == pytest.approx(moved.mean() / 2)
    assert averaged["high"] - averaged["low"] == pytest.approx((within.high - within.low)[1] / 2)
    assert np.hypot(*(each.resampled[:, 1].std() for each in (within, over_all))) == pytest.approx(
        both.resampled[:, 1].std(), rel=0.03
    )


def test_every_draw_has_as_many_of_each_class_as_the_set():
    classes = [2, 0, 2, 0, 2]
    shares = np.eye(5)  # a draw's sum counts how often each was drawn
    counts = drawn_sums(shares, 50, 3, classes)
    assert (counts[:, [1, 3]].sum(axis=1) == 2).all() and (counts[:, [0, 2, 4]].sum(axis=1) == 3).all()
    assert (counts > 1).any() and np.array_equal(counts, drawn_sums(shares, 50, 3, classes))
    assert (drawn_sums(shares, 50, 3).sum(axis=1) == 5).all()
    parts = within_classes(np.arange(5.0)[:, None], classes)[:, 0]
    assert parts == pytest.approx([-2 * 1.5**0.5, -(2**0.5), 0, 2**0.5, 2 * 1.5**0.5])


def test_classes_that_cannot_be_drawn_within_are_left_aside_or_refused():
    assert [part.tolist() for part in strata(4, [0, 1, 0, 1])] == [[0, 2], [1, 3]]
    for whole in (None, [None] * 3, [0, 1, 1]):
        assert [part.tolist() for part in strata(3, whole)] == [[0, 1, 2]]
    for wrong in ([0, 1], [0, None, 0]):
        with pytest.raises(ValueError, match="3 videos need a class each"):
            strata(3, wrong)


def test_two_videos_have_a_value_and_no_interval():
    windows = WindowFeatures(STARTS, torch.arange(4.0, dtype=torch.float64).reshape(2, 2, 1), 16)
    curve = distance_curve(windows, torch.tensor([[0.0], [1.0], [3.0]]), kernel_distance, 20)
    assert np.isfinite(curve.value).all() and np.isnan([curve.low, curve.high]).all()
    assert np.isnan(drift_curve(WindowFeatures(STARTS, windows.values[:, :1], 16)).low).all()
