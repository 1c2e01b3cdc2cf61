"""`make demo`: runs the quickstart notebook and leaves a clip, a report that opens offline, and the facts.

    python tools/demo.py                          # outputs/quickstart.mp4, .html, .ipynb, .json
    python tools/demo.py -p scene fireworks       # any parameter of the notebook

Everything is made in a folder of its own and moved to its place in the end: a run that fails or is interrupted leaves
what was there before.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from notebook_environment import KERNEL_ENVIRONMENT
from offline_pages import offline_page

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "00_quickstart.ipynb"
OUTPUTS = ROOT / "outputs"
DEMO = {"seconds": 20.0}  # longer than what the committed notebook stores
PRODUCED = ("quickstart.mp4", "quickstart.json", "quickstart.ipynb", "quickstart.html")


class DemoError(Exception):
    """Says what went wrong and what to do."""


def run_notebook(notebook: Path, folder: Path, parameters: dict[str, Any]) -> Path:
    """Run the notebook with papermill, into `folder`. Returns the executed notebook.

    Raises:
        DemoError: a parameter that the notebook does not have, or a cell that failed.
    """
    known = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(set(parameters) - set(known)):
        raise DemoError(f"{notebook.name} has no parameter {', '.join(unknown)}; it has: {', '.join(known)}")
    result = folder / "quickstart.ipynb"
    try:
        papermill.execute_notebook(
            str(notebook), str(result), parameters={**parameters, "output_dir": str(folder)}, cwd=str(notebook.parent),
            kernel_name="python3", progress_bar=sys.stderr.isatty(), autosave_cell_every=0, start_timeout=180,
            extra_arguments=["--log-level=ERROR"],  # a new reader need not hear how kernels and their clients talk
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        raise DemoError(
            f"code cell {error.exec_count} of {notebook.name} failed: {error.ename}: {error.evalue}"
        ) from error
    except DeadKernelError as error:  # killed from outside, as by a machine that has no memory left
        raise DemoError(f"the kernel of {notebook.name} died; is there memory enough?") from error
    return result


def write_report(executed: Path, folder: Path) -> Path:
    """Turn the executed notebook into one HTML file that needs no network.

    Raises:
        DemoError: the page would still fetch something.
    """
    notebook = nbformat.read(executed, as_version=4)
    try:
        page = offline_page(notebook, "RFLAV Lab: quickstart")
    except ValueError as error:
        raise DemoError(str(error)) from error
    report = folder / "quickstart.html"
    report.write_text(page, encoding="utf-8")
    return report


def move_into_place(folder: Path, outputs: Path) -> None:
    """Move the results over, each whole.

    Raises:
        DemoError: the notebook did not write one of them; nothing is moved then.
    """
    if missing := [name for name in PRODUCED if not (folder / name).is_file()]:
        raise DemoError(f"the notebook did not write {', '.join(missing)}")
    for name in PRODUCED:
        os.replace(folder / name, outputs / name)


def summary(outputs: Path, total: float) -> str:
    """Where the results are, how long each stage took, and how much faster than real time."""
    facts = json.loads((outputs / "quickstart.json").read_text(encoding="utf-8"))
    video, report = outputs / "quickstart.mp4", outputs / "quickstart.html"
    lines = [f"clip     {video}  ({facts['clip_seconds']:.0f} s, {video.stat().st_size / 1e6:.1f} MB)"]
    lines += [f"report   {report}  (plays offline, {report.stat().st_size / 1e6:.1f} MB)", ""]
    lines += [f"{name:9}{seconds:6.1f} s" for name, seconds in facts["stages"].items()]
    lines += [f"{'total':9}{total:6.1f} s  (with the start of Python, the plots and the report)"]
    lines += [f"generated {facts['real_time_factor']:.1f} times as fast as it plays"]
    return "\n".join(lines)


def make_demo(notebook: Path, outputs: Path, parameters: dict[str, Any]) -> str:
    """Run, report, move. Returns the summary; on any failure `outputs` is as it was."""
    began = time.monotonic()
    outputs.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".demo-", dir=outputs))
    try:
        write_report(run_notebook(notebook, folder, parameters), folder)
        move_into_place(folder, outputs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return summary(outputs, time.monotonic() - began)


def _stop(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo for the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    chosen = {name: yaml.safe_load(value) for name, value in parser.parse_args().parameters}
    os.environ.update(KERNEL_ENVIRONMENT)
    signal.signal(signal.SIGTERM, _stop)  # as Ctrl-C: clean up, then go
    try:
        print(make_demo(NOTEBOOK, OUTPUTS, DEMO | chosen))
    except (DemoError, OSError) as error:
        print(f"Demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nDemo interrupted; outputs/ is as it was.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
