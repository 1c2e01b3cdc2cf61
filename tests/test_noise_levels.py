"""The benchmark of noise levels: who moves a frame, errors by time, and what is made of them."""

import json

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import ablations, noise_levels
from rflav_lib import experiments
from rflav_lib.flow import logit_normal
from rflav_lib.view import noise_levels as view
from tests.test_ablations import ARGUMENTS
from tests.test_experiments import TINY

pytestmark = pytest.mark.usefixtures("quick_vocoder")


@pytest.fixture(autouse=True)
def small_things(monkeypatch, tmp_path):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    monkeypatch.setattr(experiments, "SMALL", {**experiments.SMALL, **TINY, "clip_frames": 20})


@pytest.fixture
def pipes(tmp_path):
    options = noise_levels.parse([*ARGUMENTS, "--folder", str(tmp_path / "work")])
    return noise_levels.pipelines(0, options)


def constant(number):
    """A model whose velocities are all `number`; it notes how often it is asked."""

    def model(video, audio, t, y):
        model.calls += 1
        return torch.full_like(video, number), torch.full_like(audio, number)

    model.calls = 0
    return model


def test_each_frame_is_moved_by_the_model_of_its_time():
    base, uniform = constant(1.0), constant(2.0)
    video, audio, t = (
        torch.zeros(1, 4, 2, 3, 3),
        torch.zeros(1, 4, 5, 6),
        torch.tensor([[0.95, 0.8, 0.5, 0.1]]),
    )
    for velocity in noise_levels.mixed(base, uniform, (0.8, 1.0))(video, audio, t, None):
        assert velocity.flatten(2).unique(dim=2).flatten().tolist() == [2, 2, 1, 1]
    assert base.calls == uniform.calls == 1
    noise_levels.mixed(base, uniform, (0.0, 0.05))(video, audio, t, None)
    noise_levels.mixed(base, uniform, (0.0, 1.0))(video, audio, t, None)
    assert base.calls == uniform.calls == 2, "a model that moves no frame is not asked"


def test_bands_meet_and_lie_where_logit_normal_weighs_less():
    assert [noise_levels.BANDS[name] for name in ("early", "middle", "late")] == [
        (0.0, 0.2),
        (0.2, 0.8),
        (0.8, 1.0),
    ]
    inside, outside = (
        torch.linspace(0.22, 0.78, 50),
        torch.cat([torch.linspace(0.01, 0.2, 50), torch.linspace(0.8, 0.99, 50)]),
    )
    assert (logit_normal(inside) > 1).all() and (logit_normal(outside) < 1).all()


@pytest.mark.parametrize(("band", "which"), [((0.0, 0.0), 0), ((0.0, 1.0), 1)])
def test_a_model_that_moves_all_frames_makes_the_clips_it_makes_alone(pipes, band, which):
    together = noise_levels.clips_by(pipes, band, 2, 12, seed=3)
    alone = experiments.made(pipes[which], 2, 12, ablations.N, seed=3)
    for ours, theirs in zip(together, alone, strict=True):
        assert np.abs(ours.frames.astype(int) - theirs.frames).max() <= 1
    other = experiments.made(pipes[1 - which], 2, 12, ablations.N, seed=3)
    assert np.abs(together[0].frames.astype(int) - other[0].frames).max() > 1


def test_errors_are_those_of_the_velocity_at_every_time(pipes, monkeypatch):
    """A model that says 0 errs by the power of clean minus noise, the same at all times; one that says 5 t errs by
    nearly 25 t^2 more.
    """
    clips, found = experiments.real("toy-landscape", 10, 20), []
    for slope in (0, 5):
        monkeypatch.setattr(
            type(pipes[0].transformer),
            "forward",
            lambda self, video, audio, t, y, slope=slope: tuple(
                slope * t.reshape(*t.shape, *(1,) * (x.ndim - 2)).expand_as(x) for x in (video, audio)
            ),
        )
        found.append(noise_levels.errors(pipes[0], clips))
    for side in experiments.SIDES:
        silent, wrong = (np.array(each[side]) for each in found)
        assert (
            silent.shape == (noise_levels.BINS,)
            and np.ptp(silent) < 0.5 * silent.mean()
            and silent.mean() > 1
        )
        assert (
            abs(wrong[0] - silent[0]) < 1
            and wrong[-1] > silent[-1] + 10
            and np.argmax(wrong) == len(wrong) - 1
        )


def test_a_run_measures_goes_on_and_prints_its_table(tmp_path, capsys, monkeypatch):
    out = tmp_path / "noise_levels.json"
    arguments = [*ARGUMENTS, "--folder", str(tmp_path / "work"), "--out", str(out)]
    assert noise_levels.main([*arguments, "--only", "base", "late", "uniform"]) == 0
    report = json.loads(out.read_text())
    assert [run["setting"] for run in report["runs"]] == ["base", "late", "uniform"]
    assert ["errors" in run for run in report["runs"]] == [True, False, True]
    assert "| 0.8 to 1: late | 1 | " in capsys.readouterr().out
    monkeypatch.setattr(noise_levels, "run", None)  # nothing is measured twice
    assert noise_levels.main([*arguments, "--only", "base", "late", "uniform"]) == 0

    ratios = view.ratios(report, "picture")
    assert ratios.shape == (1, noise_levels.BINS) and (ratios > 0).all()
    assert (ratios != 1).any(), "two models"
    runs = {run["setting"]: run["errors"]["picture"] for run in report["runs"] if "errors" in run}
    assert ratios[0, 3] == pytest.approx(runs["uniform"][3] / runs["base"][3])
    picture, sound = view.curves(report, Figure()).axes
    assert picture.get_title() == "picture" and sound.get_title() == "sound"
    assert np.allclose(picture.lines[-1].get_ydata(), ratios[0]) and picture.lines[-1].get_xdata()[0] == 0.025
