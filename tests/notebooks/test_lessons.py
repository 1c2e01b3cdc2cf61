"""What the teaching notebooks promise of their shape: length, the idea in 30 lines that needs nothing of ours."""

import ast

import matplotlib.pyplot as plt
import nbformat
import pytest

from tests.notebook_tools import NOTEBOOKS

LESSONS = [
    "01_mel_frame_alignment",
    "02_flow_matching",
    "03_rolling_schedules",
    "04_fusion_blocks",
    "07_evaluation",
    "10_ablations",
]
EACH_LESSON = pytest.mark.parametrize("name", LESSONS)


def cells(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells


def idea(name):
    """The first code cell after the heading, and the imports before it that are not ours."""
    imports = []
    seen = False
    for cell in cells(name):
        if cell.cell_type == "markdown":
            seen = seen or cell.source.startswith("## The idea in 30 lines")
        elif seen:
            return imports, cell.source
        else:
            imports += [line for line in ast.parse(cell.source).body if _is_foreign_import(line)]
    raise AssertionError(f"{name} has no section 'The idea in 30 lines'")


def _is_foreign_import(line):
    if isinstance(line, ast.ImportFrom):
        return not line.module.startswith("rflav_lib")
    return isinstance(line, ast.Import) and not any(name.name.startswith("rflav_lib") for name in line.names)


@EACH_LESSON
def test_it_can_be_stepped_through_in_one_sitting(name):
    assert 25 <= len(cells(name)) <= 45


@EACH_LESSON
def test_the_idea_is_short_and_stands_alone(name, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    imports, source = idea(name)
    assert "rflav_lib" not in source
    lines = [line for line in source.splitlines() if line.strip()]
    assert len(lines) <= 36, "30, and some for the picture"
    alone = ast.Module(body=[*imports, *ast.parse(source).body], type_ignores=[])
    exec(compile(alone, name, "exec"), {"__name__": name})  # noqa: S102 - our own notebook; its asserts must hold


@EACH_LESSON
def test_every_exercise_waits_for_a_prediction(name):
    """Between the exercises and the summary no stored output gives an answer away."""
    texts = [cell.source for cell in cells(name)]
    first = next(i for i, text in enumerate(texts) if "## Exercises: predict, then run" in text)
    asked = [
        line for line in texts[first].splitlines() if line.lstrip("*")[:2] in {f"{i}." for i in range(9)}
    ]
    assert 4 <= len(asked) <= 6
    printed = "".join(
        output.text for cell in cells(name)[first:] for output in cell.get("outputs", []) if "text" in output
    )
    answers = [part for line in printed.splitlines() for part in line.split(": ", 1)[1].split(" / ")]
    assert len(answers) >= len(asked) and set(answers) == {"no prediction yet"}
