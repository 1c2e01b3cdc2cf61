"""The benchmark of forgetting: real beginnings, exact readings, and a memory where the model has one."""

import json

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import forgetting
from rflav_lib import experiments
from rflav_lib.data.toy_tracking.hiding import absences, ball_colours
from rflav_lib.image_codec import encode_frames, load_vae
from rflav_lib.mel import MelCodec
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train_config import TrainConfig
from rflav_lib.transformer import RFLAVTransformer
from rflav_lib.view import forgetting as forgetting_view
from rflav_lib.vocoder import GriffinLim
from tests.golden import open_gates
from tests.test_experiments import TINY


def pipeline(window: int = 5, sinks: int = 0) -> RFLAVPipeline:
    torch.manual_seed(0)
    model = RFLAVTransformer(
        latent_size=8, patch_size=4, hidden_size=24, depth=1, num_heads=2, window=window, n_mels=64, num_classes=4,
        sink_frames=sinks,
    )  # fmt: skip
    mel = MelCodec(n_mels=64, audio_scale=2.0, peak=None)
    names = [f"hidden-{n}" for n in forgetting.HIDDEN_FRAMES]
    vae = load_vae(forgetting.PILLAR["vae"])
    return RFLAVPipeline(model.eval(), vae, mel, GriffinLim.from_codec(mel), class_names=names)


def test_settings_can_be_trained_and_the_sink_is_the_only_difference():
    for name, changes in forgetting.SETTINGS.items():
        config = TrainConfig.from_yaml(experiments.BASE, **{**experiments.SMALL, **changes})
        assert config.window <= forgetting.HISTORY
        if name.endswith("+sink"):
            plain = forgetting.SETTINGS[name.removesuffix("+sink")]
            assert {key: changes[key] for key in changes.keys() - plain.keys()} == forgetting.SINK
            assert {key: changes[key] for key in plain} == plain
    longest = max(forgetting.HIDDEN_FRAMES) + forgetting.HISTORY
    assert longest <= forgetting.LONGEST_PAST <= forgetting.PILLAR["clip_frames"] - 20


@pytest.mark.parametrize("label", range(4))
def test_what_is_given_shows_the_ball_then_hides_it_for_as_long_as_it_should_and_ends_where_it_is_due(label):
    hidden = forgetting.HIDDEN_FRAMES[label]
    for index in range(4):
        made, gone = forgetting.unseen_clip(label, index)
        assert gone + hidden + forgetting.AFTER <= len(made.clip)
        seen = ~np.isnan(ball_colours(made.clip.frames)[:, 0])
        assert seen[gone - forgetting.HISTORY : gone].all() and seen[gone + hidden]
        assert not seen[gone : gone + hidden].any()
    pipe = pipeline()
    picture, sound = forgetting.given(pipe, made, gone, hidden)
    assert picture.shape == (20 + hidden, 4, 8, 8) and sound.shape == (20 + hidden, 10, 64)


def test_the_codec_keeps_the_colours_apart():
    """What a perfect memory would be read as: real clips, through the codec alone."""
    pipe = pipeline()
    for index in range(4):
        made, gone = forgetting.unseen_clip(0, index)
        around = made.clip.frames[gone - 5 :][:16]
        frames = pipe.decode_video(encode_frames(pipe.vae, around)[None])[0]
        hue = round(made.facts["hue"] * 8)
        first = absences(frames)[0]
        assert (first.before, first.after) == (hue, hue) and abs(first.frames - 5) <= 1


def given_and_changed(hidden: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures, sounds, and pictures that differ in what was seen before the ball was hidden, and there alone."""
    video, audio = torch.randn(2, 20 + hidden, 4, 8, 8), torch.randn(2, 20 + hidden, 10, 64)
    other = video.clone()
    other[:, :20] += 1
    return video, audio, other


@pytest.mark.parametrize(("sinks", "hidden"), [(0, 3), (0, 4), (2, 4), (2, 40)])
def test_what_was_seen_reaches_the_return_through_the_window_or_a_sink_and_no_other_way(sinks, hidden):
    """A window of 5 bridges 3 hidden frames. Beyond it the frames that are made may not depend on the ball at all."""
    pipe = pipeline(sinks=sinks)
    open_gates(pipe.transformer)
    y = torch.zeros(2, dtype=torch.long)
    video, audio, other = given_and_changed(hidden)
    one, two = (
        forgetting.continued(pipe, clip, audio, y, 6, torch.Generator().manual_seed(0))
        for clip in (video, other)
    )
    assert one[0].shape == (2, 6, 4, 8, 8) and one[1].shape == (2, 6, 10, 64)
    known = sinks > 0 or hidden <= 3
    for mine, theirs in zip(one, two, strict=True):
        assert torch.equal(mine, theirs) == (not known)


def test_given_frames_stay_the_real_ones_at_every_step(monkeypatch):
    pipe = pipeline(sinks=2)
    video, audio, _ = given_and_changed(hidden=4)
    sampler, calls = type(pipe.sampler(forgetting.N)), []
    velocity = sampler.velocity

    def spy(self, pictures, sounds, t, y, memory):
        calls.append((pictures, sounds, t, memory))
        return velocity(self, pictures, sounds, t, y, memory)

    monkeypatch.setattr(sampler, "velocity", spy)
    forgetting.continued(
        pipe, video, audio, torch.zeros(2, dtype=torch.long), 6, torch.Generator().manual_seed(0)
    )
    assert len(calls) == forgetting.N * (4 + 6), "four rolls until the first frame to be made is at the front"
    mixed = {}  # the noise that each given frame is mixed with, as the first step has it
    for number, (pictures, sounds, t, memory) in enumerate(calls):
        front = 20 + number // forgetting.N  # of 24 given frames, in windows of 5
        for side, clip, window in (("picture", video, pictures), ("sound", audio, sounds)):
            real = clip[:, front:24]
            time = t[:, : real.shape[1]].reshape(2, -1, *[1] * (clip.ndim - 2))
            noise = (window[:, : real.shape[1]] - time * real) / (1 - time)
            torch.testing.assert_close(
                noise, mixed.setdefault(side, noise)[:, front - 20 :], atol=1e-4, rtol=0
            )
        assert memory.emitted == front
        torch.testing.assert_close(memory.video, video[:, :2])


def test_readings_tell_a_kept_colour_a_changed_one_and_a_ball_that_stays_away():
    made, gone = forgetting.unseen_clip(1, 0)
    hue, due = round(made.facts["hue"] * 8), gone + 10
    mel = MelCodec(n_mels=64, peak=None)
    sound = mel.log_mel(torch.from_numpy(made.clip.waveform))[0].numpy()[:, 10 * due :]
    frames = made.clip.frames[due : due + forgetting.AFTER]
    kept = forgetting.read(frames, sound, hue)
    assert kept == {"hue": hue, "late": 0} | dict.fromkeys(("after", "later", "heard"), hue)
    pillar = made.clip.frames[due - 3 : due]
    assert forgetting.read(np.concatenate([pillar, frames]), sound, hue)["late"] == 3
    painted = frames[..., [1, 2, 0]]
    figures = {
        name: hit(forgetting.read(painted, sound, hue)) for name, hit in forgetting_view.FIGURES.items()
    }
    assert figures == {
        "sounds like its colour soon after": True,
        "has its colour soon after": False,
        "comes back in its colour": False,
        "comes back": True,
    }
    found = painted.copy()
    found[2:] = frames[2:]  # the colour is missed for two frames only
    assert forgetting.read(found, sound, hue)["later"] == hue
    away = np.repeat(pillar[:1], forgetting.AFTER, axis=0)
    figures = {name: hit(forgetting.read(away, sound, hue)) for name, hit in forgetting_view.FIGURES.items()}
    assert not any(figures.values())


def test_a_run_measures_goes_on_and_prints_its_tables(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    monkeypatch.setattr(experiments, "SMALL", {**experiments.SMALL, **TINY})
    changes = {"clips": 3, "clip_frames": 26, "longest_past": 6}
    tiny = {
        name: {**setting, **changes} for name, setting in forgetting.SETTINGS.items() if "window-10" in name
    }
    monkeypatch.setattr(forgetting, "SETTINGS", tiny)
    monkeypatch.setattr(forgetting, "HIDDEN_FRAMES", (5,))
    out = tmp_path / "forgetting.json"
    arguments = [
        "--seeds",
        "0",
        "--steps",
        "1",
        "--clips",
        "2",
        "--folder",
        str(tmp_path / "w"),
        "--out",
        str(out),
    ]
    assert forgetting.main(arguments) == 0
    report = json.loads(out.read_text())
    assert [run["setting"] for run in report["runs"]] == ["window-10", "window-10+sink"]
    assert all(len(run["readings"]["5"]) == 2 for run in report["runs"])
    monkeypatch.setattr(forgetting, "run", None)  # nothing is measured twice
    assert forgetting.main(arguments) == 0 and json.loads(out.read_text())["runs"] == report["runs"]
    capsys.readouterr()
    assert forgetting.main(["--table", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "A guessed colour is right in 12.5%" in printed and printed.count("| window-10+sink | ") == 4


def test_the_curves_are_the_tables_and_show_every_seed():
    """Ten balls for each time out of sight and seed: fewer come back in their colour without a sink than with it."""

    def run(name, seed, right):
        good, bad = ({"hue": 3, "late": 1, "after": colour, "later": colour, "heard": 3} for colour in (3, 4))
        return {"setting": name, "seed": seed, "readings": {
            str(hidden): [good] * n + [bad] * (10 - n) for hidden, n in right.items()
        }}  # fmt: skip

    runs = [
        run(name, seed, right)
        for name, by_seed in {
            "window-10": [{5: 1, 40: 1}, {5: 2, 40: 0}],
            "window-10+sink": [{5: 9, 40: 7}, {5: 10, 40: 4}],
        }.items()
        for seed, right in enumerate(by_seed)
    ]
    assert "| window-10+sink | 95 (90, 100) | 55 (70, 40) |" in forgetting_view.table(
        runs, "comes back in its colour"
    )
    sound, colour, back = forgetting_view.curves({"runs": runs}, Figure()).axes
    lines = [line for line in colour.lines if line.get_linestyle() in ("-", "--")]
    assert np.allclose([line.get_ydata() for line in lines[:2]], [[15, 5], [95, 55]])
    plain, sink = lines[:2]
    assert plain.get_linestyle() != sink.get_linestyle() and plain.get_color() == sink.get_color()
    dots = [
        line for line in colour.lines if line.get_marker() == "." and line.get_color() == sink.get_color()
    ]
    assert np.allclose(sorted(y for line in dots for y in line.get_ydata()), [0, 10, 10, 20, 40, 70, 90, 100])
    for axis in (back, sound):
        assert all(
            list(line.get_ydata()) == [100, 100] for line in axis.lines if line.get_linestyle() in ("-", "--")
        )
