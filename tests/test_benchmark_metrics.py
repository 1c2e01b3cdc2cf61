"""The benchmark of the metrics runs and writes what it measured."""

import json

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
