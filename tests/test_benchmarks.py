"""The benchmark's counts against counts by hand; its times only as far as they can be tested."""

import json
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import endless, fusions, media, scales, scales_figure, scales_reading, training, training_loop
from benchmarks import latents as latents_benchmark
from rflav_lib.data.toy import WORLDS
from rflav_lib.evaluation.paper import LETTERS
from rflav_lib.fusion import FUSIONS
from rflav_lib.media import Clip
from rflav_lib.provenance import fingerprint
from tests.tiny import tiny_pipeline

TOY = fusions.SIZES["toy"]


def test_joint_attention_costs_the_flops_that_it_should():
    """(a) has joint attention and two modulations where (b) and (c) have two linear layers on averages."""
    hidden, depth, window = TOY["hidden_size"], TOY["depth"], 10
    sequence = window * ((TOY["latent_size"] // TOY["patch_size"]) ** 2 + 10)
    flops = {fusion: fusions.count_flops(fusion, "toy", batch=1) for fusion in FUSIONS}
    projections = 2 * sequence * hidden * (3 * hidden + hidden)
    attention = 2 * (2 * sequence * sequence * hidden)  # q k, then the weights on v
    modulations = 2 * (2 * window * hidden * 3 * hidden)
    averages = 2 * (2 * window * hidden * hidden)
    assert flops["average"] == flops["conditioned_average"]
    assert flops["joint_attention"] - flops["average"] == depth * (
        projections + attention + modulations - averages
    )
    assert fusions.count_flops("average", "toy", batch=3) == 3 * flops["average"]


def test_working_memory_is_the_peak_of_what_is_held_at_once():
    class Chain(nn.Module):
        def forward(self, x):
            twice = torch.cat([x, x])  # 2
            four_times = torch.cat([twice, twice])  # 2 + 4: the most
            del twice
            return four_times[:1].clone()

    megabyte = torch.zeros(1, 2**18)
    assert fusions.working_bytes(Chain(), (megabyte,)) == pytest.approx(6 * 2**20, rel=0.01)


def test_run_prints_ratios_and_writes_what_stands_behind_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(fusions.SIZES, "toy", {**TOY, "hidden_size": 24, "depth": 1, "num_heads": 2})
    out = tmp_path / "results" / "fusions.json"
    fusions.main(["--repeats", "3", "--seed", "4", "--out", str(out)])
    printed = capsys.readouterr().out
    for fusion, letter in LETTERS.items():
        assert printed.count(f"{letter} {fusion}") == 2
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["setting"]["seed"] == 4 and "--seed 4" in written["command"]
    assert {"processor", "threads", "versions", "commit", "load_before"} <= written["provenance"].keys()
    assert written["provenance"]["versions"]["torch"] == version("torch")
    costs = written["costs"]
    assert all(len(cost["seconds"]) == 3 and min(cost["seconds"]) > 0 for cost in costs.values())
    assert set(costs["conditioned_average"]["ratios"].values()) == {1.0}
    assert costs["joint_attention"]["ratios"]["flops"] > 1
    assert costs["joint_attention"]["working_bytes"] > costs["average"]["working_bytes"] > 0
    assert costs["joint_attention"]["paper_ratios"]["time"] == pytest.approx(3.93, abs=0.01)
    assert costs["joint_attention"]["paper_ratios"]["memory"] == pytest.approx(2.93, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "0"], "--repeats must be at least 1"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--size", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit):
        fusions.parse(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_gpu_is_said_in_one_line(capsys):
    with pytest.raises(SystemExit):
        fusions.parse(["--device", "cuda"])
    assert "torch sees no GPU here" in capsys.readouterr().err


@pytest.mark.slow
def test_endless_measures_every_minute_and_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(endless, "MINUTE", 80)
    tiny_pipeline().save_whole(tmp_path / "tiny")
    out = tmp_path / "endless.json"
    endless.main(
        [
            "--frames",
            "200",
            "--steps-per-frame",
            "1",
            "--checkpoint",
            str(tmp_path / "tiny"),
            "--out",
            str(out),
        ]
    )
    report = json.loads(out.read_text())
    assert report["class"] == "fireworks" and report["weights"] == fingerprint(tiny_pipeline())
    minutes = report["minutes"]
    assert [(minute["frames"], minute["clips"]) for minute in minutes] == [(80, 2), (160, 2), (200, 1)]
    assert all(minute["resident (MB)"] > 50 and minute["frame (ms)"] > 0 for minute in minutes)
    written = json.loads(out.read_text())["verdict"]
    assert written["memory, last minute over second"] > 0.5
    ends = [minute["frame (ms)"] for minute in minutes[:2]]
    assert written["time of a frame, last minute over first"] == round(ends[1] / ends[0], 3), "whole ones"


@pytest.mark.slow
def test_training_compares_every_setting_with_the_plain_loop(tmp_path, capsys):
    out = tmp_path / "training.json"
    settings = ["plain", "bf16+fused", "checkpointing"]
    training.main(
        ["--size", "tiny", "--batch", "8", "--steps", "2", "--settings", *settings, "--out", str(out)]
    )
    written = json.loads(out.read_text())
    figures = written["figures"]
    assert list(figures) == settings
    assert figures["plain"]["times_plain"] == figures["plain"]["memory_of_plain"] == 1
    assert all(len(row["seconds"]) == 2 and 0 < row["loader_share"] < 1 for row in figures.values())
    assert figures["checkpointing"]["peak_bytes"] < figures["plain"]["peak_bytes"]
    for row in figures.values():
        done = written["model_flops_per_sample"] * row["samples_per_second"]
        assert row["model_flops_utilisation"] == pytest.approx(done / written["bf16_matmul_flops_per_second"])
    assert "times plain" in capsys.readouterr().out


def test_the_plain_loop_and_the_library_train_the_same(monkeypatch):
    """Same samples, same maths: after three steps the weights differ by rounding."""
    weights = []
    for setting in ("plain", "fused"):
        config = training_loop.config_of("tiny", setting, 4, "conditioned_average")
        loop = training_loop.Loop(setting, config, torch.device("cpu"))
        for _ in range(3):
            loop.step()
        weights.append(torch.cat([p.detach().flatten() for p in loop.model.parameters()]))
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)


def test_training_s_batch_fits_the_size(monkeypatch):
    """16 windows of the paper's size in float32 are more than any GPU has."""
    sizes = ([], ["--size", "paper"], ["--size", "paper", "--batch", "2"])
    assert [training.parse(arguments).batch for arguments in sizes] == [16, 4, 2]


def test_training_writes_after_each_setting(tmp_path, monkeypatch):
    """What a machine that is taken away has measured is there."""
    out, turns = tmp_path / "training.json", training._take_turns

    def taken_away(group, options):
        if group[0].setting == "fused":
            raise KeyboardInterrupt
        turns(group, options)

    monkeypatch.setattr(training, "_take_turns", taken_away)
    arguments = ["--size", "tiny", "--batch", "2", "--steps", "1", "--one-at-a-time", "--settings", "plain"]
    with pytest.raises(KeyboardInterrupt):
        training.main([*arguments, "fused", "--out", str(out)])
    figures = json.loads(out.read_text())["figures"]
    assert list(figures) == ["plain"] and figures["plain"]["peak_bytes"] > 0


def test_bf16_is_trained_where_it_is_quick(monkeypatch):
    for quick in (True, False):
        monkeypatch.setattr(training, "multiplies_bf16", lambda device, quick=quick: quick)
        assert any("bf16" in name for name in training.parse([]).settings) == quick
        assert {"plain", "fused"} <= set(training.parse([]).settings)
        assert training.parse(["--settings", "bf16"]).settings == ["bf16"]


def test_training_refuses_settings_that_there_are_not(capsys):
    with pytest.raises(SystemExit):
        training.parse(["--settings", "plain", "bf16+fast"])
    assert "'fast' in 'bf16+fast'; there are plain, and bf16, fused" in capsys.readouterr().err


def test_endless_stops_at_a_clip_that_is_not_whole():
    pipeline = tiny_pipeline()
    clip = pipeline(endless.CLIP_FRAMES, 1)[0]
    endless.check(clip, pipeline)
    with pytest.raises(RuntimeError, match="39 frames with 62400 samples"):
        endless.check(clip.part(1), pipeline)


@pytest.mark.slow
def test_scales_measures_sets_goes_on_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scales_reading, "RANGE_CLIPS", 3)
    tiny_pipeline().save_whole(tmp_path / "tiny")
    short = [
        "--clips",
        "10",
        "--frames",
        "12",
        "--steps-per-frame",
        "1",
        "--checkpoint",
        str(tmp_path / "tiny"),
    ]
    conditions, classes = tmp_path / "conditions.json", tmp_path / "classes.json"
    scales.main(["conditions", *short, "--scales", "0", "--out", str(conditions)])
    assert list(json.loads(conditions.read_text())["sets"]) == ["real", "joint", "a2v 0", "v2a 0"]
    begun = conditions.read_text()
    monkeypatch.setattr(scales, "completed", None)  # nothing is made twice
    scales.main(["conditions", *short, "--scales", "0", "--out", str(conditions)])
    assert conditions.read_text() == begun
    tiny_pipeline(window=5).save_whole(tmp_path / "tiny")
    capsys.readouterr()
    assert scales.main(["conditions", *short, "--scales", "0", "--out", str(conditions)]) == 2
    assert "no sweep of these weights" in capsys.readouterr().err, "of another model in the same folder"
    scales.main(["classes", *short, "--scales", "1", "2", "--out", str(classes)])
    sets = json.loads(classes.read_text())["sets"]
    assert list(sets) == ["real", "both 1", "both 2", "video 2", "audio 2"]
    assert sets["real"]["picture as usual"]["value"] > sets["both 1"]["picture as usual"]["value"]
    figure = tmp_path / "scales.png"
    scales_figure.main([str(conditions), str(classes), "--out", str(figure)])
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_scale_that_diverges_is_a_finding_and_other_errors_are_not():
    def fails(text):
        raise ValueError(text)

    found = scales.measured_or_diverged(lambda: fails("latents contain NaN or infinite values"))
    assert "diverged: latents contain NaN" in scales.line("a2v 1e+05", found)
    assert not scales_figure.curves({"a2v 100000": found}), "there is nothing to draw"
    with pytest.raises(ValueError, match="another size"):
        scales.measured_or_diverged(lambda: fails("frames of another size"))


def test_scales_swaps_the_given_side():
    clips = [Clip(np.full((1, 8, 8, 3), n, np.uint8), np.full(1600, n / 10, np.float32)) for n in range(3)]
    for task, side in (("a2v", "sound"), ("v2a", "picture")):
        swapped = scales.swapped(task, clips, 1)
        pictures = [int(clip.frames[0, 0, 0, 0]) for clip in swapped]
        sounds = [round(10 * float(clip.waveform[0])) for clip in swapped]
        assert (sounds if side == "sound" else pictures) == [1, 2, 0]
        assert (pictures if side == "sound" else sounds) == [0, 1, 2]


def test_scales_changes_every_class_to_every_other():
    pairs = scales.changes([n % 5 for n in range(20)])
    assert set(pairs) == {(one, other) for one in range(5) for other in range(5) if one != other}


def test_scales_reads_the_end_of_a_stream_whose_class_was_changed():
    asked = []

    class Stream:
        def __init__(self, steps, frames, y, *options):
            self.y, self.frames = y, frames

        def __next__(self):
            asked.extend([self.y] * self.frames)
            frames = np.full((self.frames, 8, 8, 3), len(asked), np.uint8)
            return Clip(frames, np.zeros(1600 * self.frames, np.float32))

    options = SimpleNamespace(steps_per_frame=2, frames=15, seed=0)
    end = scales.changed((3, 1), 2.0, 0, options, SimpleNamespace(stream=Stream))
    assert asked == [3] * 30 + [1] * 60, "40 frames to turn, 15 to be read, in whole chunks of ten"
    assert len(end) == 15 and end.frames[-1, 0, 0, 0] == 90 and len(end.waveform) == 15 * 1600


def test_scales_refuses_sets_without_all_classes(capsys):
    with pytest.raises(SystemExit):
        scales.parse(["classes", "--clips", "7"])
    assert "--clips must be a multiple of 5, at least 10, not 7" in capsys.readouterr().err


def test_media_measures_speed_and_memory(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(media, "SIZE", 64)
    monkeypatch.setattr(media, "elsewhere", lambda work, *rest, processes=1: [work(*rest)] * processes)
    media.main(["--seconds", "2", "--windows", "4", "--out", str(tmp_path / "media.json")])
    figures = json.loads((tmp_path / "media.json").read_text())["figures"]
    assert len(figures) == 8 and all(figure > 0 for figure in figures.values())
    printed = capsys.readouterr().out
    assert all(name in printed for name in figures)


def test_the_cache_is_measured_against_the_clips_it_was_made_from(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(latents_benchmark, "TOY_CLIPS", 2)
    monkeypatch.setattr(latents_benchmark, "TOY_FRAMES", 10)
    monkeypatch.setattr(latents_benchmark, "DRAWN_CLIPS", 2)
    threads = str(torch.get_num_threads())
    out = tmp_path / "latents.json"
    latents_benchmark.main(["--steps", "1", "--batch", "1", "--threads", threads, "--out", str(out)])
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["frames"] == 20 and set(report["steps"]) == {"from clips", "from the cache"}
    assert all(0 < row["data (s)"] < row["step (s)"] for row in report["steps"].values())
    speed = report["toy clips a second"]
    assert set(speed) == set(WORLDS) and all(rate > 0 for rate in speed.values())
    printed = capsys.readouterr().out
    assert "times as fast" in printed and all(world in printed for world in speed)


@pytest.mark.parametrize(("option", "value"), [("--batch", "0"), ("--steps", "-1"), ("--size", "0")])
def test_the_latents_benchmark_refuses_counts_below_one(option, value, capsys):
    with pytest.raises(SystemExit):
        latents_benchmark.main([option, value])
    assert "must be at least 1" in capsys.readouterr().err


def test_the_latents_benchmark_says_in_one_line_what_is_not_there(tmp_path, capsys):
    assert latents_benchmark.main(["--videos", str(tmp_path / "nope")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'nope' / 'train'}: no such folder")
    with pytest.raises(SystemExit, match="2"):
        latents_benchmark.main(["--device", "foo"])
    assert "argument --device: invalid choice: 'foo'" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"sets": {}}', '{"sets": {"a2v 1": {}}}'])
def test_the_figure_of_another_file_is_refused_in_one_line(tmp_path, content, capsys):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    assert scales_figure.main([str(path), "--out", str(tmp_path / "x.png")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(path) in error and not (tmp_path / "x.png").exists()
