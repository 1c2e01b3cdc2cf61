"""Notebook 10 makes intervals, pairs and Holm's rule by hand, and reads a ball's colour, as the library does."""

import functools
from itertools import chain, combinations

import numpy as np
import pytest

from rflav_lib import experiments
from rflav_lib.data.toy import make_clip
from rflav_lib.data.toy_tracking.hiding import absences
from rflav_lib.view import ablations
from tests.notebook_tools import definitions


@functools.cache
def notebook():
    return definitions("10_ablations")


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [5.0, 5.5], list(np.linspace(-3, 9, 7))])
def test_the_interval_is_the_librarys(values):
    library = experiments.over_seeds(values)
    assert notebook().interval(values) == pytest.approx([library[name] for name in ("value", "low", "high")])


def test_pairs_are_the_librarys_and_need_both_settings():
    runs = {
        "base": {0: {"x": 1.0}, 1: {"x": {"value": 2.0}}, 2: {"x": 4.0}},
        "other": {0: {"x": 2.0}, 1: {"x": 2.5}, 7: {"x": 90.0}},
    }
    mine = notebook().paired_difference(runs, "other", "base", "x")
    theirs = ablations.difference(runs, "other", "base", "x")
    assert mine[0] == 0.75 and mine == pytest.approx([theirs[name] for name in ("value", "low", "high")])


def test_holms_rule_is_the_closure_of_bonferronis():
    """Found is what every set of questions that holds it finds by Bonferroni's rule: all 31 sets of five."""
    rng, questions = np.random.default_rng(0), range(5)
    sets = [set(of) for of in chain.from_iterable(combinations(questions, n) for n in range(1, 6))]
    some = 0
    for _ in range(200):
        p = rng.uniform(size=5) ** 4
        closed = [all(p[list(of)].min() <= 0.05 / len(of) for of in sets if q in of) for q in questions]
        assert notebook().holm(p).tolist() == closed
        some += 0 < sum(closed) < 5
    assert some > 50, "some found and some not, often"


def test_a_window_bridges_two_frames_less_than_it_has():
    assert [notebook().longest_hidden(window) for window in (2, 5, 10, 20)] == [0, 3, 8, 18]
    assert notebook().ever_seen(12, 5) == {8, 9, 10, 11} and notebook().ever_seen(0, 5) == set()


@pytest.mark.parametrize("label", range(4))
def test_the_hue_by_hand_is_the_trackers(label):
    for index in range(6):
        made = make_clip("toy-pillar", 5, index, 70, label)
        (absence, *_) = absences(made.clip.frames)
        found = notebook().hue_by_hand(made.clip.frames[absence.gone - 3])
        assert found == absence.before == round(8 * made.facts["hue"])
