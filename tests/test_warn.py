"""Warnings point at the line that called the library, however deep inside of it they arise."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rflav_lib.conditions import given_sound, given_sounds
from rflav_lib.media import Clip
from rflav_lib.metrics.distances import frechet, moments
from rflav_lib.stream_state import SINCE, check_keys
from rflav_lib.warn import warn
from tests.tiny import tiny_pipeline

LIBRARY = Path(__file__).resolve().parents[1] / "rflav_lib"
LOUD = Clip(np.zeros((2, 8, 8, 3), np.uint8), np.full(3200, 1.5, np.float32))


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


CALLS = {
    "plainly": lambda pipe: given_sound(LOUD, pipe.mel),
    "from a comprehension": lambda pipe: given_sounds([LOUD], pipe.mel),
    "behind torch's decorators": lambda pipe: pipe(audio=LOUD, steps_per_frame=1, condition_scale=0),
    "of a distance": lambda pipe: frechet(torch.eye(3), torch.eye(3)),
    "of what a distance is made of": lambda pipe: moments(torch.eye(3)),
    "of a state": lambda pipe: check_keys({**dict.fromkeys(SINCE[1]), "format": 1}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_warning_points_at_the_line_that_called(pipeline, call):
    with pytest.warns(UserWarning, match="scaled down|samples of|older version") as told:
        call(pipeline)
    assert {each.filename for each in told} == {__file__}
    assert {each.lineno for each in told} == {call.__code__.co_firstlineno}


def test_of_a_command_it_points_at_the_command(monkeypatch):
    """All that is left outside of the library is what started it: the search ends."""
    monkeypatch.setattr("rflav_lib.warn.INSIDE", {name.partition(".")[0] for name in sys.modules})
    with pytest.warns(UserWarning, match="said"):
        warn("said")


def test_the_library_warns_in_no_other_way():
    for path in LIBRARY.rglob("*.py"):
        calls = [
            node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)
        ]
        if path.name != "warn.py":
            assert not any(ast.unparse(call) == "warnings.warn" for call in calls), path
