"""Moves the widgets in a cell's output as a hand would: with the mouse and the keyboard, in the page."""

from pathlib import Path

from tests.browser.reader import CELL_MS, Reader

SLIDER, SELECT = ".widget-slider .noUi-handle", ".widget-dropdown select"
CHECKBOX, TOGGLE = ".widget-checkbox input[type=checkbox]", ".widget-toggle-button:not(.mod-active)"
NUMBER = ".widget-text input[type=number]"
BUTTON, UPLOAD = ".widget-button:not(.widget-upload)", ".widget-upload"
PLAYER, STUDY = ".rflav-player", ".rflav-study"


def drag(page, handle) -> None:
    """Take a slider's handle elsewhere on its track, down if there is room (less is faster here), and let go."""
    handle.scroll_into_view_if_needed()
    track = handle.evaluate_handle("(node) => node.closest('.noUi-base')").as_element().bounding_box()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    room = x - track["x"] > 0.2 * track["width"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + (-0.3 if room else 0.3) * track["width"], y, steps=5)
    page.mouse.up()


def choose_next(select) -> None:
    """Choose another entry of a list."""
    select.evaluate("(node) => node.scrollIntoView({ block: 'center' })")
    count, at = select.evaluate("(node) => [node.options.length, node.selectedIndex]")
    select.select_option(index=(at + 1) % count)


def write_number(field) -> None:
    """Write another number and press Enter."""
    field.fill("3")
    field.press("Enter")


def moves(page, cell) -> list[tuple[str, object]]:
    """What can be moved in a cell, kind by kind: a name, and the act."""
    acts = {
        SELECT: choose_next,
        CHECKBOX: lambda node: node.click(),
        TOGGLE: lambda node: node.click(),
        NUMBER: write_number,
        # last: at an end of a scale the others may change nothing any more
        SLIDER: lambda node: drag(page, node),
    }
    return [
        (selector, lambda act=act, node=node: act(node))
        for selector, act in acts.items()
        for node in cell.query_selector_all(selector)
    ]


def move_everything(reader: Reader, index: int, sound: Path) -> int:
    """Move each widget of a cell once, and see that what the cell shows follows. Returns how many there were.

    Where a button makes the picture, as in a form, it is the button's press that must change something.

    Args:
        reader: at the notebook, which has run.
        index: of the cell.
        sound: a file for a widget that takes one.
    """
    page, cell = reader.page, reader.go_to(index)
    cell.wait_for_selector(".jupyter-widgets, .rflav-player, .rflav-study", state="attached")
    page.wait_for_timeout(500)
    button, upload = cell.query_selector(BUTTON), cell.query_selector(UPLOAD)
    count = 0
    for name, act in moves(page, cell):
        before = reader.shown(index)
        act()
        count += 1
        if not (button or upload):
            reader.until_shown_differs(index, before, name)
    before = reader.shown(index)
    if upload:
        with page.expect_file_chooser() as chooser:
            upload.click()
        chooser.value.set_files(sound)
    elif button:
        button.click()
    if upload or button:
        page.wait_for_function("(cell) => cell.querySelector('video')", arg=cell, timeout=CELL_MS)
        reader.until_shown_differs(index, before, "the button")
        count += 1
    if cell.query_selector(PLAYER):
        count += play(reader, cell)
    if cell.query_selector(STUDY):
        count += begin_study(reader)
    return count


def play(reader: Reader, cell) -> int:
    """Start the live player, choose another class, let it play a second, stop it."""
    page = reader.page
    start = cell.query_selector(".rflav-start")
    start.click()
    playing = "() => document.querySelector('.rflav-player').engine.position()"
    page.wait_for_function(f"{playing} > 3", timeout=CELL_MS)
    page.select_option(".rflav-class select", index=2)
    page.wait_for_function(f"{playing} > 10", timeout=CELL_MS)
    start.click()
    reader.rest()
    assert page.locator(".rflav-message").text_content() == ""
    return 2


def begin_study(reader: Reader) -> int:
    """Give a name, begin, play both videos, answer one question."""
    page = reader.page
    page.fill(".rflav-rater", "tour")
    page.keyboard.press("Enter")
    page.wait_for_selector(".rflav-study[data-pair='1']:focus")
    for key in "12":
        page.keyboard.press(key)
        page.wait_for_timeout(500)
    page.wait_for_function(
        "() => document.querySelector('.rflav-study fieldset').disabled === false", timeout=CELL_MS
    )
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("[data-question=quality] [aria-pressed=true]")
    return 4
