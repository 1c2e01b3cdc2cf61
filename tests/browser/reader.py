"""A reader at a notebook in JupyterLab: runs it, moves what can be moved, changes the theme, takes pictures.

The reader sees what a person would overlook too: what the kernel says outside of cells, where a widget's error
goes, and what the browser's console complains of.
"""

from pathlib import Path

from tests.browser.conftest import PATIENCE, command

SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
CELL_MS = 600_000
NOTEBOOK_MS = 1_200_000
WIDTHS = (1280, 1920)
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SCREEN = 2000  # px, the height of one picture
IDLE = "() => reader.panel.sessionContext.session?.kernel?.status === 'idle'"


class Reader:
    """One notebook, open in a page of its own."""

    def __init__(self, page, name: str) -> None:
        self.page, self.name = page, name
        page.evaluate(SCRIPT)

    def run_all(self) -> None:
        """Run from top to bottom and wait for the end. The first cell that fails ends it, as in JupyterLab."""
        self.page.evaluate(
            """() => {
                window.ran = undefined;
                window.jupyterapp.commands.execute("notebook:run-all-cells").finally(() => { window.ran = true; });
            }"""
        )
        self.page.wait_for_function("() => window.ran", timeout=NOTEBOOK_MS, polling=500)
        self.rest()

    def run(self, index: int) -> None:
        """Run one cell and wait for its end."""
        self.go_to(index)
        command(self.page, "notebook:run-cell")
        self.rest()

    def rest(self) -> None:
        """Wait until the kernel is idle and what it sent is shown."""
        self.page.wait_for_timeout(300)
        self.page.wait_for_function(IDLE, timeout=CELL_MS)
        self.page.wait_for_timeout(300)

    def failures(self) -> list[str]:
        """Code cells that were not run, or ended with an error or a word on stderr."""
        return self.page.evaluate("() => reader.failures()")

    def complaints(self) -> list[str]:
        """What the kernel said outside of cells, uncaught errors of the page, and errors in its console."""
        return [*self.page.evaluate("() => reader.complaints"), *self.page.errors, *self.page.console]

    def cells(self, condition: str) -> list[int]:
        """Places of the cells of which a JavaScript condition on `cell`, as stored in a notebook, holds."""
        return self.page.evaluate(
            f"() => reader.stored().flatMap((cell, index) => ({condition}) ? [index] : [])"
        )

    def go_to(self, index: int):
        """Scroll to a cell and make it the active one. Returns its element."""
        self.page.evaluate(
            """async (index) => {
                const notebook = reader.panel.content;
                notebook.activeCellIndex = index;
                await notebook.scrollToItem(index, "start");
            }""",
            index,
        )
        return self.page.evaluate_handle("(index) => reader.cells()[index].node", index).as_element()

    def shown(self, index: int) -> str:
        """What the output of a cell shows; it differs when a picture, a video or a text has changed."""
        return self.page.evaluate("(index) => reader.shown(index)", index)

    def until_shown_differs(self, index: int, before: str, what: str) -> None:
        """Wait until a cell shows something else and the kernel is idle again.

        Raises:
            AssertionError: it goes on showing the same.
        """
        from playwright.sync_api import TimeoutError as Late

        try:
            self.page.wait_for_function(
                "([index, before]) => reader.shown(index) !== before", arg=[index, before], timeout=PATIENCE
            )
        except Late as error:
            raise AssertionError(f"cell {index}: {what} changed nothing") from error
        self.rest()

    def look(self, theme: str, width: int, folder: Path) -> list[str]:
        """Look at the whole notebook, screen by screen; each stays as a PNG file. Returns the flaws seen."""
        page = self.page
        page.set_viewport_size({"width": width, "height": SCREEN})
        command(page, "apputils:change-theme", {"theme": THEMES[theme]})
        is_light = str(theme == "light").lower()
        page.wait_for_selector(f"body[data-jp-theme-light={is_light}]", state="attached")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{theme}-{width}-*.png"):
            old.unlink()
        self.go_to(0)
        panel = page.locator(".jp-WindowedPanel-outer:visible").first
        flaws, number, place = {}, 0, None
        while place != (place := panel.evaluate("(node) => node.scrollTop")):
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"{theme}-{width}-{number:02d}.png")
            flaws |= dict.fromkeys(page.evaluate("() => reader.flaws()"))  # each once, in order
            panel.evaluate("(node) => { node.scrollTop += node.clientHeight - 60; }")
            number += 1
        return list(flaws)
