"""A real JupyterLab and a real Chromium for the tests in this folder, each started once."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from browser_tests import BROWSERS, browser
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "outputs" / "browser"  # screenshots, kept to be looked at
PATIENCE = 120_000  # ms: a machine that does much else at the same time is slow, not wrong
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def missing() -> str | None:
    """What these tests lack, or None."""
    try:
        import playwright.sync_api  # noqa: F401 - only whether it is there
    except ImportError:
        return "playwright is not installed: make test-browser"
    if browser() is None:
        return f"no browser here, none of {', '.join(BROWSERS)}: make test-browser"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder, and skip it with a reason where it cannot run."""
    reason = missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")
            item.add_marker("slow")
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


class Lab:
    """A running JupyterLab: `open` a notebook in a page of the browser."""

    def __init__(self, folder: Path, url: str, token: str, chromium) -> None:
        self.folder, self._url, self._token, self._chromium = folder, url, token, chromium

    def notebook(self, name: str, *sources: str) -> str:
        """Write a notebook of code cells. Returns its name."""
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = new_notebook(
            cells=[new_code_cell(text) for text in sources], metadata={"kernelspec": kernel}
        )
        nbformat.write(notebook, self.folder / name)
        return name

    def page(self):
        """An empty page in a browser profile of its own, as `new_page` makes it."""
        return new_page(self._chromium)

    def open(self, name: str, theme: str = "light"):
        """Open a notebook of the lab's folder in a page of its own, and wait until its kernel is idle."""
        page = self.page()
        page.goto(f"{self._url}doc/tree/{name}?token={self._token}&reset")
        page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )
        if theme == "dark":
            command(page, "apputils:change-theme", {"theme": "JupyterLab Dark"})
            page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
        return page


def new_page(chromium, **options):
    """An empty page in a browser profile of its own.

    Its uncaught errors are kept in `errors`, what is written to its console as an error in `console`.
    """
    page = chromium.new_context(viewport={"width": 1280, "height": 900}, **options).new_page()
    page.set_default_timeout(PATIENCE)
    page.errors, page.console = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda line: line.type == "error" and page.console.append(line.text))
    return page


def command(page, name: str, arguments: dict | None = None) -> None:
    """Let JupyterLab execute one of its commands, as its menus do."""
    page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments or {}])


def start_lab(folder: Path, logs: Path) -> tuple[subprocess.Popen, str, str]:
    """Start JupyterLab on a free port. Returns its process, address and token."""
    runtime = logs / "runtime"
    runtime.mkdir(parents=True)
    news = logs / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}')  # no question about news in the pictures
    environment = os.environ | {
        "JUPYTER_RUNTIME_DIR": str(runtime), "JUPYTER_CONFIG_DIR": str(logs / "config"),
        "JUPYTER_DATA_DIR": str(logs / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(logs / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(logs / "workspaces"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    options = [
        "--no-browser", "--allow-root", "--port=0", "--ip=127.0.0.1", f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--ServerApp.terminals_enabled=False",
    ]  # fmt: skip
    with (logs / "lab.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log
        )
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                server = json.loads(file.read_text())
            except ValueError:
                continue  # it is being written
            return process, server["url"], server["token"]
        time.sleep(0.2)
    process.kill()
    raise RuntimeError(f"JupyterLab did not start:\n{(logs / 'lab.txt').read_text()[-2000:]}")


@pytest.fixture(scope="package")
def chromium() -> Iterator:
    """A Chromium without a window, gone when the tests of this folder are over.

    Not later: while playwright runs, this thread has a running event loop, and no test could start another.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, chromium) -> Iterator[Lab]:
    """A JupyterLab, gone when the tests of this folder are over."""
    folder, logs = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("logs")
    process, url, token = start_lab(folder, logs)
    try:
        yield Lab(folder, url, token, chromium)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def shot() -> Callable:
    """Keep a picture of a page, or of a part of it, in outputs/browser."""
    SHOTS.mkdir(parents=True, exist_ok=True)

    def keep(target, name: str) -> None:
        target.screenshot(path=SHOTS / f"{name}.png")

    return keep
