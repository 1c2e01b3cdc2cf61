"""The training comparison: fair to all fusions, and measuring what it says."""

import json

import pytest
import torch

from benchmarks import fusion_training
from rflav_lib.data.toy import CLASSES
from rflav_lib.flow import rolling_flow_loss
from rflav_lib.fusion import FUSIONS
from rflav_lib.transformer import RFLAVTransformer


@pytest.fixture(scope="module")
def experiment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion_training, "HELD_OUT_CLIPS", 10)
        return fusion_training.Experiment(clips=10)


def open_network(fusion="conditioned_average"):
    network = RFLAVTransformer(**fusion_training.MODEL, fusion=fusion)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1, generator=generator)
    return network


def test_batches_are_a_function_of_the_seed(experiment):
    first, again, other = (list(experiment.batches(seed, 2)) for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))
        assert not torch.equal(a.video, c.video)
    assert not torch.equal(first[0].t, first[1].t)


def test_picture_and_sound_of_a_window_belong_together(experiment):
    batch = next(experiment.batches(0, 1))
    found = 0
    for video, audio in zip(batch.video, batch.audio, strict=True):
        for clip in range(10):
            for start in range(fusion_training.CLIP_FRAMES - 9):
                if torch.equal(video, experiment.video[clip, start : start + 10]):
                    found += torch.equal(audio, experiment.audio[clip, start : start + 10])
    assert found == len(batch.video)


def test_held_out_clips_are_others_and_of_the_spread_of_noise(experiment):
    assert experiment.video.std() == pytest.approx(1, abs=0.01) and abs(experiment.video.mean()) < 0.01
    for held_out in experiment.held_out.video:
        assert not any(torch.equal(held_out, trained[:10]) for trained in experiment.video)


def test_measured_losses_are_the_loss_of_training_and_those_with_a_neighbour_s_modality(experiment):
    network, held_out = open_network(), experiment.held_out
    measured = experiment.measure(network)
    with torch.no_grad():
        total = rolling_flow_loss(network, **vars(held_out)).item()
    assert measured["video"] + measured["audio"] == pytest.approx(total, rel=1e-5)
    assert measured["video_with_other_audio"] != measured["video"]
    assert measured["audio_with_other_video"] != measured["audio"]
    labels = torch.arange(len(held_out.video)) % len(CLASSES["toy-landscape"])
    assert (labels != labels.roll(1)).all(), "the neighbour is of another class"


def test_a_deaf_network_does_not_care_about_the_sound(experiment):
    network = open_network()
    with torch.no_grad():
        for block in network.blocks:
            block.fusion.audio_average.weight.zero_()
    measured = experiment.measure(network)
    assert measured["video_with_other_audio"] == pytest.approx(measured["video"], rel=1e-6)
    assert measured["audio_with_other_video"] != pytest.approx(measured["audio"], rel=1e-4)


@pytest.mark.slow
def test_command_trains_all_and_writes_what_stands_behind_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fusion_training, "HELD_OUT_CLIPS", 5)
    monkeypatch.setattr(fusion_training, "EVERY", 2)
    out = tmp_path / "curves.json"
    fusion_training.main(["--steps", "5", "--seeds", "2", "--clips", "5", "--out", str(out)])
    written = json.loads(out.read_text(encoding="utf-8"))
    assert [(run["fusion"], run["seed"]) for run in written["runs"]] == [
        (f, s) for s in (0, 1) for f in FUSIONS
    ]
    for run in written["runs"]:
        assert run["step"] == [0, 2, 4, 5]
        assert run["video"][-1] < run["video"][0] and run["audio"][-1] < run["audio"][0]
    assert "--steps 5" in written["command"] and written["setting"]["steps"] == 5
    assert "torch" in written["provenance"]["versions"]
    assert "wrong sound" in capsys.readouterr().out


def test_bad_options_are_refused_in_one_line(capsys):
    with pytest.raises(SystemExit):
        fusion_training.parse(["--seeds", "0"])
    assert "--seeds must be at least 1, not 0" in capsys.readouterr().err
