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
def test_the_given_beginning_ends_where_the_ball_goes_and_shows_it_all_along(label):
    for index in range(4):
        made, gone = forgetting.unseen_clip(label, index)
        assert gone < len(made.clip)
        seen = ~np.isnan(ball_colours(made.clip.frames)[:, 0])
        assert seen[gone - forgetting.HISTORY : gone].all() and not seen[gone]


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


@pytest.mark.parametrize("sinks", [0, 2])
def test_a_clip_goes_on_from_real_frames_and_a_sink_holds_the_first_of_them(sinks, monkeypatch):
    pipe = pipeline(sinks=sinks)
    sampler = pipe.sampler(forgetting.N)
    video, audio = torch.randn(2, 20, 4, 8, 8), torch.randn(2, 20, 10, 64)
    y, memories, roll = torch.zeros(2, dtype=torch.long), [], type(sampler).roll

    def spy(self, window, sound, generator, y, memory):
        memories.append(memory)
        return roll(self, window, sound, generator, y, memory)

    monkeypatch.setattr(type(sampler), "roll", spy)
    latents, segments = forgetting.continued(pipe, video, audio, y, 26, torch.Generator().manual_seed(0))
    assert latents.shape == (2, 26, 4, 8, 8) and segments.shape == (2, 26, 10, 64)
    torch.testing.assert_close(
        latents[:, :16], video[:, :16]
    )  # 15 before the window, and its clean first frame
    assert not torch.allclose(latents[:, 16], video[:, 16])
    assert len(memories) == 10
    if not sinks:
        assert set(memories) == {None}
        return
    assert [memory.emitted for memory in memories] == list(range(16, 26))
    for memory in memories:
        torch.testing.assert_close(memory.video, video[:, :2])


def test_readings_tell_a_kept_colour_a_changed_one_and_a_ball_that_stays_away():
    made, gone = forgetting.unseen_clip(1, 0)
    hue = round(made.facts["hue"] * 8)
    clip = forgetting.make_clip(forgetting.WORLD, forgetting.UNSEEN_SEED, 0, gone + 25, 1).clip
    mel = MelCodec(n_mels=64, peak=None)
    sound = mel.log_mel(torch.from_numpy(clip.waveform))[0].numpy()[:, 10 * (gone - 20) :]
    frames = clip.frames[gone - 20 :]
    kept = forgetting.read(frames, sound, hue)
    assert kept == {"hue": hue, "gone": 20, "back": 30} | dict.fromkeys(
        ("before", "after", "later", "heard"), hue
    )
    painted = frames.copy()
    painted[30:] = painted[30:][..., [1, 2, 0]]
    figures = {
        name: hit(forgetting.read(painted, sound, hue)) for name, hit in forgetting_view.FIGURES.items()
    }
    assert list(figures.values()) == [False, False, True, True, True]
    found = painted.copy()
    found[32:] = frames[32:]  # the colour is missed for two frames only
    assert forgetting.read(found, sound, hue)["later"] == hue
    away = np.concatenate([frames[:21], np.repeat(frames[20:21], 24, axis=0)])
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
    assert "A guessed colour is right in 12.5%" in printed and printed.count("| window-10+sink | ") == 5


def test_the_curves_are_the_tables():
    """Ten balls for each time out of sight: one comes back in its colour without a sink, more with it."""

    def run(name, right):
        good, bad = (
            {"hue": 3, "back": 30, "after": colour, "later": colour, "heard": 3} for colour in (3, 4)
        )
        return {"setting": name, "seed": 0, "readings": {
            str(hidden): [good] * n + [bad] * (10 - n) for hidden, n in right.items()
        }}  # fmt: skip

    runs = [run("window-10", {5: 1, 40: 1}), run("window-10+sink", {5: 9, 40: 7})]
    assert "| window-10+sink | 90 (60 to 98) | 70 (40 to 89) |" in forgetting_view.table(
        runs, "comes back in its colour"
    )
    sound, colour, back = forgetting_view.curves({"runs": runs}, Figure()).axes
    plain, sink = (container.lines[0] for container in colour.containers)
    assert list(plain.get_ydata()) == pytest.approx([10, 10]) and list(sink.get_ydata()) == pytest.approx(
        [90, 70]
    )
    assert plain.get_linestyle() != sink.get_linestyle() and plain.get_color() == sink.get_color()
    assert [list(container.lines[0].get_ydata()) for container in back.containers] == [[100, 100]] * 2
    assert [list(container.lines[0].get_ydata()) for container in sound.containers] == [[100, 100]] * 2
