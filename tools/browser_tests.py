"""Runs the tests that need a browser; `make test-browser` calls it.

Playwright comes from the package index (the extra `browser`), Chromium from the system: it is installed where
apt-get is there and may be used. What is still missing is said, and nothing is skipped in silence.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ADVICE = f"""There is no browser here, none of {", ".join(BROWSERS)}.
Install Chromium and run this again (Debian: sudo apt-get install chromium; Fedora: sudo dnf install chromium)."""


def browser() -> str | None:
    """Path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def install_browser() -> None:
    """Try apt-get, where it is and may be used."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("installing chromium with apt-get ...", flush=True)
        silent = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-q", *command], check=False, stdout=subprocess.DEVNULL, env=silent)


def main() -> int:
    """Provide what is missing, then run the tests. Returns the exit status."""
    if browser() is None:
        install_browser()
    if browser() is None:
        print(ADVICE, file=sys.stderr)
        return 1
    if importlib.util.find_spec("playwright") is None:
        pip = [sys.executable, "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", ".[browser]"]
        if status := subprocess.run(pip, cwd=ROOT, check=False).returncode:
            print("playwright could not be installed; see above", file=sys.stderr)
            return status
    tests = [sys.executable, "-m", "pytest", "tests/browser", "-q", *sys.argv[1:]]
    environment = {"RFLAV_TOUR": "small"} | os.environ  # test_tour.py: through all notebooks
    return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
