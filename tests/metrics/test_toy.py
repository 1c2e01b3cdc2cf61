"""The figures of a toy model: right on cases whose answer is known."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.data.toy_trackers import Tally, Tempo
from rflav_lib.media import Clip
from rflav_lib.metrics import toy
from rflav_lib.metrics.toy import (
    Reading,
    generated_clips,
    read_clip,
    real_clips,
    report,
    summarise,
    table,
    through_codecs,
)
from rflav_lib.metrics.toy.__main__ import main
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def test_real_clips_read_as_what_they_are(pipeline):
    readings = [
        read_clip(make_clip("toy-landscape", 77, i, 40, i % 5).clip, i % 5, pipeline) for i in range(15)
    ]
    figures = summarise(readings)
    assert figures["asked class seen"]["value"] == figures["asked class heard"]["value"] == 1
    assert figures["median size of A/V offset (ms)"]["value"] < 20


def test_a_real_clip_beside_streamed_ones_has_the_sound_that_a_stream_would_give_it(pipeline):
    made = make_clip("toy-landscape", 77, 1, 60, 1).clip
    whole, streamed = (through_codecs(made, pipeline, each) for each in (False, True))
    assert np.array_equal(whole.frames, streamed.frames) and whole.waveform.shape == streamed.waveform.shape
    stream = pipeline.vocoder.stream(batch=1)
    segments = pipeline.mel.encode(torch.from_numpy(made.waveform))
    pieces = [stream.push(pipeline.mel.decode(segments[:, frame : frame + 1])) for frame in range(60)]
    sound = torch.cat([*pieces, stream.flush()], dim=1)[0].numpy()
    assert np.allclose(streamed.waveform, sound, atol=1e-4) and not np.allclose(
        whole.waveform, sound, atol=1e-3
    )


def test_late_sound_is_noticed(pipeline):
    made = make_clip("toy-landscape", 77, 0, 40, 0).clip
    late = Clip(made.frames, np.roll(made.waveform, 1600))
    assert read_clip(late, 0, pipeline).offset_ms - read_clip(made, 0, pipeline).offset_ms == pytest.approx(
        100, abs=20
    )


def test_the_wrong_sound_is_noticed(pipeline):
    bounce, siren = (make_clip("toy-landscape", 77, 0, 40, label).clip for label in (0, 4))
    reading = read_clip(Clip(bounce.frames, siren.waveform), 0, pipeline)
    assert reading.seen == 0 and reading.heard == 4


def test_a_black_and_silent_clip_is_nothing(pipeline):
    empty = Clip(np.zeros((40, 64, 64, 3), np.uint8), np.zeros(64000, np.float32))
    reading = read_clip(empty, 0, pipeline)
    assert reading.seen is None and reading.heard is None and reading.offset_ms is None
    figures = summarise([reading])
    assert figures["asked class seen"]["value"] == 0 and math.isnan(
        figures["median size of A/V offset (ms)"]["value"]
    )


def test_nothing_to_measure_is_a_dash():
    pendulums = summarise([Reading(1, 1, 1, 5.0, Tally(3, 3), Tally(40, 40))])
    assert math.isnan(pendulums["events with the pitch of the picture"]["value"])
    stored = {name: dict.fromkeys(figure) for name, figure in pendulums.items()}
    for each in (pendulums, stored):
        assert "| events with the pitch of the picture | – |" in table({"pendulum": each}), (
            "fresh, and from JSON"
        )
    with pytest.raises(ValueError, match="no readings"):
        summarise([])


def test_the_table_has_a_column_a_set():
    summary = summarise([Reading(0, 0, 1, 12.0, Tally(1, 2))])
    text = table({"generated": summary, "real": summary})
    assert (
        "| asked class seen | 100.0 %" in text
        and "| median size of A/V offset (ms) | 12.0 (12.0-12.0)" in text
        and "| events within 100 ms | 50.0 %" in text
    )
    assert len({line.count(" | ") for line in text.splitlines() if "---" not in line}) == 1


def test_spoilt_clips_fall_in_the_figure_that_was_spoilt(pipeline):
    """Hue turned: pitch. A second ball: objects. Sound 150 ms late: events in time. Each alone."""
    clips = [make_clip("toy-landscape", 78, i, 40, 0).clip for i in range(4)]
    turned = [Clip(np.roll(clip.frames, 1, axis=-1), clip.waveform) for clip in clips]
    doubled = []
    for clip in clips:
        frames = clip.frames.copy()
        frames[:20, 4:14, 4:14] = frames.reshape(-1, 3)[np.ptp(frames.reshape(-1, 3), axis=1).argmax()]
        doubled.append(Clip(frames, clip.waveform))
    late = [Clip(clip.frames, np.roll(clip.waveform, 2400)) for clip in clips]
    names = ("clips with the pitch of the picture", "clips with the right number of objects", "clips in sync")
    expected = {0: clips, 1: turned, 2: doubled, 3: late}
    for spoilt, made in expected.items():
        figures = summarise([read_clip(clip, 0, pipeline) for clip in made])
        assert [figures[name]["value"] for name in names] == [float(i + 1 != spoilt) for i in range(3)], (
            spoilt
        )


def test_dances_are_read_and_an_uneven_beat_is_noticed(pipeline):
    clips = [make_clip("toy-dance", 78, i).clip for i in range(4)]
    real = summarise([read_clip(clip, None, pipeline) for clip in clips])
    assert real["tempo found"]["value"] == real["clips in sync"]["value"] == 1
    assert real["clips with the right number of objects"]["value"] == 1
    assert real["median spread of beats heard"]["value"] < 0.01
    assert "asked class seen" not in real and "asked class heard" not in real
    uneven = []
    for clip in clips:  # a tenth of a second of sound and picture is taken out every second
        keep = np.array([k for k in range(40) if k % 10 != 5])
        sound = clip.waveform.reshape(40, 1600)[keep].reshape(-1)
        uneven.append(Clip(clip.frames[keep], sound))
    jumpy = summarise([read_clip(clip, None, pipeline) for clip in uneven])
    assert jumpy["median spread of beats heard"]["value"] > 0.06
    assert jumpy["median size of A/V offset (ms)"]["value"] < 30  # both were cut, so they still agree


def test_a_tempo_that_is_seen_but_not_heard_is_not_found():
    even, slow = Tempo(120, 0.0), Tempo(100, 0.0)
    pairs = [(even, even), (even, slow), (even, None), (Tempo(60, 0.0), Tempo(60, 0.0))]
    readings = [Reading(None, None, None, 0.0, tempo_seen=a, tempo_heard=b) for a, b in pairs]
    assert summarise(readings)["tempo found"]["value"] == 0.25


def test_readings_come_back_from_json(pipeline):
    for asked, world in ((2, "toy-landscape"), (None, "toy-dance")):
        reading = read_clip(make_clip(world, 78, 0, 20, asked).clip, asked, pipeline)
        assert Reading.from_mapping(json.loads(json.dumps(asdict(reading), allow_nan=False))) == reading


def test_clips_do_not_depend_on_those_before_them(pipeline):
    """Batches have their own seeds: clips 10 to 11 alone are those of a run from the beginning."""
    labels = [i % 5 for i in range(12)]
    whole = list(generated_clips(pipeline, labels, 3, 1, seed=4))
    late = list(generated_clips(pipeline, labels[10:], 3, 1, seed=4, start=10))
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(whole[10:], late, strict=True))
    other = list(generated_clips(pipeline, labels[10:], 3, 1, seed=5, start=10))
    assert not np.array_equal(late[0].waveform, other[0].waveform)
    real = list(real_clips(labels, 3))
    assert np.array_equal(next(real_clips(labels[11:], 3, 11)).frames, real[11].frames)


SMALL = ["--frames", "6", "--steps-per-frame", "1"]


@pytest.fixture
def folder(pipeline, tmp_path):
    pipeline.save_whole(tmp_path / "model")
    return str(tmp_path / "model")


def test_the_command_measures_and_writes(folder, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert main([folder, "--clips", "5", *SMALL, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert {name: len(of) for name, of in report["readings"].items()} == {
        "generated": 5, "real": 5, "real through codecs": 5,
    }  # fmt: skip
    assert (
        report["settings"]["seed"] == 0
        and report["versions"]["torch"]
        and report["command"].startswith("python")
    )
    shown = capsys.readouterr().out
    assert "asked class seen" in shown and "generated, by class" in shown


def test_a_model_without_classes_is_measured_as_a_dancer(tmp_path, capsys):
    tiny_pipeline(num_classes=0).save_whole(tmp_path / "model")
    assert main([str(tmp_path / "model"), "--clips", "2", "--world", "toy-dance", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert "tempo found" in shown and "asked class" not in shown and "by class" not in shown


def test_a_run_goes_on_where_it_stopped_and_ends_with_the_same_readings(
    folder, tmp_path, monkeypatch, capsys
):
    out, straight = tmp_path / "out.json", tmp_path / "straight.json"
    run = [folder, "--clips", "22", *SMALL, "--no-codecs", "--out"]
    real_read, reads = report.read_clip, []

    def stopped(*arguments):
        reads.append(arguments)
        if len(reads) == 27:  # in the second batch: 10 + 10 clips make one
            raise KeyboardInterrupt
        return real_read(*arguments)

    monkeypatch.setattr(report, "read_clip", stopped)
    assert main([*run, str(out)]) == 130
    assert "interrupted after 10 clips" in capsys.readouterr().err
    assert json.loads(out.read_text())["clips"] == 10

    del reads[:], stopped
    monkeypatch.setattr(report, "read_clip", lambda *arguments: (reads.append(1), real_read(*arguments))[1])
    assert main([*run, str(out)]) == 0
    assert len(reads) == 24  # 12 clips, generated and real
    assert main([*run, str(out)]) == 0 and len(reads) == 24  # nothing left to do
    assert main([*run, str(straight)]) == 0
    gone_on, at_once = (json.loads(path.read_text()) for path in (out, straight))
    assert gone_on["readings"] == at_once["readings"] and gone_on["figures"] == at_once["figures"]
    assert [each["from_clip"] for each in gone_on["runs"]] == [0, 10]


def test_a_file_of_another_measurement_is_refused(folder, tmp_path, capsys):
    out = tmp_path / "out.json"
    run = [folder, "--clips", "2", *SMALL, "--no-codecs", "--out", str(out)]
    assert main(run) == 0
    kept = out.read_bytes()
    assert main([*run, "--seed", "1"]) == 2
    assert "measured with seed 0, now 1" in capsys.readouterr().err
    assert main([argument for argument in run if argument != "--no-codecs"]) == 2
    assert out.read_bytes() == kept
    out.write_text('{"figures": {}}')
    assert main(run) == 2
    said = capsys.readouterr().err
    assert "not a measurement of a toy world" in said and "give another --out, or --anew" in said
    assert main([*run, "--anew"]) == 0
    assert json.loads(out.read_text())["readings"] == json.loads(kept)["readings"]


@pytest.mark.parametrize(
    ("option", "value", "kept", "before", "said"),
    [
        ("--guidance-scale", "2", 2.0, 1.0, "guidance 2, float32, seed 0"),
        ("--dtype", "bfloat16", "bfloat16", "float32", "guidance 1, bfloat16, seed 0"),
    ],
)
def test_how_clips_are_sampled_is_a_setting_like_the_others(
    folder, tmp_path, capsys, option, value, kept, before, said
):
    out, name = tmp_path / "out.json", option.removeprefix("--").replace("-", "_")
    run = [folder, "--clips", "2", *SMALL, "--no-codecs", "--out", str(out)]
    assert main([*run, option, value]) == 0
    assert said in capsys.readouterr().out
    assert main(run) == 2
    assert f"measured with {name} {kept}, now {before}" in capsys.readouterr().err
    content = json.loads(out.read_text())
    del content["settings"][name]  # as files from before there was one
    out.write_text(json.dumps(content))
    assert main(run) == 0


def test_the_pipeline_is_asked_as_the_command_was(folder, pipeline, monkeypatch):
    """Whatever the clips are, the pipeline must have been asked for this scale and precision, for all of them."""
    asked = []
    call = type(pipeline).__call__
    monkeypatch.setattr(
        type(pipeline),
        "__call__",
        lambda self, *args, **kw: (
            asked.append((kw["guidance_scale"], kw["dtype"])),
            call(self, *args, **kw),
        )[1],
    )
    run = [folder, "--clips", "1", *SMALL, "--no-codecs"]
    assert main([*run, "--guidance-scale", "3", "--dtype", "bfloat16"]) == main(run) == 0
    assert asked == [(3.0, torch.bfloat16), (1.0, None)]


def test_guidance_makes_other_clips(pipeline):
    (guided,) = generated_clips(pipeline, [1], 3, 1, seed=4, guidance_scale=3.0)
    (plain,) = generated_clips(pipeline, [1], 3, 1, seed=4)
    assert not np.array_equal(guided.waveform, plain.waveform)


def test_guidance_of_a_model_without_classes_is_refused(tmp_path, capsys):
    tiny_pipeline(num_classes=0).save_whole(tmp_path / "model")
    assert main([str(tmp_path / "model"), "--guidance-scale", "2"]) == 2
    assert "a model without classes does not tell its world" in capsys.readouterr().err
    assert main([str(tmp_path / "model"), "--guidance-scale", "2", "--world", "toy-dance"]) == 2
    assert "guidance_scale 2.0 needs classes, and toy-dance has none" in capsys.readouterr().err


def test_a_model_of_no_toy_world_is_refused(tmp_path, capsys):
    tiny_pipeline(num_classes=3).save_whole(tmp_path / "model")
    assert main([str(tmp_path / "model")]) == 2
    assert "not a model of a toy world: 3 classes" in capsys.readouterr().err


def test_a_missing_model_is_one_clear_error(tmp_path, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_unseen_means_unseen():
    """The comparison clips come from a seed of their own."""
    from rflav_lib.data.seeds import CODEC_SEED
    from rflav_lib.train_config import TrainConfig

    assert toy.UNSEEN_SEED not in (CODEC_SEED, TrainConfig().seed)
    with pytest.raises(ValueError, match="seed must be one that is not kept for measuring"):
        TrainConfig(seed=toy.UNSEEN_SEED)
