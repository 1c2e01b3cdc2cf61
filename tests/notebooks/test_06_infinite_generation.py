"""Notebook 06 rolls the window by hand, and completes what a reader picks: both as the library does."""

import functools
import itertools

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.memory import MemoryLayout
from rflav_lib.schedule import RollingSchedule
from tests.notebook_tools import definitions
from tests.tiny import NO_MEMORY, tiny_pipeline

LABEL = 2


@functools.cache
def notebook():
    return definitions("06_infinite_generation")


@functools.cache
def pipe(memory=NO_MEMORY):
    return tiny_pipeline(window=4, memory=memory)


with_and_without_memory = pytest.mark.parametrize("memory", [NO_MEMORY, MemoryLayout(sinks=1, context=2)])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("steps", [1, 3])
@with_and_without_memory
def test_the_loop_by_hand_is_the_sampler(memory, steps):
    generator = seeded()
    sampler = pipe(memory).sampler(steps, fast=False)
    stream = sampler.stream(*pipe(memory).initial_noise(1, generator), generator, torch.tensor([LABEL]))
    moments = itertools.islice(notebook().inside(pipe(memory), LABEL, steps, seeded()), 4 * steps + 5 * steps)
    finished = [(video[0], audio[0]) for _, t, video, audio in moments if t[0] > 1 - 1e-6]
    assert len(finished) == 6
    for mine, theirs in zip(finished, stream, strict=False):
        for part, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(part, other[0], atol=1e-5, rtol=0)


def test_the_loop_says_which_frame_is_first():
    firsts = [first for first, *_ in itertools.islice(notebook().inside(pipe(), LABEL, 2, seeded()), 12)]
    assert firsts == [0] * 8 + [1, 1, 2, 2]


@with_and_without_memory
def test_a_frame_is_not_seen_by_earlier_ones(memory):
    noises = torch.randn(9 + 4 - 1, *pipe(memory).initial_noise(1)[0].shape[2:], generator=seeded())
    changed = noises.clone()
    changed[6] *= -1
    before, after = (notebook().frames_with(pipe(memory), each, LABEL) for each in (noises, changed))
    moved = (before - after).abs().flatten(1).amax(dim=1)
    assert len(before) == 9
    assert (moved[:6] < 1e-6).all() and (moved[6:] > 1e-6).all()


@with_and_without_memory
def test_under_the_right_schedule_it_is_what_the_pipeline_makes(memory):
    mine = notebook().under(RollingSchedule(4), pipe(memory), LABEL, 6, seed=3)
    (theirs,) = pipe(memory)(6, steps_per_frame=1, y=LABEL, generator=seeded(3))
    assert np.abs(mine.frames.astype(int) - theirs.frames).max() <= 1
    assert mine.waveform.shape == theirs.waveform.shape  # its phases are chaotic: the last digit turns them


def test_loudness_is_each_frame_s_own():
    waveform = np.repeat(np.float32([0.5, -0.25]), 1600)
    clip = Clip(np.zeros((2, 8, 8, 3), np.uint8), waveform)
    assert notebook().loudness(clip).tolist() == [0.5, 0.25]


def test_without_prerolling_it_rolls_at_once():
    schedule = notebook().NoPreroll(4)
    assert len(list(schedule.preroll_steps(3))) == 3
    t, _ = next(schedule.preroll_steps(1))
    assert t[0] == 0.75, "noise is taken for three quarters clean"


@pytest.fixture(scope="module")
def picked(tmp_path_factory):
    """What a reader might pick: the bytes of an mp4 and of a wav of a second."""
    folder = tmp_path_factory.mktemp("picked")
    clip = make_clip("toy-landscape", 0, 0, 10, label=0).clip
    return {
        path.suffix: path.read_bytes()
        for path in (clip.save(folder / "a.mp4"), clip.to_wav(folder / "a.wav"))
    }


@pytest.mark.parametrize(("suffix", "give"), [(".wav", "audio"), (".mp4", "audio"), (".mp4", "video")])
@pytest.mark.parametrize("frames", [4, 40])
def test_what_is_picked_is_completed(picked, suffix, give, frames):
    clip = notebook().complete(pipe(), f"picked{suffix}", picked[suffix], give, frames)
    assert isinstance(clip, Clip) and abs(len(clip) - min(frames, 10)) <= 1
    assert clip.frames.shape[1:] == (64, 64, 3)


def test_what_cannot_be_used_is_named(picked):
    with pytest.raises(ValueError, match=r"picked\.mp4"):
        notebook().complete(pipe(), "picked.mp4", b"no media", "audio")
    with pytest.raises(ValueError, match=r"picked\.wav"):
        notebook().complete(pipe(), "picked.wav", picked[".wav"], "video")


def test_a_filmstrip_has_a_frame_of_every_second():
    clip = Clip(np.zeros((35, 4, 4, 3), np.uint8), np.zeros(35 * 1600, np.float32))
    figure = notebook().filmstrip(clip, columns=3)
    assert [axis.get_title() for axis in figure.axes] == ["0 s", "1 s", "2 s", "3 s", "", ""]
