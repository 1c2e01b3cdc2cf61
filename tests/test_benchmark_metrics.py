"""The benchmark of the metrics runs and writes what it measured."""

import json

import pytest

from benchmarks import metrics


def test_metrics_are_timed_and_written(tmp_path, capsys, monkeypatch):
    # the real ones take half a minute
    monkeypatch.setattr(metrics, "WIDTHS", dict.fromkeys(metrics.WIDTHS, 12))
    out = tmp_path / "metrics.json"
    metrics.main(["--samples", "40", "--clips", "0", "--out", str(out)])
    printed = capsys.readouterr().out
    assert all(metric.title in printed for metric in metrics.METRICS.values())
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["distances"].keys() == metrics.METRICS.keys() and written["samples"] == 40
    assert all(seconds["value"] > 0 for seconds in written["distances"].values())
    assert "--samples 40" in written["command"] and "torch" in written["provenance"]["versions"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--samples", "1", "--samples must be at least 2, not 1"),
        ("--samples", "0", "--samples must be at least 2, not 0"),
        ("--clips", "-1", "--clips must be at least 0, not -1"),
        ("--clips", "1", "--clips must be at least 2, or 0"),
        ("--batch", "0", "--batch must be at least 1, not 0"),
        ("--threads", "0", "--threads must be at least 1, not 0"),
        ("--device", "foo", "argument --device: invalid choice: 'foo'"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(option, value, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        metrics.main([option, value])
    assert message in capsys.readouterr().err
