"""The ablations' benchmark: every setting changes one thing, runs go on, tables say what the figures say."""

import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks import ablations, ablations_cost
from rflav_lib import experiments
from rflav_lib.data.seeds import GIVEN_SEED, REFERENCE_SEED, control_seed
from rflav_lib.train_config import TrainConfig
from rflav_lib.view import ablations as ablations_view
from rflav_lib.view.style import COLOURS
from tests.test_experiments import TINY

pytestmark = pytest.mark.usefixtures("quick_vocoder")

ARGUMENTS = ["--seeds", "0", "--steps", "2", "--clips", "10", "--frames", "20", "--resamples", "2"]


@pytest.fixture(autouse=True)
def small_things(monkeypatch, tmp_path):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    monkeypatch.setattr(experiments, "SMALL", {**experiments.SMALL, **TINY, "clip_frames": 20})


def test_every_setting_changes_one_thing_and_can_be_trained():
    base = TrainConfig.from_yaml(experiments.BASE, **experiments.SMALL)
    for name, setting in ablations.SETTINGS.items():
        changed = {"steps": setting.steps != ablations.N, "source": setting.source != "joint"}
        assert len(setting.train) + sum(changed.values()) == (name != "base")
        TrainConfig.from_yaml(experiments.BASE, **{**experiments.SMALL, **setting.train})
        assert all(getattr(base, key) != value for key, value in setting.train.items())
    assert ablations_view.CLAIMS.keys() <= ablations.SETTINGS.keys()
    assert {claim.beside for claim in ablations_view.CLAIMS.values()} <= ablations.SETTINGS.keys()


def test_a_run_measures_goes_on_and_prints_its_tables(tmp_path, capsys, monkeypatch):
    costs = {
        name: {"parameters": 2, "operations": 3, "seconds": 4.0, "bytes": 5} for name in ("base", "steps-1")
    }
    monkeypatch.setattr(ablations_cost, "costs", lambda settings: costs)
    out = tmp_path / "ablations.json"
    arguments = [*ARGUMENTS, "--folder", str(tmp_path / "work"), "--out", str(out)]
    assert ablations.main([*arguments, "--only", "real", "base", "a2v"]) == 0
    report = json.loads(out.read_text())
    runs = {run["setting"]: run["figures"] for run in report["runs"]}
    assert list(runs) == ["real", "base", "a2v"]
    assert runs["real"]["class seen"] == runs["real"]["class heard"] == 1
    assert runs["real"]["events within 100 ms"] > 0.95
    assert runs["a2v"]["class heard"] == 1, "its sound is given"
    for side in ("picture", "sound"):
        assert runs["real"][f"{side} distance"]["value"] < runs["base"][f"{side} distance"]["value"]
        assert runs["base"][f"{side} distance"]["windows"] == 10
    assert report["runs"][1]["provenance"]["versions"] and report["setting"]["training steps"] == 2

    monkeypatch.setattr(ablations, "run", None)  # nothing is measured twice
    assert ablations.main([*arguments, "--only", "real", "base", "a2v"]) == 0
    assert json.loads(out.read_text())["runs"] == report["runs"]
    capsys.readouterr()
    assert ablations.main([*arguments, "--only", "base", "--clips", "15"]) == 2
    assert "measured with 10 clips, not 15" in capsys.readouterr().err
    assert ablations.main(["--table", str(out)]) == 0
    assert "| base | 1 | " in capsys.readouterr().out


def runs_of(**distances):
    """Runs whose picture distances by seed are given, and whose sound distance is always 1."""
    return {
        name: {
            seed: {"picture distance": {"value": value}, "sound distance": {"value": 1.0}}
            for seed, value in enumerate(values)
        }
        for name, values in distances.items()
    }


@pytest.mark.parametrize(
    ("theirs", "told", "agrees"),
    [
        ((9.0, 9.2, 8.8), "farther", "yes"),
        ((2.0, 2.2, 1.8), "nearer", "no"),
        ((5.0, 9.0, 1.0), "undecided", "cannot"),
    ],
)
def test_a_verdict_is_given_where_the_interval_of_the_paired_difference_does_not_hold_zero(
    theirs, told, agrees
):
    """The paper has a window of 20 at FVD 77.55 against 50.92: farther."""
    runs = runs_of(**{"base": (5.0, 5.1, 4.9), "window-20": theirs})
    ours, paper = ablations_view.verdict(runs, "window-20", 0)
    assert ours.endswith(told) and paper.startswith(agrees)


def test_no_verdict_from_one_seed_nor_where_the_paper_has_no_figure():
    one = runs_of(**{"base": (5.0,), "window-20": (9.0,), "uniform": (9.0,)})
    assert ablations_view.verdict(one, "window-20", 0)[1] == "cannot tell"
    assert ablations_view.verdict(one, "uniform", 0)[1] == "no figure"
    assert ablations_view.verdict(one, "average", 0) == ("", "")


def test_differences_are_taken_seed_by_seed():
    runs = runs_of(base=(1.0, 11.0, 21.0), average=(2.0, 12.1, 21.9))
    found = ablations_view.difference(runs, "average", "base", "picture distance")
    assert found["value"] == pytest.approx(1) and 0.7 < found["low"] < 0.8 < found["high"] < 1.3


def test_intervals_are_cut_where_no_figure_can_lie():
    assert ablations_view.shown([0.6, 0.9, 1.0], 100, 100) == "83.3 (31.6 to 100)"
    assert ablations_view.shown([1.0, 9.0]) == "5 (0 to 55.8)" and ablations_view.shown([math.nan]) == "-"


def test_the_figure_shows_every_seed_and_colours_what_was_found():
    content = runs_of(**{"base": (5.0, 5.1, 4.9), "window-20": (9.0, 9.2, 8.8), "a2v": (5.0, 9.0, 1.0)})
    runs = [{"setting": name, "seed": s, "figures": f} for name, of in content.items() for s, f in of.items()]
    picture, sound = ablations_view.differences({"runs": runs}, Figure()).axes
    assert [label.get_text() for label in picture.get_yticklabels()] == ["window-20 - base", "a2v - base"]
    dots = [line for line in picture.lines if line.get_marker() == "o"]
    assert np.allclose(dots[0].get_xdata(), [4, 4.1, 3.9]) and sorted(dots[1].get_xdata()) == pytest.approx(
        [-3.9, 0, 3.9]
    )
    colours = [line.get_color() for line in dots]
    assert colours == [COLOURS[1], "0.45"], "farther, and undecided"
    assert len([line for line in sound.lines if line.get_marker() == "o"]) == 1, "the sound of a2v is given"
    assert picture.get_ylim()[0] > picture.get_ylim()[1], "the first row on top, in both panels"


def test_over_seeds_is_students_interval():
    found = experiments.over_seeds([1.0, 2.0, 3.0])
    assert found["value"] == 2 and found["high"] - 2 == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    for equal in ([1.0], [89.0, 89.0, 89.0], [0.1 + 0.2, 0.3], [0.0, 0.0]):
        found = experiments.over_seeds(equal)
        assert math.isnan(found["low"]) and math.isnan(found["high"]), (
            "an interval of no width would say too much"
        )
        assert found["value"] == pytest.approx(equal[0])


def test_costs_follow_the_steps_the_window_and_the_way_back():
    chosen = ("base", "steps-1", "window-5", "a2v")
    costs = ablations_cost.costs({name: ablations.SETTINGS[name] for name in chosen}, repeats=1)
    operations = {name: cost["operations"] for name, cost in costs.items()}
    assert operations["base"] == 4 * operations["steps-1"]
    assert 0.4 < operations["window-5"] / operations["base"] < 0.55
    assert 1.3 < operations["a2v"] / operations["base"] < 2.2  # back to the made side, not to the weights
    assert costs["a2v"]["bytes"] > costs["base"]["bytes"] > costs["window-5"]["bytes"] > 0
    assert all(cost["seconds"] > 0 for cost in costs.values())


@pytest.mark.parametrize(("option", "value"), [("--seeds", "-1"), ("--clips", "9"), ("--frames", "19")])
def test_bad_options_are_refused_in_one_line(option, value, capsys):
    with pytest.raises(SystemExit):
        ablations.parse([option, value])
    assert f"{option} must be at least" in capsys.readouterr().err


def test_real_clips_are_never_the_reference_beside_itself():
    others = {REFERENCE_SEED, GIVEN_SEED}
    seeds = [control_seed(seed) for seed in range(100)]
    assert not others & set(seeds) and len(set(seeds)) == 100
    reference = experiments.real(ablations.WORLD, 5, 20, REFERENCE_SEED)
    for seed in range(3):
        control = experiments.real(ablations.WORLD, 5, 20, control_seed(seed))
        assert not any(np.array_equal(a.frames, b.frames) for a, b in zip(control, reference, strict=True))
