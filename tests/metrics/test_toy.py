"""The figures of a toy model: right on cases whose answer is known."""

import json
import math

import numpy as np
import pytest

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.metrics import toy
from rflav_lib.metrics.toy import (
    Reading,
    main,
    median_with_interval,
    read_clip,
    share_with_interval,
    summarise,
    table,
)
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


def test_wilson_interval():
    """Against the closed form for 10 of 10: low = n / (n + z^2)."""
    share = share_with_interval([True] * 10)
    assert (
        share["value"] == 1
        and share["high"] == pytest.approx(1)
        and share["low"] == pytest.approx(10 / (10 + 1.96**2))
    )


def test_bootstrap_interval_covers_the_median():
    figures = median_with_interval(list(np.random.default_rng(0).normal(5, 1, 400)))
    assert (
        figures["low"] < figures["value"] < figures["high"] and 0.1 < figures["high"] - figures["low"] < 0.5
    )


def test_the_table_has_a_column_a_set():
    summary = summarise([Reading(0, 0, 1, 12.0, 0.5)])
    text = table({"generated": summary, "real": summary})
    assert (
        "| asked class seen | 100.0 %" in text
        and "| median size of A/V offset (ms) | 12.0 (12.0-12.0)" in text
    )
    assert len({line.count(" | ") for line in text.splitlines() if "---" not in line}) == 1


def test_the_command_measures_and_writes(pipeline, tmp_path, capsys):
    folder, out = tmp_path / "model", tmp_path / "out.json"
    pipeline.save_whole(folder)
    assert (
        main([str(folder), "--clips", "5", "--frames", "6", "--steps-per-frame", "1", "--out", str(out)]) == 0
    )
    report = json.loads(out.read_text())
    assert {name: len(of) for name, of in report["readings"].items()} == {
        "generated": 5, "real": 5, "real through codecs": 5,
    }  # fmt: skip
    assert "asked class seen" in capsys.readouterr().out


def test_a_missing_model_is_one_clear_error(tmp_path, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_unseen_means_unseen():
    """The comparison clips come from a seed of their own."""
    from rflav_lib.train_codec import UNSEEN_SEED as CODEC_SEED
    from rflav_lib.train_config import TrainConfig

    assert toy.UNSEEN_SEED not in (CODEC_SEED, TrainConfig().seed)
