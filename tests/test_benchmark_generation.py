"""The benchmark of generation: every sampler is compared before it is timed, alone, and nothing measured is lost."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import generation, generation_alone, generation_attention, generation_options
from benchmarks.generation_alone import KINDS, PLAIN, Alone, Job, Process, model_of, refusal, relative_error
from rflav_lib import ROOT
from rflav_lib.engine import FastSampler

THREE = ["plain float32", "fast float32", "fast bf16"]
TINY = generation.MODELS["tiny"]


class Here:
    """A `Process` without a process, which takes seconds to begin."""

    def __init__(self, job):
        self.job, self.alone = job, None

    def ask(self, what):
        self.alone = self.alone or Alone(self.job)
        return getattr(self.alone, what)()

    def close(self):
        self.alone = None


@pytest.fixture
def here(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(generation, "Process", Here)
    yield
    torch.set_num_threads(threads)


def measured(tmp_path, *options):
    """Exit code and report of a run of the tiny model, by default of all three samplers, on any processor."""
    out = tmp_path / "speed.json"
    options = options if "--samplers" in options else (*options, "--samplers", *THREE)
    code = generation.main(["--model", "tiny", "--frames", "2", *options, "--out", str(out)])
    return code, json.loads(out.read_text())


def job(sampler, tmp_path):
    return Job(sampler, TINY, 2, 1, torch.get_num_threads(), "cpu", tmp_path / "reference.pt")


def test_it_measures_every_sampler_and_says_where_the_time_goes(tmp_path, capsys, here):
    code, report = measured(tmp_path, "--given", "--profile")
    assert code == 0 and list(report["sampler"]) == list(report["profile"]) == THREE
    for row in report["sampler"].values():
        seconds = [row[key] for key in ("warm-up (s)", "first frame (s)", "further frame (s)")]
        assert min(seconds) > 0 and row["frames/s"] == pytest.approx(1 / seconds[2])
        step = row["GFLOP of a step"] / (seconds[2] / 2)
        assert row["share of matmul peak"] == pytest.approx(step / row["matmul peak (GFLOP/s)"])
    errors = [row["relative error"] for row in report["sampler"].values()]
    assert errors[0] == 0 < errors[1] < 1e-4 and 1e-5 < errors[2] < 5e-2
    assert report["settings"]["allow TF32"]["matmul"] is report["settings"]["allow TF32"]["cudnn"] is False
    for row in (report["given"][task] for task in ("audio_to_video", "video_to_audio")):
        assert list(row) == ["plain float32", "fast float32"] and min(row.values()) > 0
    printed = capsys.readouterr().out
    assert "further frame" in printed and "video_to_audio, further frame" in printed
    for figures in report["profile"].values():
        assert sum(figures["shares of the time"].values()) == pytest.approx(1, abs=0.02)
        assert figures["shares of the time"]["matrix products"] > 0
    plain, fast, bf16 = (figures["GFLOP of a step"] for figures in report["profile"].values())
    conditions = 3 * 24 * 24 * 2 * (6 + 3 + 2 + 2)  # modulations of a block and the outputs, of 3 frames
    times = 2 * 3 * 2 * (256 * 24 + 24 * 24)  # both time embeddings
    assert plain - fast == pytest.approx((conditions + times) / 1e9, rel=1e-6) and fast == bf16
    assert [row["GFLOP of a step"] for row in report["sampler"].values()] == [plain, fast, bf16]


def test_a_sampler_that_errs_is_not_timed(tmp_path, capsys, here, monkeypatch):
    class Wrong(FastSampler):
        def _step(self, video, audio, *rest):
            video, audio = super()._step(video, audio, *rest)
            return video * 1.001, audio

    monkeypatch.setitem(KINDS, "fast float32", replace(KINDS["fast float32"], make=Wrong))
    code, report = measured(tmp_path)
    row = report["sampler"]["fast float32"]
    assert code == 1 and row["relative error"] > 1e-4 and "further frame (s)" not in row
    assert "fast float32 is wrong, and is not timed" in row["refused"]
    assert "and 0.0001 is allowed" in capsys.readouterr().err
    assert all("further frame (s)" in report["sampler"][name] for name in ("plain float32", "fast bf16"))


@pytest.mark.parametrize(("sampler", "limit"), [("fast float32", 1e-4), ("fast bf16", 5e-2)])
def test_what_error_is_allowed(sampler, limit):
    assert refusal(sampler, 0.99 * limit) is None
    assert f"{limit:g} is allowed" in refusal(sampler, 1.01 * limit)
    assert refusal(sampler, math.nan) is not None


def test_errors_are_of_what_moved():
    start, moved = torch.zeros(2, 3), torch.full((2, 3), 2.0)
    wrong = moved.clone()
    wrong[1, 2] += 0.5
    assert relative_error((moved, wrong), (moved, moved), (start, start)) == 0.25
    wrong[0, 0] = math.nan
    assert math.isnan(relative_error((wrong, moved), (moved, moved), (start, start)))
    with pytest.raises(ValueError, match="velocities are zero"):
        relative_error((moved, moved), (moved, start), (start, start))


def test_in_a_model_with_random_weights_every_layer_matters():
    """A fresh one has velocities of zero, and every sampler would be right."""
    model = model_of(TINY, "cpu")
    assert all(parameter.abs().max() > 0 for name, parameter in model.named_parameters() if "weight" in name)
    video, audio, y = generation_alone.first_noise(model, 1, "cpu")
    with torch.no_grad():
        velocities = model(video, audio, torch.rand(1, 3), y)
    assert all(velocity.abs().mean() > 0.01 for velocity in velocities)


@pytest.mark.parametrize("part", ["spatial", "temporal", "audio"])
def test_attention_that_is_left_out_of_one_block_is_noticed(part, tmp_path, monkeypatch):
    """With bf16 too, whose own error is allowed to be large."""
    settings = {**TINY, "hidden_size": 96, "depth": 6, "latent_size": 8}
    plain, fast = (Alone(replace(job(name, tmp_path), settings=settings)) for name in (PLAIN, "fast bf16"))
    plain.warm_up(), plain.compared(), fast.warm_up()
    assert refusal("fast bf16", fast.compared()) is None
    layer = getattr(fast.sampler.network.network.blocks[3], part)
    attend = layer.forward
    monkeypatch.setattr(layer, "forward", lambda *tokens, **how: 0 * attend(*tokens, **how))
    assert refusal("fast bf16", fast.compared()) is not None


def test_what_is_measured_before_the_machine_is_taken_away_is_there(tmp_path, here, monkeypatch):
    ask, out = Here.ask, tmp_path / "speed.json"
    for sampler, what, left in (
        ("fast bf16", "warm_up", {"plain float32": "first frame (s)", "fast float32": "first frame (s)"}),
        ("fast float32", "memory", {"plain float32": "share of matmul peak"}),
        ("fast float32", "profile", dict.fromkeys(THREE, "share of matmul peak")),
    ):

        def taken_away(self, asked, sampler=sampler, what=what):
            if (self.job.sampler, asked) == (sampler, what):
                raise KeyboardInterrupt
            return ask(self, asked)

        monkeypatch.setattr(Here, "ask", taken_away)
        out.unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt):
            measured(tmp_path, "--profile")
        report = json.loads(out.read_text())
        assert all(key in report["sampler"][name] for name, key in left.items())
    assert list(report["profile"]) == ["plain float32"]


def test_one_sampler_without_the_plain_one(tmp_path, here, monkeypatch):
    """It is compared all the same, and with what an earlier run kept."""
    options = "--samplers", "fast float32", "--reference", str(tmp_path / "kept")
    code, report = measured(tmp_path, *options)
    assert code == 0 and list(report["sampler"]) == ["fast float32"]
    assert "times plain" not in report["sampler"]["fast float32"]
    (kept,) = (tmp_path / "kept").iterdir()
    content = torch.load(kept)
    content["rolled"][0][:] += 1
    torch.save(content, kept)
    assert measured(tmp_path, *options)[0] == 1


def test_ratios_are_to_the_plain_sampler():
    rows = {
        PLAIN: {"first frame (s)": 9.0, "further frame (s)": 3.0, "warm-up (s)": 1.0, "peak (MB)": 10.0},
        "fast bf16": {"first frame (s)": 3.0, "further frame (s)": 1.5, "warm-up (s)": 1.0, "peak (MB)": 4.0},
        "compiled bf16": {"refused": "wrong"},
    }
    found = generation.with_ratios(rows)
    assert (found["fast bf16"]["times plain"], found["fast bf16"]["peak over plain"]) == (2, 0.4)
    assert found["compiled bf16"] == rows["compiled bf16"]
    assert "no figures: wrong" in generation.table(found)


@pytest.mark.parametrize(
    ("option", "value"), [("--frames", "0"), ("--batch", "-1"), ("--steps-per-frame", "0")]
)
def test_counts_below_one_are_refused(option, value, capsys):
    with pytest.raises(SystemExit):
        generation.main([option, value])
    assert f"{option} must be at least 1" in capsys.readouterr().err


def test_a_device_that_there_is_not_is_refused(capsys):
    with pytest.raises(SystemExit):
        generation.main(["--device", "foo"])
    assert "argument --device: invalid choice: 'foo'" in capsys.readouterr().err


def test_which_samplers_take_part(capsys, monkeypatch):
    parse = generation.parse
    monkeypatch.setattr(generation_options, "multiplies_bf16", lambda device: False)
    assert parse(["--compiled"]).samplers == [*THREE[:2], "compiled float32"], "bf16 only where it is quick"
    monkeypatch.setattr(generation_options, "multiplies_bf16", lambda device: True)
    assert parse([]).samplers == THREE
    assert parse(["--compiled"]).samplers == [*THREE, "compiled float32", "compiled bf16"]
    assert parse(["--samplers", "fast bf16", PLAIN]).samplers == [PLAIN, "fast bf16"], "the plain one first"
    assert parse(["--samplers"]).samplers == []
    for name, message in (("plain TF32", "only GPUs have TF32"), ("slow", "invalid choice: 'slow'")):
        with pytest.raises(SystemExit):
            parse(["--samplers", name])
        assert message in capsys.readouterr().err


def test_on_a_gpu_tf32_takes_part(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(generation_options, "multiplies_bf16", lambda device: True)
    assert generation.parse(["--device", "cuda"]).samplers == ["plain float32", "plain TF32", *THREE[1:]]


def test_tf32_is_off_but_for_the_sampler_that_is_named_after_it(tmp_path):
    flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        for sampler, allowed in (("plain TF32", True), ("plain float32", False), ("fast float32", False)):
            Alone(job(sampler, tmp_path))
            found = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
            assert found == (allowed, allowed)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = flags


def test_attention_is_timed_in_both_forms_where_it_is_short(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", lambda module, **options: module)
    config, found, written = model_of({**TINY, "latent_size": 10}, "cpu").config, {}, []
    generation_attention.forms(config, 2, "cpu", found, lambda: written.append(list(found)))
    assert written == [["temporal"], ["temporal", "spatial"], ["temporal", "spatial", "audio"]]
    assert [row["sequence"] for row in found.values()] == [3, 25, 30]
    assert found["temporal"]["tokens"] == [3, 2 * 25, 24]
    assert [kind for kind, row in found.items() if "compiled, written out" in row] == ["temporal"]
    for row in found.values():
        assert row["library"] > 0 and row["compiled library"] > 0
        assert "Error" in row["library, cudnn"], "a kernel that is not there is said, and the others go on"


@pytest.mark.slow
def test_a_process_answers_and_its_failure_is_told(tmp_path):
    process = Process(job(PLAIN, tmp_path))
    try:
        assert process.ask("warm_up") > 0 and process.ask("compared") == 0
        with pytest.raises(RuntimeError, match="(?s)plain float32: nothing failed\n.*AttributeError"):
            process.ask("nothing")
        assert process.ask("first") > 0
        memory = process.ask("memory")
        assert sys.platform != "linux" or memory["peak (MB)"] > 50
        process._process.kill()
        with pytest.raises(RuntimeError, match=r"plain float32: its process died \(exit code -9\)"):
            process.ask("further")
    finally:
        process.close()


@pytest.mark.slow
def test_it_runs_without_an_installation_and_without_the_libraries_of_media_files(tmp_path):
    """As on a lent machine: the files alone, from anywhere, and no av."""
    (tmp_path / "av.py").write_text("raise ImportError('there is no av here')\n")
    out = tmp_path / "speed.json"
    script = str(ROOT / "benchmarks" / "generation.py")
    options = ["--model", "tiny", "--frames", "1", "--samplers", "fast float32", "--out", str(out)]
    (tmp_path / "run.py").write_text(
        "import atexit, runpy, sys\n"
        f"sys.argv = {[script, *options]!r}\n"
        "atexit.register(lambda: print(sys.modules['rflav_lib'].ROOT))\n"
        f"if __name__ == '__main__':\n    runpy.run_path({script!r}, run_name='__main__')\n"
    )
    found = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert list(json.loads(out.read_text())["sampler"]) == ["fast float32"]
    assert found.stdout.splitlines()[-1] == str(ROOT), "the files beside it, not those of an installation"
