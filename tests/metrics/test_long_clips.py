"""Long clips: each a function of seed and number alone, kept whole, and made on where a run was stopped."""

from dataclasses import replace

import numpy as np
import pytest

from rflav_lib.metrics.long_clips import LongSettings, label_of, long_clip, long_clips
from tests.tiny import tiny_pipeline

SETTINGS = LongSettings("tiny", frames=12, steps_per_frame=1, dtype="float32", seed=3)


def same(first, second):
    return np.array_equal(first.frames, second.frames) and np.array_equal(first.waveform, second.waveform)


def test_a_run_goes_on_and_clips_do_not_depend_on_what_was_made_before(tmp_path):
    pipe = tiny_pipeline()
    two = long_clips(pipe, 2, SETTINGS, tmp_path, progress=False)
    assert [len(clip) for clip in two] == [12, 12] and len(two[0].waveform) == 12 * 1600
    assert not same(*two)
    written = (tmp_path / "00001.npz").stat().st_mtime_ns
    (tmp_path / "00000.npz").unlink()
    three = long_clips(pipe, 3, SETTINGS, tmp_path, progress=False)
    assert same(three[0], two[0]) and same(three[1], two[1]), "made anew, and read: the same"
    assert (tmp_path / "00001.npz").stat().st_mtime_ns == written, "what is there is not made again"
    assert same(long_clip(pipe, 2, SETTINGS), three[2])
    assert not same(long_clip(pipe, 2, replace(SETTINGS, seed=4)), three[2])


def test_clips_of_other_settings_are_not_mixed(tmp_path):
    pipe = tiny_pipeline()
    long_clips(pipe, 1, SETTINGS, tmp_path, progress=False)
    with pytest.raises(ValueError, match="steps_per_frame 1, not 2"):
        long_clips(pipe, 1, replace(SETTINGS, steps_per_frame=2), tmp_path, progress=False)
    with pytest.raises(ValueError, match="model 'tiny', not 'other'"):
        long_clips(pipe, 1, replace(SETTINGS, model="other"), tmp_path, progress=False)


def test_a_damaged_clip_is_named(tmp_path):
    pipe = tiny_pipeline()
    long_clips(pipe, 1, SETTINGS, tmp_path, progress=False)
    (tmp_path / "00000.npz").write_bytes(b"PK broken")
    with pytest.raises(ValueError, match="00000.npz cannot be read"):
        long_clips(pipe, 1, SETTINGS, tmp_path, progress=False)


def test_classes_take_turns():
    assert [label_of(tiny_pipeline(), number) for number in (0, 4, 5)] == [0, 4, 0]
    assert label_of(tiny_pipeline(num_classes=0), 3) is None
