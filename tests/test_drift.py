"""The comparison of remedies: what differs between them, what an increase is, and that a run goes on."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from benchmarks import drift
from rflav_lib import experiments
from rflav_lib.media import Clip
from rflav_lib.metrics.longform import WindowFeatures
from rflav_lib.train_config import TrainConfig
from rflav_lib.view import remedies

pytestmark = pytest.mark.usefixtures("quick_vocoder")


def test_every_remedy_is_a_setting_that_training_knows_and_differs_from_the_paper():
    plain = TrainConfig.from_yaml(experiments.BASE, **experiments.FINE_TUNED)
    assert plain.start_from == "outputs/toy-landscape/pipeline" and plain.schedule.transition_probability == 0
    trainings = [remedy.training for remedy in drift.REMEDIES.values() if remedy.training]
    assert len(trainings) >= 4
    for training in trainings:
        config = TrainConfig.from_yaml(experiments.BASE, **experiments.FINE_TUNED, **training)
        assert {key for key, value in vars(config).items() if getattr(plain, key) != value} == set(training)
    assert drift.REMEDIES["warm"].model == "paper" and drift.REMEDIES["warm"].sampling
    costs = {name: remedy.cost for name, remedy in drift.REMEDIES.items()}
    assert costs["paper"] == costs["warm"] == costs["history noise"] == 1
    assert costs["context"] == pytest.approx(1.3) and costs["roll-outs"] == pytest.approx(4 / 3)
    sampling = {name: remedy.sampling_cost for name, remedy in drift.REMEDIES.items()}
    assert sampling["paper"] == sampling["roll-outs"] == sampling["warm"] == 1
    assert sampling["sink and context"] == pytest.approx(1.3) and sampling["guidance"] == 2
    assert costs["memory and transition"] == pytest.approx(1.3)
    guided = "guided sink and context"
    assert costs[guided] == pytest.approx(1.3) and sampling[guided] == pytest.approx(2.6)


def test_parts_are_the_clip_without_the_rest():
    clip = Clip(
        np.arange(25, dtype=np.uint8)[:, None, None, None].repeat(3, 3), np.arange(40_000, dtype=np.float32)
    )
    pieces = drift.parts(clip, 10)
    assert [int(piece.frames[0, 0, 0, 0]) for piece in pieces] == [0, 10]
    assert [(piece.waveform[0], len(piece.waveform)) for piece in pieces] == [(0, 16_000), (16_000, 16_000)]


def windows_moved_by(moves, count=200, seed=0):
    """Features of standard normals; in each window their mean has moved along one axis."""
    values = torch.randn(
        len(moves), count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    values[:, :, 0] += torch.tensor(moves, dtype=torch.float64)[:, None]
    return WindowFeatures(tuple(range(0, 10 * len(moves), 10)), values, 10)


def run_with(moves, seed=0):
    """Figures of one run in which the distance of window w is moves[w] squared, but for noise."""
    reference = torch.randn(4000, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    side = drift.side_figures(windows_moved_by(moves, seed=seed), reference)
    reading = {"asked class seen": {"value": 0.9}, "median size of A/V offset (ms)": {"value": 12.0}}
    return {"picture": side, "sound": side, "trackers": [reading] * len(moves)}


def test_the_increase_is_the_last_window_beyond_the_first_with_an_interval_that_holds_it():
    found = run_with([1.0, 5.0, 2.0])["picture"]
    assert found["value"] == pytest.approx([1, 25, 4], rel=0.15)
    assert found["increase"] == pytest.approx(3, rel=0.15)
    assert len(found["shares"]) == 200 and sum(found["shares"]) == pytest.approx(0, abs=1e-3)
    # sd of |2 + e|^2 - |1 + e'|^2, by hand
    assert np.linalg.norm(found["shares"]) == pytest.approx(0.35, rel=0.2)


def test_a_summary_has_the_interval_that_many_runs_have():
    """The increase of 40 further runs lies where the interval of one run says."""
    increases = [run_with([1.0, 1.2], seed)["picture"]["increase"] for seed in range(10, 50)]
    one = remedies.summary({"paper": {"0": run_with([1.0, 1.2])}})["paper"]["picture"]["increase"]
    assert (one["high"] - one["low"]) / 3.92 == pytest.approx(np.std(increases), rel=0.3)


def test_reports_of_draws_over_all_clips_are_still_summed_up_and_not_mixed_with_others():
    new = run_with([1.0, 2.0])
    side = {key: value for key, value in new["picture"].items() if key != "shares"}
    increase = side["increase"]
    drawn = {**side, "drawn": [increase - 1, increase, increase + 1]}
    old = {**new, "picture": drawn, "sound": drawn}
    found = remedies.summary({"paper": {"0": old}, "sink": {"0": old}})
    assert found["sink"]["picture"]["increase"]["low"] == pytest.approx(increase - 0.95)
    assert found["sink"]["picture"]["increase minus the paper's"]["high"] == pytest.approx(0)
    for runs in ({"paper": {"0": new}, "sink": {"0": old}}, {"paper": {"0": old, "1": new}}):
        with pytest.raises(ValueError, match="measure all with one version of benchmarks/drift.py"):
            remedies.summary(runs)


def test_the_summary_averages_seeds_and_compares_with_the_paper():
    runs = {
        "paper": {"0": run_with([1.0, 2.0]), "1": run_with([1.0, 2.0], seed=1)},
        "context": {"0": run_with([1.0, 1.5])},
    }
    table = remedies.summary(runs)
    row = table["context"]["picture"]
    assert row["increase"]["low"] < row["increase"]["value"] < row["increase"]["high"]
    assert row["increase over the paper's"] == pytest.approx(1.25 / 3, rel=0.25)
    paper = table["paper"]["picture"]
    assert paper["increase over the paper's"] == 1 and len(paper["by_seed"]) == 2
    assert paper["increase"]["value"] == pytest.approx(np.mean(paper["by_seed"]))
    itself = paper["increase minus the paper's"]
    assert list(itself.values()) == pytest.approx([0, 0, 0], abs=1e-12), "resampled by the same draws"
    beside = row["increase minus the paper's"]  # seed 0 alone: the paper's other seed has no partner
    assert beside["low"] < beside["value"] < beside["high"]
    assert beside["value"] == pytest.approx(row["increase"]["value"] - paper["by_seed"][0])
    assert (
        "increase over the paper's" not in remedies.summary({"context": runs["context"]})["context"]["sound"]
    )
    shown = remedies.table(table)
    assert shown.startswith("Intervals: 95 %, over clips, for these very models; what another training")
    first, second = shown.splitlines()[-2:]
    assert first.startswith("| no remedy | ") and "90% / 90% | 12 / 12 |" in first and ") | | " in first
    assert f"| {remedies.shown(beside)} |" in second
    assert remedies.shown({"value": 1.5, "low": -0.251, "high": 3}) == "+1.50 (-0.25 to +3.00)"


def test_the_curves_are_means_over_seeds_window_by_window():
    run = {**run_with([1.0, 5.0, 2.0]), "moved": {"value": [0.0, 1.0, 2.0]}}
    far = {**run, "moved": {"value": [0.0, 3.0, 4.0]}}
    report = {
        "runs": {"paper": {"0": run, "1": far}, "sink": {"0": run}},
        "real": run,
        "setting": {"window": 10},
    }
    figure = remedies.curves(report)
    lines = {line.get_label(): line for line in figure.axes[2].get_lines()}
    assert set(lines) == {"no remedy", "sink", "real"}
    assert [axis.get_ylim()[0] == 0 for axis in figure.axes] == [True, True, True, False], "distances from 0"
    assert all("squared Fréchet" in axis.get_ylabel() for axis in figure.axes[:2])
    given = plt.figure()
    assert remedies.curves(report, given) is given and len(given.axes) == 4
    plt.close(given)
    assert list(lines["no remedy"].get_xdata()) == [1, 2, 3] and list(lines["no remedy"].get_ydata()) == [
        0,
        2,
        3,
    ]
    assert list(figure.axes[3].get_lines()[0].get_ydata()) == [0.9] * 3
    plt.close(figure)


def test_figures_of_other_settings_are_not_taken_for_these(tmp_path):
    def kept(work, *arguments):
        return drift.kept(drift.parse(["--folder", str(tmp_path), *arguments]), "one", work)

    assert kept(lambda: {"value": 3})["value"] == 3
    assert kept(None)["value"] == 3
    with pytest.raises(ValueError, match="one.json: measured with .*'clips': 80.*use another folder"):
        kept(None, "--clips", "10")


def test_what_ends_a_run_is_said_and_what_is_done_is_kept(tmp_path, monkeypatch, capsys):
    done = []

    def run(name, seed, options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append((name, seed))
        return {"setting": drift.setting(options), **run_with([1.0, 2.0])}

    monkeypatch.setattr(drift, "run", run)
    monkeypatch.setattr(drift, "real", lambda options: run_with([0.0, 0.0]))
    out = tmp_path / "out.json"
    command = [
        "--only",
        "paper",
        "sink",
        "--seeds",
        "0",
        "1",
        "--folder",
        str(tmp_path / "f"),
        "--out",
        str(out),
    ]
    assert drift.main(command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert done == [("paper", 0), ("sink", 0)], "a seed of all remedies first"
    assert set(json.loads(out.read_text())["runs"]) == {"paper", "sink"}
    done.clear()
    assert drift.main(command) == 0 and done == [("paper", 1), ("sink", 1)]
    written = json.loads(out.read_text())
    assert {name: list(seeds) for name, seeds in written["runs"].items()} == {
        "paper": ["0", "1"],
        "sink": ["0", "1"],
    }
    assert written["summary"]["paper"]["seeds"] == 2 and "versions" in written
    assert (
        written["remedies"]["sink"]["training"] == {"sink_frames": 2}
        and "| real |" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--windows", "1"], "--windows must be at least 2"), (["--clips", "4"], "--clips must be at least 5"),
     (["--only", "prayer"], "invalid choice: 'prayer'")],
)  # fmt: skip
def test_bad_options_are_refused_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit):
        drift.parse(arguments)
    assert message in capsys.readouterr().err


def test_without_a_model_to_begin_with_it_says_how_to_make_one(tmp_path, monkeypatch, capsys):
    start = {"start_from": str(tmp_path / "none")}
    monkeypatch.setattr(experiments, "FINE_TUNED", {**experiments.FINE_TUNED, **start})
    assert drift.main(["--only", "paper", "--seeds", "0", "--folder", str(tmp_path / "f")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'none'}: no model" in said and "rflav_lib.train configs/toy-landscape.yaml" in said


@pytest.mark.slow
def test_the_whole_of_it_small(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    monkeypatch.setattr(drift, "REFERENCE_CLIPS", 2)
    small = {"start_from": "", "clips": 16, "hidden_size": 24, "depth": 1, "num_heads": 2}
    monkeypatch.setattr(experiments, "FINE_TUNED", {**experiments.FINE_TUNED, **small})
    out = tmp_path / "drift.json"
    assert drift.main(
        ["--only", "paper", "sink and context", "warm", "--seeds", "0", "--steps", "2", "--clips", "5", "--windows",
         "2", "--steps-per-frame", "1", "--folder", str(tmp_path / "f"), "--out", str(out)]
    ) == 0  # fmt: skip
    report = json.loads(out.read_text())
    assert list(report["runs"]) == ["paper", "sink and context", "warm"]
    for runs in (*report["runs"].values(), {"0": report["real"]}):
        assert len(runs["0"]["picture"]["value"]) == len(runs["0"]["trackers"]) == 2
    # the warm stream is the paper's, nine frames later: its first window begins in the paper's first one
    assert report["runs"]["warm"]["0"]["picture"] != report["runs"]["paper"]["0"]["picture"]
    assert sorted(path.name for path in (tmp_path / "f" / "models").iterdir()) == [
        "paper-2",
        "sink-and-context-2",
    ]
    assert report["real"]["sound"]["value"][0] < report["runs"]["paper"]["0"]["sound"]["value"][0]
