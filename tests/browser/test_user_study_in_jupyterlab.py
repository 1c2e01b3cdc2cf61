"""The user study in a real JupyterLab: a whole study with the keyboard alone, then its answers read."""

import csv

import pytest

expect = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: make test-browser"
).expect

SOURCE = """
from rflav_lib.data.toy import make_clip
from rflav_lib.view.user_study import user_study
for kind, seed in (("ours", 1), ("theirs", 2)):
    for index in range(2):
        make_clip("toy-landscape", seed, index, 10).clip.save(f"{kind}/{index}.mp4")
user_study("ours", "theirs", answers="answers.csv", pairs=2)
"""
PLAYED = "() => document.querySelector('.rflav-study fieldset').disabled === false"


@pytest.fixture(scope="module")
def page(lab):
    """A notebook with the study, its cell executed."""
    page = lab.open(lab.notebook("study.ipynb", SOURCE))
    page.evaluate('() => window.jupyterapp.commands.execute("notebook:run-cell")')
    page.wait_for_selector(".rflav-study")
    yield page
    page.context.close()


def test_a_study_with_the_keyboard_alone(lab, page, shot):
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    page.focus(".rflav-rater")
    page.keyboard.type("a dd x")  # as commands, these would change the notebook's cells
    page.keyboard.press("Enter")
    for number in (1, 2):
        expect(page.locator(".rflav-number")).to_have_text(str(number))
        page.wait_for_selector(f".rflav-study[data-pair='{number}']:focus")
        page.keyboard.press("ArrowLeft")
        assert page.locator(".rflav-study [aria-pressed=true]").count() == 0, (
            "no answer before both were played"
        )
        for key in "12":
            page.keyboard.press(key)
            page.wait_for_timeout(500)
        page.wait_for_function(PLAYED)
        shot(page.locator(".rflav-study"), f"user_study_{number}")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowRight")
        expect(page.locator("[data-question=quality] [aria-pressed=true]")).to_have_text("← left")
        expect(page.locator("[data-question=alignment] [aria-pressed=true]")).to_have_text("right →")
        page.keyboard.press("Enter")
    expect(page.locator(".rflav-done")).to_be_visible()
    with (lab.folder / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rater"], row["quality"], row["alignment"]) for row in rows] == [
        ("a dd x", "left", "right")
    ] * 2
    assert all(int(row["plays_left"]) >= 1 and int(row["plays_right"]) >= 1 for row in rows)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells and not page.errors
