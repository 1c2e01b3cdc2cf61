"""Real windows: the same draw from the same seed, none twice, and what was drawn can be read again."""

import json

import numpy as np
import pytest

from rflav_lib.data.toy import make_clip
from rflav_lib.evaluation.sources import Coding, FolderSource, ToyPart, ToySource, Windows, draw, open_source


def toys(clips=10, split="train"):
    return ToySource("toy-landscape", [ToyPart(0, clips, 20)], 16, split)


def test_a_draw_has_a_seed_and_repeats_nothing():
    source = toys()
    assert len(source) == 10 * 5
    drawn = draw(source, "train", 50, 3)
    assert len(set(drawn)) == 50
    assert draw(source, "train", 50, 3) == drawn
    assert draw(source, "train", 50, 4) != drawn
    assert draw(source, "conditions", 50, 3) != drawn, "another stream"
    assert draw(source, "train", 7, 3) == drawn[:7], "a longer list begins with the shorter one"


def test_more_windows_than_there_are_is_an_error_and_no_repetition():
    with pytest.raises(
        ValueError, match="toy-landscape, train: 51 different windows are needed, there are 50"
    ):
        draw(toys(), "train", 51, 0)


def test_a_toy_window_is_a_slice_of_its_clip():
    source = toys()
    window = source.window(3 * 5 + 2)
    assert (window.clip, window.start) == ("0/3", 2)
    whole, read = make_clip("toy-landscape", 0, 3, 20), source.read(window)
    np.testing.assert_array_equal(read.frames, whole.clip.frames[2:18])
    np.testing.assert_array_equal(read.waveform, whole.clip.waveform[2 * 1600 : 18 * 1600])
    assert window.label == source.class_names[whole.label]


def test_a_folder_gives_the_windows_of_its_files(tmp_path):
    for split, name, index in (("train", "a", 0), ("train", "b", 1), ("test", "c", 2)):
        made = make_clip("toy-landscape", 0, index, 18, label=0)
        (tmp_path / split / "bounce").mkdir(parents=True, exist_ok=True)
        made.clip.save(tmp_path / split / "bounce" / f"{name}.mp4")
    source = FolderSource(tmp_path, "train", 16, 32)
    assert (len(source), source.class_names) == (6, ("bounce",))
    window = source.window(4)
    assert (window.clip, window.start, window.label) == ("train/bounce/b.mp4", 1, "bounce")
    clip, item = source.read(window), source.folder[4]
    np.testing.assert_array_equal(clip.frames, item["frames"].numpy())
    np.testing.assert_array_equal(clip.waveform, item["waveform"].numpy())
    assert source.coding == Coding("h264 + aac, as they came", "one") and toys().coding.codec == "none"
    for recipe, coding in (
        ({"crf": 16, "sound": "flac", "channel": "left"}, Coding("H.264 CRF 16 + FLAC", "left")),
        ({"crf": 16}, Coding("H.264 CRF 16 + AAC", "mean")),
    ):
        (tmp_path / "prepare.json").write_text(json.dumps(recipe), encoding="utf-8")
        assert FolderSource(tmp_path, "train", 16, 32).coding == coding


def test_reference_and_control_share_nothing_and_the_held_out_are_other_clips(config):
    seen, unseen = open_source(config), open_source(config, held_out=True)
    windows = Windows.drawn(config, seen, unseen)
    assert (
        len(windows.reference)
        == len(windows.control)
        == len(windows.conditions)
        == len(windows.held_out)
        == 6
    )
    assert not set(windows.reference) & set(windows.control)
    assert not {window.clip for window in windows.held_out} & {seen.window(n).clip for n in range(len(seen))}
    assert Windows.drawn(config, seen, None).held_out == []
