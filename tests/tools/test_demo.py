"""`make demo` on small notebooks of its own shape: whole or not at all, offline, and clear when it fails."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import demo
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from offline_pages import external_references

PARAMETERS = 'output_dir: str = ""\nseconds: float = 20.0\nbreak_at: str = ""'
WORK = """
import json
from pathlib import Path
import ipywidgets as widgets
from IPython.display import HTML, display
if break_at == "cell":
    raise ValueError("the model is missing")
folder = Path(output_dir)
display(HTML('<video controls src="data:video/mp4;base64,AAAA"></video>'))
display(widgets.IntSlider())
(folder / "quickstart.mp4").write_bytes(b"clip")
if break_at != "json":
    facts = {"clip_seconds": seconds, "real_time_factor": 2.5, "stages": {"load": 1.0, "generate": 8.0}}
    (folder / "quickstart.json").write_text(json.dumps(facts))
if break_at == "hang":
    (folder.parent / "hanging").touch()
    import time
    time.sleep(60)
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook with the quickstart's parameters and outputs, without its model."""
    cells = [
        new_markdown_cell("# Small $x^2$ [link](https://example.org)"),
        new_code_cell(PARAMETERS),
        new_code_cell(WORK),
    ]
    cells[1].metadata["tags"] = ["parameters"]
    path = tmp_path / "quick.ipynb"
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


@pytest.mark.slow
def test_leaves_clip_report_and_facts(notebook, tmp_path, capfd):
    outputs = tmp_path / "outputs"
    told = demo.make_demo(notebook, outputs, {"seconds": 3.0})
    assert sorted(path.name for path in outputs.iterdir()) == sorted(demo.PRODUCED)
    assert json.loads((outputs / "quickstart.json").read_text())["clip_seconds"] == 3.0
    page = (outputs / "quickstart.html").read_text()
    assert "data:video/mp4;base64,AAAA" in page
    assert "make lab" in page, "widgets are replaced by a hint"
    assert str(tmp_path) not in page, "the temporary folder is nobody's business"
    assert external_references(page) == []
    for fact in (str(outputs / "quickstart.mp4"), "generate    8.0 s", "2.5 times as fast"):
        assert fact in told
    assert "WARNING" not in capfd.readouterr().err, "the kernel's talk with itself is no news for a reader"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_at", "message"),
    [("cell", "ValueError: the model is missing"), ("json", "did not write quickstart.json")],
)
def test_a_failed_run_leaves_what_was_there(notebook, tmp_path, break_at, message):
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    (outputs / "quickstart.mp4").write_bytes(b"old")
    with pytest.raises(demo.DemoError, match=message):
        demo.make_demo(notebook, outputs, {"break_at": break_at})
    assert [path.name for path in outputs.iterdir()] == ["quickstart.mp4"]
    assert (outputs / "quickstart.mp4").read_bytes() == b"old"


def test_an_unknown_parameter_is_an_error(notebook, tmp_path):
    with pytest.raises(demo.DemoError, match="has no parameter secnds; it has: output_dir, seconds"):
        demo.make_demo(notebook, tmp_path / "outputs", {"secnds": 3.0})
    assert list((tmp_path / "outputs").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(notebook, tmp_path, number):
    outputs = tmp_path / "outputs"
    script = textwrap.dedent(f"""
        import pathlib, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
        sys.path.insert(0, {str(Path(demo.__file__).parent)!r})
        import demo
        demo.NOTEBOOK, demo.OUTPUTS = pathlib.Path({str(notebook)!r}), pathlib.Path({str(outputs)!r})
        sys.argv = ["demo", "-p", "break_at", "hang"]
        sys.exit(demo.main())
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    marker = outputs / "hanging"
    deadline = time.monotonic() + 240  # a busy machine starts kernels slowly
    while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert marker.exists(), "the notebook began"
    marker.unlink()
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted" in told
    assert list(outputs.iterdir()) == []
