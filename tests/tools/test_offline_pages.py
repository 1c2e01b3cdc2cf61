"""Pages that a browser shows without a network."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from offline_pages import HINT, WIDGET, external_references, markdown_to_html, offline_page


@pytest.mark.parametrize(
    ("page", "fetched"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ('<img src="picture.png"><video poster="x.png"></video>', ["picture.png", "x.png"]),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', ["//fonts.example/a.css"]),
        (
            '<a href="https://example.org">read on</a><img src="data:image/png;base64,AA"><video><source></video>',
            [],
        ),
    ],
)
def test_external_references(page, fetched):
    assert external_references(page) == fetched


def test_formulas_are_set_without_a_script():
    text = markdown_to_html(
        "Speed $x_1 - x_0$, and\n\n$$\\mathcal{L} = \\mathbb{E}\\,w(t)$$\n\nbut `$HOME` stays."
    )
    assert text.count("<math") == 2 and 'display="block"' in text
    assert "<code>$HOME</code>" in text and "mathcal" not in text


def test_a_page_has_code_pictures_and_a_hint_for_widgets():
    cell = new_code_cell("slider")
    cell.outputs = [
        new_output("display_data", {WIDGET: {"model_id": "x"}, "text/plain": "IntSlider()"}),
        new_output("display_data", {"image/png": "iVBORw0KGgo="}),
    ]
    page = offline_page(new_notebook(cells=[new_markdown_cell("# A title"), cell]), "A title")
    assert "A title" in page and "slider" in page and "data:image/png;base64,iVBORw0KGgo=" in page
    assert "make lab" in page and "IntSlider()" not in page and "make lab" in HINT
    assert external_references(page) == []


def test_a_page_that_would_fetch_is_refused():
    cell = new_markdown_cell('<script src="https://cdn.example/x.js"></script>')
    with pytest.raises(ValueError, match=r"lesson: the page would fetch https://cdn.example/x.js"):
        offline_page(new_notebook(cells=[cell]), "lesson")


def test_a_broken_formula_is_named():
    with pytest.raises(ValueError, match=r"the formula 'x_1_2' cannot be set: DoubleSubscriptsError"):
        markdown_to_html("$x_1_2$")
