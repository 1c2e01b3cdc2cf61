"""A whole evaluation with a tiny model: what it writes, that it goes on, and what it refuses."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
import yaml

from rflav_lib.data.toy import make_clip
from rflav_lib.evaluate import EvaluateConfig, evaluate, main, run_to_the_end, tables
from rflav_lib.evaluation.bank import TrainingBank
from rflav_lib.evaluation.config import Row
from rflav_lib.evaluation.features import jobs, parts
from rflav_lib.evaluation.memorisation import HEARD, SEEN
from rflav_lib.evaluation.networks import measures
from rflav_lib.evaluation.run import Evaluation
from rflav_lib.evaluation.sources import ToyPart, ToySource, draw, open_source
from rflav_lib.evaluation.tables import read_run
from rflav_lib.metrics.distances import frechet, kernel_distance
from rflav_lib.metrics.toy_classifier import ToyWatcher
from rflav_lib.pipeline import CONDITION_SCALE, RFLAVPipeline
from rflav_lib.provenance import fingerprint
from tests.evaluation.test_tables import fusions


def results_of(settings, **changes):
    return run_to_the_end(EvaluateConfig.from_mapping({**settings, **changes}), "test", progress=False)


def shards(config):
    return {
        path.relative_to(config.output_path): path.read_bytes()
        for path in config.output_path.rglob("*.safetensors")
    }


@pytest.fixture
def three_tasks(settings, checkpoint):
    row = {"checkpoint": str(checkpoint), "steps": 4}
    return {
        **settings,
        "samples": 4,
        "rows": [{"name": task, "task": task, **row} for task in ("joint", "a2v", "v2a")],
    }


def test_states_tell_how_far_it_is_and_end_with_the_results(config):
    states = list(evaluate(config, "by hand"))
    stages = list(dict.fromkeys(state.stage for state in states))
    assert stages[0] == "opening" and stages[-2:] == ["distances", "done"]
    assert "tiny, generated" in stages
    done = [state.done for state in states if state.stage == "tiny, generated"]
    assert done == [0, 2, 4, 6]
    assert all(state.results is None for state in states[:-1])
    results = states[-1].results
    assert json.loads((config.output_path / "results.json").read_text(encoding="utf-8")) == results
    assert (
        (config.output_path / "tables.md").read_text(encoding="utf-8")
        == states[-1].tables
        == tables([results])
    )
    assert results["command"] == "by hand" and results["config"] == config.as_mapping()
    assert {"processor", "versions", "commit"} <= results["provenance"].keys()
    (row,) = results["rows"]
    assert (row["window"], row["steps_per_frame"], row["fusion"]) == (4, 1, "conditioned_average")
    figure = row["figures"]["fvd"]
    assert figure["low"] < figure["value"] < figure["high"]
    assert (figure["samples"], figure["seed"], figure["codec"]) == (6, 0, "none")
    assert figure["network"].startswith("stand-in toy watcher, sha256 ")
    assert any("6 samples of 64 features" in text and "rank 5 of 64" in text for text in results["warnings"])


def test_figures_are_those_of_the_clips_by_the_library(config):
    results = run_to_the_end(config, "test", progress=False)
    evaluation, watcher = Evaluation(config), ToyWatcher.load()
    sets = {
        key: torch.stack([torch.from_numpy(clip.frames) for clip in evaluation.sets()[key].clips()])
        for key in ("reference", "control", "row-tiny")
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = {key: watcher.features(frames) for key, frames in sets.items()}
        for row, key in ((results["real"], "control"), (results["rows"][0], "row-tiny")):
            for metric, distance in (("fvd", frechet), ("kvd", kernel_distance)):
                assert row["figures"][metric]["value"] == pytest.approx(
                    distance(seen["reference"], seen[key]), rel=1e-4
                )
    window = evaluation.windows.reference[0]
    real = make_clip("toy-landscape", 0, int(window.clip.split("/")[1]), 6)
    np.testing.assert_array_equal(
        sets["reference"][0].numpy(), real.clip.frames[window.start : window.start + 4]
    )


def test_a_sample_is_a_function_of_seed_and_number_alone(settings, checkpoint):
    """In a batch of another size, and by the pipeline alone: the same within rounding."""
    config = EvaluateConfig.from_mapping(settings)
    evaluation = Evaluation(config)
    (sampler,) = evaluation.samplers.values()
    six, fourth = sampler.make(range(6)), sampler.make([3])[0]
    assert np.abs(six[3].frames.astype(int) - fourth.frames).max() <= 1
    # the phases that Griffin-Lim finds for noise follow the last bits
    assert np.corrcoef(six[3].waveform, fourth.waveform)[0, 1] > 0.9
    assert np.abs(six[3].frames.astype(int) - six[4].frames).max() > 5
    pipeline = RFLAVPipeline.from_pretrained(checkpoint)
    assert sampler.facts["weights"] == fingerprint(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    seed = int(np.random.SeedSequence((0, 3)).generate_state(1, np.uint64)[0])
    generator, label = torch.Generator().manual_seed(seed), evaluation.windows.conditions[3].label
    (alone,) = pipeline(num_frames=4, steps_per_frame=1, y=label, generator=generator)
    np.testing.assert_array_equal(alone.frames, fourth.frames)
    assert sampler.make([3])[0].frames.tobytes() == fourth.frames.tobytes()


def test_each_task_keeps_what_is_given_and_measures_what_is_made(three_tasks):
    results = results_of(three_tasks)
    metrics = {row["name"]: list(row["figures"]) for row in results["rows"]}
    assert metrics == {
        "joint": ["fvd", "kvd", "fad_exact", "fad_mmd"], "a2v": ["fvd", "kvd"], "v2a": ["fad_exact", "fad_mmd"]
    }  # fmt: skip
    evaluation = Evaluation(EvaluateConfig.from_mapping(three_tasks))
    for number, window in enumerate(evaluation.windows.conditions):
        given = evaluation.sources["seen"].read(window)
        (a2v,), (v2a,) = (
            evaluation.sets()[key].clips(range(number, number + 1)) for key in ("row-a2v", "row-v2a")
        )
        np.testing.assert_allclose(a2v.waveform, np.clip(given.waveform, -1, 1), atol=1e-6)
        np.testing.assert_array_equal(v2a.frames, given.frames)
        assert np.abs(a2v.frames.astype(int) - given.frames).mean() > 1
    assert "Table 3" in tables([results])
    pictures = sorted(path.name for path in evaluation.folder.glob("*.png"))
    assert pictures == ["memorisation-a2v.png", "memorisation-joint.png"], "of V2A nothing was seen"


def test_guidance_that_runs_away_is_told_with_its_row_and_what_to_do(settings):
    settings = {**settings, "rows": [{**settings["rows"][0], "task": "a2v", "condition_scale": 1e30}]}
    (sampler,) = Evaluation(EvaluateConfig.from_mapping(settings)).samplers.values()
    message = r"samples 2 to 3: what the model made is NaN or infinite: try a condition_scale below 1e\+30$"
    with pytest.raises(ValueError, match=message):
        sampler.make(range(2, 4))


def test_a_given_side_guides_by_the_pipelines_scale_unless_told(settings):
    row = {**settings["rows"][0], "task": "v2a"}
    assert Row(**row).condition_scale == CONDITION_SCALE
    assert Row(**{**row, "condition_scale": 0.0}).condition_scale == 0


def test_the_picture_is_of_the_closest_pair(config):
    run_to_the_end(config, "test", progress=False)
    content = (config.output_path / "memorisation-tiny.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 5000


PARTS = [[0, 12, 6], [1, 8, 7]]


def judged(settings, monkeypatch, make, lossless=True, **changes):
    """What the check says of a "model" that makes `make(evaluation, number)`; and the tables.

    Its codecs lose nothing, or are the tiny model's random ones.
    """
    evaluation = Evaluation(EvaluateConfig.from_mapping({**settings, "samples": 12, **changes}))

    def made(self, numbers):
        return [make(evaluation, number) for number in numbers]

    def spared(self, source, windows, numbers):
        return [source.read(windows[number]) for number in numbers]

    monkeypatch.setattr("rflav_lib.evaluation.sampling.RowSampler.make", made)
    if lossless:
        monkeypatch.setattr("rflav_lib.evaluation.sampling.RowSampler.coded", spared)
    results = run_to_the_end(evaluation.config, "test", progress=False)
    return results["rows"][0]["memorisation"], tables([results])


def memorised(evaluation, number):
    """A training window from anywhere: of both parts, at any start."""
    source = ToySource("toy-landscape", [ToyPart(*part) for part in PARTS], 4, "train")
    return source.read(draw(source, "train", 12, 99)[number])


def test_a_perfect_memoriser_is_noticed_among_all_training_clips(settings, monkeypatch):
    found, text = judged(settings, monkeypatch, memorised, training=PARTS)
    assert list(found) == [SEEN.name, HEARD.name]
    for space, figure in found.items():
        assert figure["median"] == pytest.approx(0, abs=1e-5) and figure["median_unseen"] > 0, space
    assert found[SEEN.name]["chance"] == 1 and found[SEEN.name]["low"] == 1
    assert "nearer to training than unseen clips are" in text
    assert "the nearest of 68 windows from toy-landscape, all training clips" in text


def test_a_bank_of_drawn_windows_misses_it_and_says_so(settings, monkeypatch):
    """24 windows, of the first part alone."""
    found, text = judged(settings, monkeypatch, memorised, toy_clips=60)
    assert found[SEEN.name]["chance"] < 0.9
    assert found[SEEN.name]["copies"]["chance"] < 0.75
    assert "the nearest of 24 windows drawn from toy-landscape, train" in text


def test_unseen_clips_are_not_taken_for_copies(settings, monkeypatch):
    def unseen(evaluation, number):
        source = evaluation.sources["held-out"]
        return source.read(draw(source, "train", 12, 99)[number])

    found, _ = judged(settings, monkeypatch, unseen, training=PARTS)
    for space, figure in found.items():
        assert figure["low"] <= 0.5 <= figure["high"], space


def test_the_power_is_that_of_training_windows_through_the_codecs_of_the_model(settings, monkeypatch):
    """With codecs that lose nothing all copies are found; the tiny model's random ones leave nothing to find."""
    found, _ = judged(settings, monkeypatch, memorised, lossless=False, training=PARTS)
    assert found[SEEN.name]["copies"]["chance"] < 0.75
    evaluation = Evaluation(EvaluateConfig.from_mapping({**settings, "samples": 12, "training": PARTS}))
    kinds = sorted(key.rpartition("-")[0] for key in evaluation.coded_sets())
    assert kinds == ["copies", "held-out"], "rows of one checkpoint share them"
    shutil.rmtree(evaluation.folder)
    exact, _ = judged(settings, monkeypatch, memorised, training=PARTS)
    assert exact[SEEN.name]["copies"]["chance"] == 1
    assert {window.clip.split("/")[0] for window in evaluation.windows.copies} == {"0", "1"}, "of all parts"


def test_what_the_codecs_lose_is_not_held_against_the_samples(settings, monkeypatch):
    """Unseen clips through the codecs, as samples of a perfect model: as far from training as those beside them."""

    def unseen(evaluation, number):
        source, (sampler,) = evaluation.sources["held-out"], evaluation.samplers.values()
        return sampler.coded(source, draw(source, "train", 12, 99), [number])[0]

    found, _ = judged(settings, monkeypatch, unseen, lossless=False, training=PARTS)
    for space, figure in found.items():
        assert figure["low"] <= 0.5 <= figure["high"], space


def test_without_resamples_the_tables_are_the_same_from_json(settings):
    config = EvaluateConfig.from_mapping({**settings, "resamples": 0})
    results = run_to_the_end(config, "test", progress=False)
    text = tables([results])
    assert tables([read_run(config.output_path / "results.json")]) == text
    assert all(
        line.endswith("| – |") for line in text.splitlines() if "| pixels," in line or "| loudness" in line
    )


def test_fewer_held_out_windows_than_samples_are_all_taken(settings, monkeypatch):
    """AIST++ has 20 test clips, and some 1,600 windows of them."""
    few = ToySource("toy-landscape", [ToyPart(2_000_003, 3, 6)], 4, "unseen")
    monkeypatch.setattr(
        "rflav_lib.evaluation.run.open_source",
        lambda config, held_out=False: few if held_out else open_source(config),
    )
    found, text = judged(settings, monkeypatch, memorised, training=PARTS)
    assert found[SEEN.name]["chance"] == 1
    assert "8 windows of 3 clips that no training saw, sent through the model's codecs" in text


def test_a_bank_that_is_there_is_not_made_again_and_a_damaged_shard_is(settings, monkeypatch):
    settings = {**settings, "training": PARTS}
    first = results_of(settings)
    shards_of = sorted((EvaluateConfig.from_mapping(settings).output_path / "bank").iterdir())
    assert len(shards_of) == 2
    before = shards_of[1].read_bytes()
    shards_of[1].write_bytes(before[:-1])
    made, write = [], TrainingBank.write
    monkeypatch.setattr(
        TrainingBank, "write", lambda self, shard: made.append(shard.part) or write(self, shard)
    )
    assert results_of(settings) == first and made == [ToyPart(1, 8, 7)]
    assert shards_of[1].read_bytes() == before


@pytest.mark.slow
def test_real_against_real_is_nearer_than_noise_and_a_set_is_near_itself(settings):
    """With more samples than features; the untrained model makes noise."""
    results = results_of(settings, samples=70, batch=35, toy_clips=200, resamples=20)
    real, noise = (row["figures"]["fvd"] for row in (results["real"], results["rows"][0]))
    assert results["warnings"] == []
    assert real["high"] < noise["low"]
    published = results["real"]["figures"]["fad_mmd"]
    assert abs(published["self_distance"]) < 1e-4 * published["value"]
    kvd = results["real"]["figures"]["kvd"]
    assert kvd["low"] < 0 < kvd["high"], "two draws of the same clips"


def test_what_is_there_is_not_made_again_and_what_is_damaged_is(config, monkeypatch):
    first = run_to_the_end(config, "test", progress=False)
    before, damaged = shards(config), Evaluation(config).sets()["row-tiny"].path(range(2, 4))
    damaged.write_bytes(damaged.read_bytes()[:1000])
    made = []
    original = Evaluation.row_sets

    def counted(self):
        return {
            key: (clips, lambda numbers, make=make: made.append(list(numbers)) or make(numbers))
            for key, (clips, make) in original(self).items()
        }

    monkeypatch.setattr(Evaluation, "row_sets", counted)
    with pytest.warns(UserWarning, match="000002-000003.safetensors: cut short or damaged"):
        again = run_to_the_end(config, "test", progress=False)
    assert made == [[2, 3]]
    assert again == first and shards(config) == before


def test_more_samples_go_on_from_fewer(settings):
    config = EvaluateConfig.from_mapping(settings)
    run_to_the_end(config, "test", progress=False)
    before = shards(config)
    more = results_of(settings, samples=8)
    assert more["real"]["figures"]["fvd"]["samples"] == 8
    assert before.items() <= shards(config).items()


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_json(settings, tmp_path):
    """SIGKILL after the first shard of the samples, and again among them."""
    settings = {**settings, "samples": 12}
    whole = EvaluateConfig.from_mapping({**settings, "output_dir": str(tmp_path / "whole")})
    expected = run_to_the_end(whole, "python -m rflav_lib.evaluate", progress=False)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    folder = tmp_path / "run" / "clips" / "row-tiny"
    command = [sys.executable, "-m", "rflav_lib.evaluate", str(path)]
    for wanted in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(folder.glob("0*.safetensors"))) < wanted:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "run" / "results.json").exists()
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    for results in (expected, found):
        del results["command"], results["config"]["output_dir"], results["provenance"]["commit"]
    assert found == expected
    assert (tmp_path / "run" / "tables.md").read_text() == (tmp_path / "whole" / "tables.md").read_text()


@pytest.mark.slow
def test_two_processes_make_what_one_makes(settings, tmp_path):
    config = EvaluateConfig.from_mapping(settings)
    torch.set_num_threads(1)  # as the launcher gives each process: on their number the last bits depend
    alone = run_to_the_end(config, "test", progress=False)
    expected = shards(config)
    shutil.rmtree(config.output_path)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run([*launcher, "-m", "rflav_lib.evaluate", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Table 2") == 1, "one of them speaks"
    assert shards(config) == expected
    together = json.loads((config.output_path / "results.json").read_text(encoding="utf-8"))
    assert {**together, "command": "test"} == alone


def command_line(settings, tmp_path, *arguments):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return main([str(path), *arguments])


def test_the_command_line_prints_the_tables(settings, tmp_path, capsys):
    assert command_line(settings, tmp_path, "samples=4") == 0
    out = capsys.readouterr().out
    assert "| real against real, from the same clips |" in out and "| tiny, 4 steps |" in out
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert results["command"] == f"python -m rflav_lib.evaluate {tmp_path / 'config.yaml'} samples=4"
    starts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["starts"]
    assert [start["seed"] for start in starts] == [0]


def test_a_dry_run_makes_nothing(settings, tmp_path, capsys):
    assert command_line(settings, tmp_path, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "window 4, N = 1: 7 forwards a sample; 6 of 6 samples to make" in out
    assert "stand-in toy watcher" in out and "60 windows" in out
    assert not (tmp_path / "run").exists()


BAD = {
    "too few windows": ({"toy_clips": 3}, "12 different windows are needed, there are 9"),
    "no such checkpoint": ({"rows": [{"name": "x", "checkpoint": "/no/where", "steps": 4}]}, "/no/where"),
    "steps": ({"steps": 5}, "5 steps from noise to clean are no multiple of the window of"),
    "size": ({"source_size": 32}, "clips are 64x64, but source_size is 32"),
    "other classes": ({"data": "toy-dance"}, "has 5 classes .bounce, .*toy-dance, train has 0"),
    "no weights": (
        {"networks": "published"},
        "no weights at .*i3d_pretrained_400.pt: python -m data_scripts.weights",
    ),
    "no data": ({"data": "no/videos", "networks": "stand-ins"}, "no/videos/train: no such folder"),
    "lengths": ({"frames": 7}, "toy_frames must be at least `frames`"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_error(settings, tmp_path, capsys, monkeypatch, change, words):
    monkeypatch.setenv("RFLAV_WEIGHTS", str(tmp_path / "weights"))
    change = dict(change)
    if "steps" in change:
        change = {"rows": [{**settings["rows"][0], "steps": change["steps"]}]}
    assert command_line({**settings, **change}, tmp_path) == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("error: ")
    assert re.search(words, error), error


def test_wrong_weights_are_refused_before_anything_is_made(settings, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RFLAV_WEIGHTS", str(tmp_path))
    (tmp_path / "i3d").mkdir()
    (tmp_path / "i3d" / "i3d_pretrained_400.pt").write_bytes(b"another file")
    assert command_line({**settings, "networks": "published"}, tmp_path) == 2
    assert "that of the published file a867b87a" in capsys.readouterr().err
    assert not (tmp_path / "run" / "clips").exists()


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "fusions: .*costs.json: no such file"), ("{}", "costs.json: no tables can be made of it")],
)
def test_costs_of_fusions_are_read_before_anything_is_made(
    settings, tmp_path, capsys, arguments, content, words
):
    if content is not None:
        (tmp_path / "costs.json").write_text(content)
    assert command_line({**settings, "fusions": str(tmp_path / "costs.json")}, tmp_path, *arguments) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert error.startswith("error: ") and re.search(words, error), error
    assert not (tmp_path / "run" / "clips").exists()


def test_costs_of_fusions_stand_in_the_tables(settings, tmp_path):
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps(fusions()))
    results_of(settings, fusions=str(costs), samples=4)
    assert "**Table 1.A: cost of the three fusions**" in (tmp_path / "run" / "tables.md").read_text()


def test_samples_must_fill_the_batches_of_a_network_that_depends_on_them(
    settings, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("rflav_lib.metrics.toy_classifier.ToyListener.batch_size", 4)
    assert command_line(settings, tmp_path) == 2
    assert "samples must be a multiple of 4, not 6: stand-in toy listener" in capsys.readouterr().err
    assert not (tmp_path / "run" / "clips").exists()


def test_another_config_in_the_same_folder_is_refused(settings, tmp_path, capsys):
    assert command_line(settings, tmp_path) == 0
    for change, words in (
        ("seed=1", "windows are others now"),
        ("size=32", "resize: '64x64, as it came', now '64x64 to 32x32, bicubic, antialias'"),
    ):
        capsys.readouterr()
        assert command_line(settings, tmp_path, change) == 2
        assert words in capsys.readouterr().err
    rows = [{**settings["rows"][0], "steps": 8}]
    assert command_line({**settings, "rows": rows}, tmp_path) == 2
    assert "steps: 4, now 8" in capsys.readouterr().err
    assert command_line(settings, tmp_path) == 0, "set back, it goes on"


def test_silent_clips_and_features_that_are_not_finite_are_named(settings, tmp_path, capsys, monkeypatch):
    def silent(self, window):
        clip = make_clip("toy-landscape", 0, 0, 4).clip
        return type(clip)(clip.frames, np.zeros_like(clip.waveform))

    settings = {**settings, "allow_silence": False}
    with monkeypatch.context() as patch:
        patch.setattr("rflav_lib.evaluation.sources.ToySource.read", silent)
        assert command_line(settings, tmp_path) == 2
    assert "'toy-landscape, train, real (reference)': clip 0 is silent" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "run")
    settings["allow_silence"] = True
    monkeypatch.setattr(ToyWatcher, "features", lambda self, batch: torch.full((len(batch), 64), torch.nan))
    assert command_line(settings, tmp_path) == 2
    assert "the features of clip 0 are not finite" in capsys.readouterr().err


def test_features_of_another_origin_are_refused(settings, config, tmp_path, capsys):
    assert command_line(settings, tmp_path) == 0
    evaluation = Evaluation(config)
    watcher, listener = measures("toy")
    clips = evaluation.sets()["reference"]
    (seen,), (heard,) = (
        jobs(clips, measure, tmp_path / "run" / "features") for measure in (watcher, listener)
    )
    shutil.copy(heard.path, seen.path)
    capsys.readouterr()
    assert command_line(settings, tmp_path) == 2
    assert "holds features of another origin (network: 'stand-in toy listener" in capsys.readouterr().err


def test_parts_cover_every_clip_once_and_none_is_too_small():
    for samples in (2, 255, 256, 257, 511, 512, 2048, 2049):
        found = parts(samples)
        assert [number for part in found for number in part] == list(range(samples))
        assert all(len(part) >= 2 for part in found)
        assert all(part.start % 8 == 0 for part in found), "batches of 8 stay together"
