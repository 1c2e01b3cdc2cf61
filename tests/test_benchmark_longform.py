"""The benchmark of long clips on a tiny model, from the command line to the figures drawn from its file."""

import functools
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from benchmarks import longform, longform_text
from rflav_lib import experiments
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.metrics.sync_classifier import train_classifier
from rflav_lib.metrics.toy import world_of
from rflav_lib.view import longform as figures
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Arguments of a run, its report, and the figure that it drew."""
    folder = tmp_path_factory.mktemp("longform")
    tiny_pipeline(num_classes=0).save_whole(folder / "tiny")
    arguments = ["--checkpoint", str(folder / "tiny"), "--world", "toy-dance", "--clips", "2", "--frames", "160",
                 "--stride", "16", "--steps-per-frame", "1", "--dtype", "float32", "--resamples", "5", "--known", "2",
                 "--threads", "1", "--folder", str(folder / "clips"), "--out", str(folder / "report.json"),
                 "--figure", str(folder / "page.png")]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(longform, "train_classifier", functools.partial(train_classifier, clips=6, steps=2))
        patch.setattr(longform, "REFERENCE_CLIPS", 2)
        # an untrained one leaves no loops
        patch.setattr(experiments, "through_codecs", lambda clip, pipe, streamed: clip)
        assert longform.main(arguments) == 0
    return arguments, json.loads((folder / "report.json").read_text()), folder


def test_the_report_holds_everything_with_where_it_comes_from(run):
    arguments, report, folder = run
    assert report["settings"]["real clips"] == "through the codecs"
    assert report["settings"]["world"] == "toy-dance" and report["settings"]["window"] == 4
    assert report["command"].endswith(" ".join(arguments[-2:])) and report["provenance"]["versions"]["torch"]
    assert sum("left out" in curve for curve in report["curves"].values()) == 2  # 2 clips, 64 features
    drift = report["curves"]["drift, stand-in toy watcher"]
    assert drift["starts"] == list(range(0, 145, 16)) and {"jump", "rise", "last", "mean"} < drift.keys()
    assert [name for name in report["loops"] if name.endswith("frames")] == ["120 frames", "160 frames"]
    real = report["loops"]["160 frames"]["real"]
    assert real["share"]["depth"]["value"] == 1, "real dances loop"
    assert real["periods"]["window"] == 4 and len(real["readings"]) == 2
    assert set(report["sync"]) == {"classifier", "offset", "AV-Align", "beats"}
    assert len(list((folder / "clips").glob("*.npz"))) == 2


def test_what_is_printed_says_what_intervals_are_over_and_goes_to_the_last_window(run):
    told = longform_text.lines(run[1])
    assert told[0].startswith("intervals: 95 %, over clips of this very model")
    for step in ("second", "tenth", "last"):
        start = f"drift, stand-in toy listener, climb from the first window to the {step}: generated "
        assert sum(line.startswith(start) for line in told) == 1
    kernel = next(line for line in told if line.startswith("kernel distance"))
    assert "too few clips for an interval" in kernel, "2 clips"


def test_real_clips_went_through_the_codecs_in_turns_of_their_classes(monkeypatch):
    monkeypatch.setattr(experiments, "through_codecs", lambda clip, *args: (args, len(clip), clip.frames))
    found = longform.real_clips("pipe", "toy-landscape", 5, 6, 20)
    assert [each[:2] for each in found] == [(("pipe", True), 20)] * 6
    assert np.array_equal(found[1][2], make_clip("toy-landscape", 5, 1, 20, 1).clip.frames)


def test_a_model_of_another_world_is_not_measured_against_the_nearest(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(longform, "measure", lambda _, options: pytest.fail(f"measured as {options.world}"))
    pipe = tiny_pipeline(num_classes=4)
    pipe.register_to_config(class_names=list(CLASSES["toy-pillar"]))
    pipe.save_whole(tmp_path / "pillar")
    assert longform.main(["--checkpoint", str(tmp_path / "pillar")]) == 2
    assert "4 classes (hidden-5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("world", "classes", "names"),
    [
        ("toy-landscape", 0, ()),
        ("toy-dance", 5, CLASSES["toy-landscape"]),
        ("toy-dance", 5, ()),
        ("toy-pillar", 4, CLASSES["toy-landscape"][:4]),
    ],
)
def test_a_world_that_the_model_is_not_of_is_one_error(world, classes, names, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(longform, "measure", lambda _, options: pytest.fail(f"measured as {options.world}"))
    pipe = tiny_pipeline(num_classes=classes)
    pipe.register_to_config(class_names=list(names))
    pipe.save_whole(tmp_path / "tiny")
    assert longform.main(["--checkpoint", str(tmp_path / "tiny"), "--world", world]) == 2
    told = capsys.readouterr().err
    assert f"--world {world} has " in told and f"this model has {classes} classes" in told


@pytest.mark.parametrize("names", [(), CLASSES["toy-landscape"]])
def test_a_world_of_as_many_classes_fits_a_model_that_names_none(names):
    pipe = tiny_pipeline()
    pipe.register_to_config(class_names=list(names))
    assert world_of(pipe, "toy-landscape") == "toy-landscape"


def test_a_model_without_classes_is_not_guessed_to_be_a_dance(tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(longform, "measure", lambda _, options: asked.append(options.world) or {})
    monkeypatch.setattr(longform, "lines", lambda report: [])
    tiny_pipeline(num_classes=0).save_whole(tmp_path / "tiny")
    run = ["--checkpoint", str(tmp_path / "tiny")]
    assert longform.main(run) == 2 and asked == []
    assert "does not tell its world: name the one" in capsys.readouterr().err
    assert longform.main([*run, "--world", "toy-dance"]) == 0 and asked == ["toy-dance"]


def test_pictures_of_another_size_are_of_no_toy_world(monkeypatch):
    monkeypatch.setattr(type(pipe := tiny_pipeline()), "frame_size", 256)
    for world in (None, "toy-landscape"):
        with pytest.raises(ValueError, match="its pictures have 256 pixels a side, the toy worlds' 64"):
            world_of(pipe, world)


def test_every_figure_is_drawn_from_the_file_alone(run):
    _, report, folder = run
    assert (folder / "page.png").stat().st_size > 50_000
    curves = figures.curves(report)
    titles = [axis.get_title() for axis in curves.axes if axis.get_title()]
    assert len(titles) == 5 and all(len(axis.lines) == 2 for axis in curves.axes if axis.get_title())
    assert len(figures.strips(report).axes) == 4 * 2  # 16 seconds, twelve in a line
    matrix = figures.self_similarity(report).axes[0].images[0].get_array()
    assert matrix.shape == (160, 160) and matrix.max() == 255 and (matrix.diagonal() == 0).all()
    scores = figures.loop_scores(report, "120 frames")
    assert sum(patch.get_height() for patch in scores.axes[0].patches) == 4
    plt.close("all")


def test_bad_input_is_one_line(run, tmp_path, capsys):
    arguments, _, folder = run
    other = [*arguments, "--steps-per-frame", "2"]
    assert longform.main(other) == 2
    assert f"{folder / 'clips'} holds clips of other settings" in capsys.readouterr().err
    assert longform.main(["--checkpoint", str(tmp_path / "none"), "--clips", "2"]) == 2
    assert "no such folder" in capsys.readouterr().err
    for option, value, says in (
        ("--frames", "100", "at least 160"), ("--clips", "1", "at least 2"), ("--stride", "0", "at least 1")
    ):  # fmt: skip
        with pytest.raises(SystemExit):
            longform.parse([option, value])
        assert says in capsys.readouterr().err
