"""Every notebook as a reader meets it: opened in JupyterLab, run, its widgets moved, looked at, restarted.

The tour takes minutes, so it is for `make test-browser` alone. Notebooks run with their small parameters, as under
papermill; RFLAV_TOUR=whole runs them as they are. Pictures of each, in both themes and two widths, stay in
outputs/browser.
"""

import os
import re
import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
from notebook_contract import smoke_parameters

from rflav_lib.data.toy import make_clip
from tests.browser.conftest import ROOT, SHOTS
from tests.browser.moving import move_everything
from tests.browser.reader import THEMES, WIDTHS, Reader

TOUR = os.environ.get("RFLAV_TOUR")  # set by tools/browser_tests.py
pytestmark = pytest.mark.skipif(not TOUR, reason="the tour of all notebooks takes minutes: make test-browser")
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
CODE = "cell.cell_type === 'code'"
PREDICTIONS = {
    "00_quickstart": '"yes"',
    "04_fusion_blocks": "[0, 0, 0, 0]",
    "05_training": '"larger"',
    "10_ablations": "True",
}  # the others ask for a number first
WITH_WIDGETS = f"{CODE} && cell.outputs.some((o) => o.data?.['application/vnd.jupyter.widget-view+json'])"


@pytest.fixture(scope="module")
def folder(lab) -> Path:
    """A copy of the notebooks in the lab's folder: a tour leaves no trace in the repository."""
    left_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    folder = shutil.copytree(ROOT / "notebooks", lab.folder / "notebooks", ignore=left_out)
    if TOUR != "whole":
        for path in folder.glob("*.ipynb"):
            if small := smoke_parameters(nbformat.read(path, as_version=4)):
                papermill.execute_notebook(path, path, small, prepare_only=True)
    return folder


@pytest.fixture(scope="module", params=NOTEBOOKS)
def reader(request, lab, folder):
    """At a notebook that has run from top to bottom."""
    reader = Reader(lab.open(f"notebooks/{request.param}.ipynb"), request.param)
    reader.run_all()
    yield reader
    reader.page.evaluate("() => window.jupyterapp.serviceManager.sessions.shutdownAll()")
    reader.page.context.close()


def test_runs_from_top_to_bottom(reader):
    assert reader.failures() == []
    assert reader.complaints() == []


def test_every_widget_can_be_moved(reader, tmp_path):
    sound = make_clip("toy-landscape", 1, 0, 40).clip.save(tmp_path / "bounce.mp4")
    moved = sum(move_everything(reader, index, sound) for index in reader.cells(WITH_WIDGETS))
    assert moved, "each lesson has something to play with"
    assert reader.failures() == []
    assert reader.complaints() == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_can_be_read(reader, theme, width):
    assert reader.look(theme, width, SHOTS / reader.name) == []


def test_an_exercise_is_answered(reader):
    """The first one that asks for a prediction: silent at first, it speaks when one is written where it says None."""
    silent = reader.cells(f"{CODE} && cell.outputs.some((o) => /no prediction yet/.test(o.text))")
    cell = reader.go_to(silent[0])
    cell.wait_for_selector(".cm-content")
    (word, *_) = (each for each in cell.query_selector_all(".cm-line span") if each.text_content() == "None")
    word.dblclick()
    reader.page.keyboard.press("Delete")
    reader.page.keyboard.insert_text(PREDICTIONS.get(reader.name, "0"))
    reader.run(silent[0])
    assert re.match(r"1: (right|no): ", reader.shown(silent[0]).split("\n")[0]), reader.shown(silent[0])
    assert reader.failures() == []


def test_the_kernel_restarts_clean(reader):
    """Old widgets stay and say nothing; the first cells run again in a kernel that knows nothing yet."""
    page = reader.page
    page.evaluate(
        """() => {
            window.jupyterapp.commands.execute("kernelmenu:restart").finally(() => { window.restarted = true; });
        }"""
    )
    page.click(".jp-Dialog .jp-mod-accept")
    page.wait_for_function("() => window.restarted")
    reader.rest()
    for index in reader.cells(CODE)[:2]:
        reader.run(index)
    assert len(reader.cells(f"{CODE} && cell.execution_count === 1")) >= 1
    assert reader.failures() == []
    assert reader.complaints() == []


def test_the_solutions_open(reader):
    """Last, for then they lie over the notebook."""
    page = reader.page
    (cell,) = reader.cells("cell.source.includes('](solutions/')")[:1]
    reader.go_to(cell).query_selector("a[href*=solutions]").click()
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.context?.path.endsWith('_solutions.ipynb')"
    )


def test_a_reader_notices_what_is_wrong(lab, tmp_path):
    flawed = """
from IPython.display import HTML, display
import ipywidgets as widgets
button = widgets.Button(description="press")
button.on_click(lambda _: 1 / 0)
display(button)
HTML('<p style="color: #ddd; background: #fff">faint</p><p style="font-size: 6px">small</p>')"""
    reader = Reader(lab.open(lab.notebook("flawed.ipynb", flawed, "int('x')", "print(1)")), "flawed")
    reader.run_all()
    failed = reader.failures()
    assert len(failed) == 2 and "ValueError" in failed[0] and failed[1] == "cell 2 was not run"
    reader.page.click(".widget-button")
    reader.rest()
    assert any("ZeroDivisionError" in complaint for complaint in reader.complaints())
    flaws = reader.look("light", 1280, tmp_path)
    for word in ("faint", "small"):
        assert any(flaw.endswith(f"P {word}") for flaw in flaws), flaws
    reader.page.context.close()
