"""The exercises' judge keeps silent, judges, and refuses what it cannot compare."""

import pytest

from rflav_lib.view.exercise import judge


@pytest.mark.parametrize("measured", [3, 0.5, "Heun", True, [1, 2]])
def test_it_gives_nothing_away_before_there_is_a_prediction(measured):
    assert judge(None, measured) == "no prediction yet"


@pytest.mark.parametrize(
    ("prediction", "measured", "tolerance", "said"),
    [(64, 63.2, 3, "right: 63.2"), (60, 63.2, 3, "no: 63.2"), (5, 5, 0, "right: 5"), (5.1, 5, 0, "no: 5"),
     ("Heun", "Heun", 0, "right: Heun"), ("Euler", "Heun", 0, "no: Heun"), (False, True, 9, "no: True"),
     (0, 0.0, 0, "right: 0"), ([60, 53, 60], [60.0, 53.33, 60.0], 1, "right: [60, 53.3, 60]"),
     ([[0], [], [2]], [[0], [], [2]], 0, "right: [[0], [], [2]]"), ((1, 2), [1, 3], 0, "no: [1, 3]")],
)  # fmt: skip
def test_it_judges(prediction, measured, tolerance, said):
    assert judge(prediction, measured, tolerance) == said


@pytest.mark.parametrize(
    ("prediction", "measured", "words"),
    [("5", 5, "predict a number"), (True, 1, "predict a number"), (1, True, "predict True or False"),
     (5, "Heun", "predict a word"), ([1], [1, 2], "predict a list of 2"), (1, [1, 2], "predict a list of 2"),
     ([1, "2"], [3, 4], "predict a number"), (1, 1j, "cannot judge a complex")],
)  # fmt: skip
def test_it_refuses_another_kind(prediction, measured, words):
    with pytest.raises(TypeError, match=words):
        judge(prediction, measured)
