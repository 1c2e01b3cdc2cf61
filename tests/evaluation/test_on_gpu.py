"""An evaluation with everything on a GPU, where none is: see `tests/pretend_gpu.py`."""

import pytest

from rflav_lib.evaluate import EvaluateConfig, run_to_the_end
from tests.pretend_gpu import pretend_gpu


def test_it_gives_the_cpu_s_figures(settings, checkpoint, tmp_path):
    row = {"checkpoint": str(checkpoint), "steps": 4}
    rows = [{"name": task, "task": task, **row} for task in ("joint", "a2v", "v2a")]
    configs = [
        EvaluateConfig.from_mapping(
            {**settings, "samples": 4, "rows": rows, "output_dir": str(tmp_path / device)}
        )
        for device in ("cpu", "cuda")
    ]
    here = run_to_the_end(configs[0], "test", progress=False)
    with pretend_gpu():
        there = run_to_the_end(configs[1], "test", progress=False)
    assert here["provenance"]["gpu"] is None and there["provenance"]["gpu"]
    for key in ("real", "rows"):
        ours, theirs = numbers(there[key]), numbers(here[key])
        assert len(theirs) > 10
        assert ours == pytest.approx(theirs, rel=1e-2, abs=1e-2, nan_ok=True)


def numbers(values):
    """All numbers of nested dictionaries and lists, in their order."""
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list):
        return [number for value in values for number in numbers(value)]
    return [values] if isinstance(values, int | float) else []
