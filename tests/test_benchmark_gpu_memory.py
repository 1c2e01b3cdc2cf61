"""Memory counted on a GPU that is not there: weights once, working memory by the batch, bad options in one line."""

import json

import pytest
from torch import nn

from benchmarks import gpu_memory
from benchmarks.generation import MODELS
from benchmarks.generation_alone import model_of


def test_shared_weights_are_counted_once():
    layer, twin = nn.Linear(4, 8), nn.Linear(4, 8)
    twin.weight = layer.weight
    assert gpu_memory.held([layer, twin, layer]) == 4 * (32 + 8 + 8)


def test_it_counts_and_writes(tmp_path, capsys):
    out = tmp_path / "memory.json"
    gpu_memory.main(["--model", "tiny", "--batch", "2", "--threads", "1", "--out", str(out)])
    written = json.loads(out.read_text())
    rows = written["samplers"]
    assert "counted, not measured" in capsys.readouterr().out
    assert list(rows) == list(gpu_memory.SAMPLERS) and rows["plain float32"]["of plain"] == 1
    parameters = sum(parameter.numel() for parameter in model_of(MODELS["tiny"], "cpu").parameters())
    assert rows["plain float32"]["weights (MB)"] >= 4 * parameters / 2**20
    assert rows["fast bf16"]["weights (MB)"] < rows["plain float32"]["weights (MB)"]
    assert rows["fast bf16"]["beside them (MB)"] < rows["fast float32"]["beside them (MB)"]
    assert (
        written["settings"] == {"model": "tiny", "batch": 2}
        and "gpu_memory.py --model tiny" in written["command"]
    )


def test_more_clips_need_more_beside_the_same_weights():
    one, three = (gpu_memory.count("fast bf16", MODELS["tiny"], batch) for batch in (1, 3))
    assert one["weights (MB)"] == three["weights (MB)"]
    assert 1.5 * one["beside them (MB)"] < three["beside them (MB)"] < 3.5 * one["beside them (MB)"]


@pytest.mark.parametrize("option", ["--batch", "--threads"])
def test_bad_options_are_refused_in_one_line(option, capsys):
    with pytest.raises(SystemExit):
        gpu_memory.parse([option, "0"])
    assert f"{option} must be at least 1, not 0" in capsys.readouterr().err
