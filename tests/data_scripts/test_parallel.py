import os
import time

from data_scripts.parallel import each


def half(number):
    if number == 3:
        raise ValueError("three")
    if number == 5:
        time.sleep(0.2)  # so that others are in work
        os._exit(11)  # as a crash in a decoder does
    return number / 2


def test_failures_cost_only_themselves():
    outcomes = dict(each(half, [1, 2, 3, 4], "halving", workers=1))
    assert {number: outcomes[number] for number in (1, 2, 4)} == {1: 0.5, 2: 1.0, 4: 2.0}
    assert isinstance(outcomes[3], ValueError)


def test_a_process_that_dies_costs_only_its_file():
    outcomes = dict(each(half, list(range(12)), "halving", workers=2))
    assert len(outcomes) == 12
    assert [number for number, outcome in outcomes.items() if isinstance(outcome, Exception)] in (
        [3, 5],
        [5, 3],
    )
    assert all(outcomes[number] == number / 2 for number in range(12) if number not in (3, 5))
    assert "terminated" in str(outcomes[5])


def test_nothing_to_do():
    assert list(each(half, [], "halving")) == []
