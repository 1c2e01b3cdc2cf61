"""The worked examples of CONTRIBUTING.md: the code it shows is code that works here."""

import inspect
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_scripts.published import Remote
from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.toy import CLASSES, WORLDS, add_world, make_clip
from rflav_lib.data.toy_trackers import events_offset
from rflav_lib.evaluate import EvaluateConfig, run_to_the_end, tables
from rflav_lib.fusion import FUSIONS
from rflav_lib.mel import MelCodec
from rflav_lib.metrics.comparison import METRICS, Metric
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train import train
from tests.contributing import birds, energy_distance, metronome, recipes, strongest_fusion, ticking
from tests.fusion_contract import CONTRACT
from tests.media_files import clicks, regular, write_media
from tests.tiny import tiny_config, tiny_pipeline

WORLD = "toy-metronome"


@pytest.mark.parametrize(
    "shown",
    [
        inspect.getsource(metronome),
        inspect.getsource(ticking),
        inspect.getsource(strongest_fusion.StrongestFusion),
        inspect.getsource(energy_distance.energy_distance),
        inspect.getsource(birds),
    ],
    ids=["scene", "tracker", "fusion", "metric", "dataset"],
)
def test_contributing_shows_the_code_that_runs_here(shown):
    assert shown in recipes.blocks("python")


@pytest.mark.parametrize("change", recipes.all_changes(), ids=lambda change: change.path)
def test_every_diff_fits_the_file_that_it_names(change):
    recipes.changed(change.path)


def test_a_diff_that_fits_no_more_is_noticed(monkeypatch):
    monkeypatch.setattr(recipes, "TEXT", "```diff\n--- Makefile\n gone\n+new\n```\n")
    with pytest.raises(AssertionError, match="does not hold once"):
        recipes.changed("Makefile")


# a toy world


@pytest.fixture
def world():
    add_world(WORLD, {"": metronome.metronome})
    yield WORLD
    del WORLDS[WORLD], CLASSES[WORLD]


def test_the_world_s_diff_makes_it_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "rflav_lib.data.toy_scenes.metronome", metronome)
    toy = recipes.executed("rflav_lib/data/toy.py", monkeypatch, recipes.changed("rflav_lib/data/toy.py"))
    assert list(toy.CLASSES) == [*CLASSES, WORLD] and toy.CLASSES[WORLD] == ()
    assert toy.WORLDS[WORLD][""] is metronome.metronome
    ours, theirs = (kind("toy-landscape", 3, 1, 5).clip for kind in (toy.make_clip, make_clip))
    assert ours.frames.tobytes() == theirs.frames.tobytes(), "the worlds before it stay as they are"


def test_the_world_s_clips_are_drawn_and_read_back(world):
    mel = MelCodec(n_mels=64, peak=None)
    for index in range(5):
        made = make_clip(world, 0, index)
        truth = [event.time for event in made.events]
        short = make_clip(world, 0, index, 13)
        assert np.array_equal(short.clip.frames, made.clip.frames[:13])
        assert 0.4 < np.abs(made.clip.waveform).max() < 0.98
        log_mel = mel.log_mel(torch.from_numpy(made.clip.waveform))[0].numpy()
        seen, heard = ticking.seen(made.clip.frames), ticking.heard(log_mel)
        for events in (seen, heard):
            assert [event.time for event in events] == pytest.approx(truth, abs=0.06), (
                "0.05 s at the clip's ends"
            )
        offset = events_offset(seen, heard, 4.0)
        assert abs(offset.seconds) < 0.005 and offset.share == 1
    assert ticking.seen(np.zeros((40, 64, 64, 3), np.uint8)) == []
    assert ticking.heard(mel.log_mel(torch.zeros(64_000))[0].numpy()) == []


def test_the_world_trains_with_a_config_that_names_it(world, tmp_path, monkeypatch):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    (state,) = train(tiny_config(tmp_path, world=world, max_steps=1, checkpoint_every=1))
    assert np.isfinite(state.loss)


@pytest.mark.parametrize(
    ("name", "scenes", "message"),
    [
        ("toy-dance", {"": metronome.metronome}, "there is a world 'toy-dance' already"),
        (WORLD, {}, "give a scene for each class"),
        (WORLD, {"": metronome.metronome, "loud": metronome.metronome}, "a single one under the name ''"),
    ],
)
def test_a_world_that_cannot_be_is_refused(name, scenes, message):
    before = dict(WORLDS)
    with pytest.raises(ValueError, match=message):
        add_world(name, scenes)
    assert before == WORLDS and list(CLASSES) == list(WORLDS)


# a fusion


@pytest.fixture
def fusion(monkeypatch):
    monkeypatch.setitem(FUSIONS, "strongest", strongest_fusion.StrongestFusion)
    return "strongest"


def test_the_fusion_s_diff_makes_it_known(monkeypatch):
    shown = inspect.getsource(strongest_fusion.StrongestFusion)
    source = recipes.changed("rflav_lib/fusion.py", shown, "FUSIONS: dict")
    changed = recipes.executed("rflav_lib/fusion.py", monkeypatch, source)
    assert list(changed.FUSIONS) == [*FUSIONS, "strongest"]
    assert issubclass(changed.FUSIONS["strongest"], changed.AverageFusion)


@pytest.mark.parametrize("holds", CONTRACT, ids=lambda holds: holds.__name__)
def test_the_fusion_keeps_the_contract(fusion, holds):
    holds(fusion)


def test_the_fusion_trains_a_step_and_its_model_is_a_pipeline_again(fusion, tmp_path, monkeypatch):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    config = tiny_config(tmp_path, fusion=fusion, max_steps=1, checkpoint_every=1)
    (state,) = train(config)
    assert np.isfinite(state.loss)
    pipeline = RFLAVPipeline.from_pretrained(config.output_path / "pipeline")
    assert type(pipeline.transformer.blocks[0].fusion) is strongest_fusion.StrongestFusion


# a metric


def test_the_metric_s_diff_makes_it_known(monkeypatch):
    shown = inspect.getsource(energy_distance.energy_distance)
    source = recipes.changed("rflav_lib/metrics/distances.py", shown, "def _check_width(")
    recipes.executed("rflav_lib/metrics/distances.py", monkeypatch, source)
    path = "rflav_lib/metrics/comparison.py"
    comparison = recipes.executed(path, monkeypatch, recipes.changed(path))
    assert comparison.METRICS.keys() - METRICS.keys() == {"energy"}


def test_the_metric_is_what_it_says():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    across = sum((a - b).norm() for a in x for b in y) / 36
    inside = sum((a - b).norm() for z in (x, y) for a in z for b in z) / 30
    assert energy_distance.energy_distance(x, y) == pytest.approx((2 * across - inside).item())


def test_the_metric_stands_in_the_tables(tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "energy", Metric("Energy distance", energy_distance.energy_distance))
    tiny_pipeline().save_whole(tmp_path / "tiny")
    row = {"name": "tiny", "checkpoint": str(tmp_path / "tiny"), "steps": 4}
    settings = {
        "rows": [row], "samples": 4, "batch": 2, "allow_silence": True, "frames": 4, "toy_clips": 20,
        "toy_frames": 6, "resamples": 10, "pairs": 1, "output_dir": str(tmp_path / "run"),
    }  # fmt: skip
    results = run_to_the_end(EvaluateConfig.from_mapping(settings), "test", progress=False)
    figure = results["rows"][0]["figures"]["energy"]
    assert figure["low"] < figure["value"] < figure["high"]
    text = tables([results])
    assert "| Energy distance (stand-in toy watcher) |" in text and f"{figure['value']:.4g} (" in text


# a dataset


def test_the_dataset_s_clips_are_fetched_prepared_and_found(tmp_path, monkeypatch, server):
    video, root = tmp_path / "a.mp4", tmp_path / "birds"
    write_media(video, regular(25, 1.2), 1.2, clicks((0.3,), 1.2, 44100, 2), rate=44100, size=(96, 64))
    archive = tmp_path / "birds.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("train/wren/1.mp4", "train/owl/1.mp4", "test/owl/2.mp4"):
            file.write(video, f"birds/{name}")
    server.body = archive.read_bytes()
    monkeypatch.setattr(birds, "ARCHIVE", replace(birds.ARCHIVE, url=f"{server.site}/birds.zip"))
    assert isinstance(birds.ARCHIVE, Remote)
    for _ in range(2):  # the second time everything is there
        assert birds.main(["fetch", "--root", str(root)]) == 0
        assert birds.main(["prepare", "--root", str(root), "--size", "64", "--workers", "1"]) == 0
    assert len(server.paths) == 1
    assert birds.main(["check", "--root", str(root), "--workers", "1"]) == 0
    clips = ClipFolder(root, "train", strict=True)
    assert clips.class_names == ("owl", "wren") and len(clips.files) == 2
    assert clips[0]["frames"].shape == (10, 64, 64, 3)


def test_a_dataset_that_was_not_fetched_says_so(tmp_path, capsys):
    assert birds.main(["prepare", "--root", str(tmp_path)]) == 1
    assert "no such folder; run fetch first" in capsys.readouterr().err
