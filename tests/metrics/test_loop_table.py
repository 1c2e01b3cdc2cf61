"""How good the loop test is, counted right: on readings made up, then on clips whose truth is known."""

import math

import numpy as np
import pytest

from rflav_lib.metrics.loop_table import KINDS, KnownClips, dances, judge, known_clips, lengths_found
from rflav_lib.metrics.loops import LoopReading


def reading(depth, spectral, lag=20.0, period=20.0):
    nothing = np.zeros(1)
    return LoopReading(nothing, nothing, nothing, spectral, period, depth, lag)


def known(looping, others, lengths=None):
    return KnownClips(
        tuple(looping), tuple(lengths or [20.0] * len(looping)), {"made up": tuple(others)}, 120
    )


def test_counts_of_a_table_made_by_hand():
    calibration = known([reading(0.8, 0.5)] * 2, [reading(0.2, 0.1)] * 2)  # thresholds 0.5 and 0.3
    test = known(
        [reading(0.9, 0.6), reading(0.9, 0.2), reading(0.4, 0.2)], [reading(0.1, 0.4), reading(0.1, 0.1)]
    )
    found = judge(calibration, test)
    depth, spectral = found["depth"], found["spectral"]
    assert (depth["threshold"], spectral["threshold"]) == (pytest.approx(0.5), pytest.approx(0.3))
    assert (depth["hits"], depth["false alarms"], depth["looping clips"], depth["other clips"]) == (
        2,
        0,
        3,
        2,
    )
    assert (spectral["hits"], spectral["false alarms"]) == (1, 1)
    assert depth["recall"]["value"] == pytest.approx(2 / 3) and depth["precision"]["value"] == 1
    assert spectral["precision"]["value"] == 0.5 and spectral["false alarms by kind"] == {"made up": 1}


def test_a_test_that_finds_nothing_has_no_precision():
    calibration = known([reading(0.8, 0.5)] * 2, [reading(0.2, 0.1)] * 2)
    assert judge(calibration, known([reading(0, 0)], [reading(0, 0)]))["depth"]["precision"] is None


def test_lengths_are_right_within_three_per_cent():
    readings = [reading(1, 1, 20.5, 40), reading(1, 1, 21, 20), reading(1, 1, math.nan, 20)]
    found = lengths_found(known(readings, [], [20.0] * 3))
    assert found["lag"]["value"] == pytest.approx(1 / 3) and found["period"]["value"] == pytest.approx(2 / 3)


def test_dances_come_back_and_the_test_finds_them():
    for frames, beats, length in dances(3, 3, 120):
        assert len(frames) == 120 and length < 60 and (np.diff(beats) > 4).all()
    first, second = (known_clips(seed, 4, 120) for seed in (51, 52))
    assert len(second.looping) == 4 and {
        kind: len(of) for kind, of in second.others.items()
    } == dict.fromkeys(KINDS, 4)
    found = judge(first, second)["depth"]
    assert found["hits"] == 4 and found["false alarms"] <= 1
    assert lengths_found(second)["lag"]["value"] == 1


def test_clips_in_which_a_loop_cannot_come_twice_are_refused():
    with pytest.raises(ValueError, match="at least 110"):
        known_clips(0, 2, 100)
