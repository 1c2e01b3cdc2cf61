"""The mistakes that are put into modules: what they are, and what is left alone."""

import pytest

from tests.mutation.__main__ import TESTS, explained, main
from tests.mutation.mutants import mutants

SOURCE = '''
"""A docstring."""
from typing import Literal
Kind = Literal["one", "two"]
LIMIT = 8


def f(a: int = 1, *, b: bool = True) -> int:
    """Another."""
    if a < LIMIT and b:
        raise ValueError(f"too small: {a - 1}")
    return max(a, -LIMIT) + g(a, LIMIT, key="x").clamp()
'''


def names() -> list[str]:
    return [mutant.name for mutant in mutants(SOURCE, "here")]


@pytest.mark.parametrize(
    "expected",
    [
        "module: 8 → 9",
        "module: 8 → 4",
        "f: 1 → 2",
        "f: True → False",
        "f: a < LIMIT and b → a < LIMIT or b",
        "f: a < LIMIT → a <= LIMIT",
        "f: a < LIMIT → a >= LIMIT",
        "f: raise ValueError(f'too small: {a - 1}') → pass",
        "f: -LIMIT → LIMIT",
        "f: g(a, LIMIT, key='x') → g(LIMIT, a, key='x')",
        "f: g(a, LIMIT, key='x') → g(a, LIMIT)",
        "f: g(a, LIMIT, key='x').clamp() → g(a, LIMIT, key='x')",
        "f: 'x' → 'xX'",
        "f: max(a, -LIMIT) + g(a, LIMIT, key='x').clamp() → max(a, -LIMIT) - g(a, LIMIT, key='x').clamp()",
    ],
)
def test_these_mistakes_are_made(expected):
    assert expected in names()


def test_and_no_others():
    """Nothing in docstrings, types, or texts of errors; arguments of `max` may come in any order."""
    assert len(names()) == len(set(names())) == 14


def test_a_mutant_is_the_module_with_one_mistake():
    (mutant,) = (each for each in mutants("def f(a):\n    return a + 2\n", "here") if "a - 2" in each.name)
    names = {}
    exec(mutant.code, names)  # noqa: S102 - four words
    assert names["f"](5) == 3 and mutant.line == 2


def test_the_table_explains_mutants_of_modules_that_are_tried():
    known = explained()
    assert known and {name.split(".")[0] for name in known} <= set(TESTS)


def test_a_module_without_tests_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "there are: flow, schedule, fusion, mel" in capsys.readouterr().err
