"""Shards: there whole or not at all, and never taken for what they are not."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from rflav_lib.data.toy import make_clip
from rflav_lib.evaluation.clip_sets import ClipSet
from rflav_lib.media import Clip


def clip_set(folder, samples=5, **recipe):
    return ClipSet(
        folder, "toys", samples, 2, lambda numbers: {"seed": 0, "numbers": list(numbers), **recipe}
    )


def make(numbers):
    return [make_clip("toy-landscape", 0, number, 3).clip for number in numbers]


@pytest.fixture
def full(tmp_path):
    clips = clip_set(tmp_path)
    for shard in clips.missing()[0]:
        clips.write(shard, make)
    return clips


def test_clips_come_back_as_they_were_made(full):
    assert full.missing() == ([], [])
    for mine, theirs in zip(full.clips(), make(range(5)), strict=True):
        np.testing.assert_array_equal(mine.frames, theirs.frames)
        np.testing.assert_array_equal(mine.waveform, theirs.waveform)
        assert (mine.frame_rate, mine.sample_rate) == (10, 16_000)
    (third,) = full.clips(range(3, 4))
    np.testing.assert_array_equal(third.frames, make([3])[0].frames)


def test_only_what_is_missing_is_asked_for(full):
    full.path(range(2, 4)).unlink()
    assert full.missing() == ([range(2, 4)], [])
    with pytest.raises(ValueError, match="000002-000003.safetensors is missing"):
        list(full.clips())


def test_more_samples_keep_the_whole_shards(full, tmp_path):
    assert clip_set(tmp_path, samples=8).missing()[0] == [range(4, 6), range(6, 8)]


def test_a_shard_that_is_cut_short_is_noticed_and_made_anew(full):
    path = full.path(range(0, 2))
    content = path.read_bytes()
    for length in (0, 5, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        todo, told = full.missing()
        assert todo == [range(0, 2)] and "cut short or damaged" in told[0]
        with pytest.raises(ValueError, match="cut short or damaged"):
            list(full.clips())
    full.write(range(0, 2), make)
    assert path.read_bytes() == content


def test_a_changed_byte_is_noticed(full):
    path = full.path(range(0, 2))
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    assert full.missing()[0] == [range(0, 2)]
    with pytest.raises(ValueError, match="does not fit its checksum"):
        list(full.clips())


def test_a_shard_of_other_settings_is_refused(full, tmp_path):
    with pytest.raises(ValueError, match="made otherwise .seed: 0, now 1.; use another output_dir"):
        clip_set(tmp_path, seed=1).missing()
    path = full.path(range(0, 2))
    save_file(load_file(path), path)  # nobody knows where these come from
    with pytest.raises(ValueError, match="made otherwise"):
        full.missing()


def test_a_failure_leaves_no_shard(tmp_path):
    clips = clip_set(tmp_path)
    with pytest.raises(ValueError, match="2 clips were asked for, 1 came"):
        clips.write(range(0, 2), lambda numbers: make(numbers)[:1])
    with pytest.raises(ValueError, match="clips 0 to 1 differ in length"):
        clips.write(range(0, 2), lambda numbers: [make([0])[0], make_clip("toy-landscape", 0, 1, 4).clip])
    assert list(tmp_path.iterdir()) == []


def test_rates_survive(tmp_path):
    clips = clip_set(tmp_path, samples=2)
    clips.write(
        range(2),
        lambda numbers: [Clip(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(640, np.float32), 25, 8000)] * 2,
    )
    first = next(clips.clips())
    assert json.dumps([first.frame_rate, first.sample_rate]) == "[25, 8000]"
