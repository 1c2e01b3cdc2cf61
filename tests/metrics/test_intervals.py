"""Intervals of shares, medians and draws: against closed forms and cases whose answer is known."""

import math

import numpy as np
import pytest

from rflav_lib.data.toy_trackers import Tally
from rflav_lib.metrics.intervals import (
    interval,
    median_with_interval,
    pooled_with_interval,
    share_with_interval,
    wilson,
)


def test_wilson_interval():
    """Against the closed form for 10 of 10: low = n / (n + z^2)."""
    share = share_with_interval([True] * 10)
    assert (
        share["value"] == 1
        and share["high"] == pytest.approx(1)
        and share["low"] == pytest.approx(10 / (10 + 1.959964**2))
    )


def test_bootstrap_interval_covers_the_median():
    figures = median_with_interval(list(np.random.default_rng(0).normal(5, 1, 400)))
    assert (
        figures["low"] < figures["value"] < figures["high"] and 0.1 < figures["high"] - figures["low"] < 0.5
    )


def test_pooled_share_counts_events_and_draws_clips():
    """Nine clips of one event each and one of eleven: the large one weighs more than half."""
    tallies = [Tally(1, 1)] * 9 + [Tally(0, 11), Tally(0, 0)]
    pooled = pooled_with_interval(tallies)
    assert pooled["value"] == pytest.approx(9 / 20)
    assert pooled["low"] < 0.3 and pooled["high"] == 1  # drawn without the large clip, all are right


def test_a_share_is_that_of_its_counts():
    assert share_with_interval(np.array([1.0, 0.2, 0.7]) > 0.5) == wilson(2, 3)
    assert wilson(2, 3)["value"] == 2 / 3


def test_draws_give_the_middle_95_percent_where_they_lie():
    drawn = list(np.linspace(10, 20, 1001))
    assert interval(3.0, drawn) == pytest.approx({"value": 3.0, "low": 10.25, "high": 19.75})


@pytest.mark.parametrize(
    "found",
    [wilson(0, 0), share_with_interval([]), median_with_interval([]), pooled_with_interval([Tally()])],
)
def test_of_nothing_there_is_no_figure(found):
    assert list(found) == ["value", "low", "high"] and all(map(math.isnan, found.values()))
    assert all(math.isnan(interval(1.0, [])[end]) for end in ("low", "high"))
