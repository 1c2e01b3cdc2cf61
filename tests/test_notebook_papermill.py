"""Every notebook runs from top to bottom with its small parameters, in papermill as users call it.

One that is small as it is (`{}`) would run here as it does under nbval, so it runs there alone.

Most of a run is loading libraries on one core, so two run beside each other where there are two.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from tests.papermill_runs import AT_ONCE, run

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PATHS = [
    path
    for path in sorted(NOTEBOOKS.glob("*.ipynb")) + sorted(NOTEBOOKS.glob("solutions/*.ipynb"))
    if nbformat.read(path, as_version=4).metadata.get("rflav", {}).get("smoke") != {}
]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[tuple[float, float]]]]:
    """What became of each notebook that was asked for; they are begun in their order."""
    items = (getattr(item, "callspec", None) for item in request.session.items)
    paths = [item.params["path"] for item in items if item and isinstance(item.params.get("path"), Path)]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {
        path: pool.submit(run, path, tmp_path_factory.mktemp(path.stem)) for path in paths if path in PATHS
    }
    pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_runs_small(path: Path, runs: dict, capsys: pytest.CaptureFixture[str]):
    seconds, gigabytes = runs[path].result()
    assert seconds > 0 and gigabytes > 0.3, "torch alone holds more: the kernel's memory is not counted"
    with capsys.disabled():
        print(f"\n  {path.stem}: {seconds:.0f} s, {gigabytes:.1f} GB ", end="")
