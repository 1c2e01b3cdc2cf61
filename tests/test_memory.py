"""Frames that stay visible after they have left the window: what is in the slots, who sees them, and that it lasts."""

import io
import itertools
import re

import numpy as np
import pytest
import torch

from rflav_lib.engine import FastSampler
from rflav_lib.fusion import FUSIONS
from rflav_lib.memory import Memory, MemoryLayout
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.sampler import RollingSampler
from rflav_lib.schedule import RollingSchedule
from rflav_lib.transformer import RFLAVTransformer
from tests.golden import TINY, assert_within, open_model, window_inputs
from tests.tiny import NO_MEMORY, tiny_pipeline

WINDOW = 4
SLOTS = {"sink_frames": 1, "context_frames": 2}
LAYOUT = MemoryLayout(1, 2)


def frame(number, batch=2):
    return torch.full((batch, 4, 8, 8), float(number)), torch.full((batch, 10, 32), float(number))


def inputs(seed=0):
    """Three full slots and a window."""
    video, audio, t = window_inputs(2, 3 + WINDOW, seed)
    t[:, :3] = 1
    return video, audio, t


def test_slots_fill_as_the_stream_goes():
    layout = MemoryLayout(sinks=2, context=3)
    assert [layout.sources(n) for n in (0, 1, 2, 9)] == [
        [None] * 5, [0, None, None, None, 0], [0, 1, None, 0, 1], [0, 1, 6, 7, 8],
    ]  # fmt: skip
    assert layout.frames == 5


@pytest.mark.parametrize("number", [-1, 1.5, True, "2", None])
def test_slots_are_counted_in_whole_numbers(number):
    for name in ("sinks", "context"):
        with pytest.raises(
            ValueError, match=f"{name} must be a whole number, at least 0, not {re.escape(repr(number))}"
        ):
            MemoryLayout(**{name: number})
    numbers = MemoryLayout(np.int64(1), torch.tensor(2))
    assert numbers == LAYOUT and type(numbers.sinks) is type(numbers.context) is int


@pytest.mark.parametrize("layout", [MemoryLayout(2, 3), MemoryLayout(2, 0), MemoryLayout(0, 2)])
def test_memory_holds_what_its_layout_says(layout):
    video, audio, _ = window_inputs(2, WINDOW)
    memory = Memory.empty(layout, video, audio)
    for emitted in range(8):
        expected = layout.sources(emitted)
        assert memory.times.tolist() == [float(n is not None) for n in expected]
        numbers = [0.0 if n is None else n + 1.0 for n in expected]
        assert memory.video[0, :, 0, 0, 0].tolist() == memory.audio[1, :, 0, 0].tolist() == numbers
        memory = memory.after(*frame(emitted + 1))
    joined = memory.before(video, audio, torch.full((2, WINDOW), 0.5))
    assert torch.equal(joined[0][:, layout.frames :], video) and joined[2].shape == (
        2,
        layout.frames + WINDOW,
    )


@pytest.mark.parametrize("fusion", list(FUSIONS))
@torch.no_grad()
def test_window_frames_see_memory_and_memory_sees_no_later_frame(fusion):
    model, (video, audio, t) = open_model(fusion, **SLOTS), inputs()
    before = model(video, audio, t)
    for slot in range(3):
        for number, changed in enumerate((video, audio)):
            pair = [video, audio]
            pair[number] = changed.clone()
            pair[number][:, slot] += 1
            after = model(*pair, t)
            for old, new in zip(before, after, strict=True):
                assert torch.equal(old[:, :slot], new[:, :slot]), "earlier memory does not see later"
                assert all(not torch.equal(old[:, k], new[:, k]) for k in range(3, 7)), "every frame sees it"
    other = video.clone()
    other[:, 5:] += 1
    for old, new in zip(before, model(other, audio, t), strict=True):
        assert torch.equal(old[:, :5], new[:, :5]), "causality holds behind the memory"


@torch.no_grad()
def test_without_slots_the_model_is_the_one_it_was():
    plain, with_memory = open_model("conditioned_average"), open_model("conditioned_average", **SLOTS)
    names = set(with_memory.state_dict()) - set(plain.state_dict())
    assert names == {"video_memory_position", "audio_memory_position"}
    video, audio, t = inputs()
    with pytest.raises(ValueError, match="video has 7 frames, but this model's window is 4$"):
        plain(video, audio, t)
    for frames in (slice(0, 3), slice(0, 0)):
        with pytest.raises(ValueError, match="window is 4 behind 3 memory slots"):
            with_memory(video[:, frames], audio[:, frames], t[:, frames])
    with pytest.raises(ValueError, match="sink_frames must be a whole number, at least 0, not -1"):
        RFLAVTransformer(**TINY, sink_frames=-1)


def test_each_slot_has_a_place_of_its_own_and_the_window_keeps_its_places():
    model = open_model("average", **SLOTS)
    tables = (
        (model.video_memory_position, model.video_time_position),
        (model.audio_memory_position, model.audio_time_position),
    )
    video, audio, _ = window_inputs(1, 3 + WINDOW)
    for tokens, (memory, window) in zip(model.patchify(0 * video, 0 * audio), tables, strict=True):
        place = torch.cat([memory, window], dim=1)
        assert_within(tokens - tokens[:, -1:], (place - place[:, -1:]).expand_as(tokens), 1e-5)


def test_a_seed_gives_the_other_weights_their_values_with_and_without_memory():
    weights = []
    for slots in ({}, SLOTS):
        torch.manual_seed(5)
        weights.append(RFLAVTransformer(**TINY, **slots).state_dict())
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert weights[1]["video_memory_position"].std() == pytest.approx(0.02, rel=0.2)


def stream(sampler, count, batch=2, y=None, **settings):
    video, audio, _ = window_inputs(batch, WINDOW)
    frames = sampler.stream(video, audio, torch.Generator().manual_seed(1), y, **settings)
    return [torch.stack(part) for part in zip(*itertools.islice(frames, count), strict=True)]


def test_the_sampler_shows_the_model_what_it_has_emitted():
    calls = []

    def model(video, audio, t, y):
        calls.append((video, audio, t))
        return -0.1 * video, 0.2 * audio

    steps = 2
    sampler = RollingSampler(model, RollingSchedule(WINDOW), steps, memory=LAYOUT)
    video, audio = stream(sampler, 6)
    for number, (seen, heard, t) in enumerate(calls):
        emitted = max(0, (number - WINDOW * steps) // steps + 1)
        for slot, source in enumerate(LAYOUT.sources(emitted)):
            assert (t[:, slot] == (source is not None)).all()
            assert torch.equal(
                seen[:, slot], torch.zeros_like(seen[:, 0]) if source is None else video[source]
            )
            assert torch.equal(
                heard[:, slot], torch.zeros_like(heard[:, 0]) if source is None else audio[source]
            )


def assert_same(fast, plain):
    for ours, theirs in zip(fast, plain, strict=True):
        assert_within(ours / theirs.abs().max(), theirs / theirs.abs().max(), 1e-5)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("fusion", list(FUSIONS))
@pytest.mark.parametrize("layout", [MemoryLayout(1, 2), MemoryLayout(2, 0)])
def test_the_fast_sampler_remembers_the_same(layout, fusion, causal):
    slots = {"sink_frames": layout.sinks, "context_frames": layout.context}
    model, schedule = open_model(fusion, causal=causal, **slots), RollingSchedule(WINDOW)
    plain = stream(RollingSampler(model, schedule, memory=layout), 7, warm_frames=1)
    assert_same(stream(FastSampler(model, schedule), 7, warm_frames=1), plain)


@pytest.mark.parametrize("labels", [[0, 2], [1, 1]])
@pytest.mark.parametrize("fusion", ["conditioned_average", "joint_attention"])
def test_guidance_remembers_too(fusion, labels):
    model = open_model(fusion, num_classes=3, **SLOTS)
    schedule, y = RollingSchedule(WINDOW), torch.tensor(labels)
    plain = stream(RollingSampler(model, schedule, 2, 2.5, LAYOUT), 5, y=y)
    assert_same(stream(FastSampler(model, schedule, 2, 2.5), 5, y=y), plain)


@pytest.mark.parametrize("task", ["audio_to_video", "video_to_audio"])
def test_the_fast_sampler_remembers_given_sides(task):
    model, schedule = open_model("conditioned_average", **SLOTS), RollingSchedule(WINDOW)
    (video, audio), (clip, sound) = window_inputs(2, WINDOW)[:2], window_inputs(2, 6, seed=3)[:2]
    given = (sound, video) if task == "audio_to_video" else (clip, audio)

    def completed(sampler):
        frames = getattr(sampler, task)(*given, 1.0, torch.Generator().manual_seed(0))
        return [torch.stack(part) for part in zip(*frames, strict=True)]

    assert_same(
        completed(FastSampler(model, schedule)), completed(RollingSampler(model, schedule, memory=LAYOUT))
    )


def test_rolling_without_the_memory_is_refused():
    sampler = RollingSampler(open_model("average", **SLOTS), RollingSchedule(WINDOW), memory=LAYOUT)
    with pytest.raises(ValueError, match="this model remembers frames: give roll the memory"):
        sampler.roll(*window_inputs(2, WINDOW)[:2])


@pytest.mark.parametrize("task", ["audio_to_video", "video_to_audio"])
def test_given_sides_are_remembered_as_they_were_given(task):
    calls = []

    def model(video, audio, t, y):
        calls.append((video.detach(), audio.detach(), t))
        return -0.1 * video + audio.mean(), 0.2 * audio - video.mean()

    sampler = RollingSampler(model, RollingSchedule(WINDOW), 1, memory=LAYOUT)
    (video, audio), (clip, sound) = window_inputs(2, WINDOW)[:2], window_inputs(2, 6, seed=3)[:2]
    given, noise = (sound, video) if task == "audio_to_video" else (clip, audio)
    frames = list(getattr(sampler, task)(given, noise, 1.0, torch.Generator().manual_seed(0)))
    seen, heard, t = calls[-1]  # when five frames had been made
    assert torch.equal(t[0, :3], torch.ones(3))
    for slot, source in enumerate((0, 3, 4)):
        assert torch.equal(seen[:, slot], frames[source][0]) and torch.equal(
            heard[:, slot], frames[source][1]
        )


@pytest.mark.parametrize("warm", [0, 1, 3])
@pytest.mark.parametrize("kind", [RollingSampler, FastSampler])
def test_warm_frames_are_the_beginning_that_is_not_emitted(kind, warm):
    sampler = kind(open_model("conditioned_average"), RollingSchedule(WINDOW))
    cold, warmed = stream(sampler, 3 + warm), stream(sampler, 3, warm_frames=warm)
    assert all(torch.equal(late, part[warm:]) for late, part in zip(warmed, cold, strict=True))


@pytest.mark.parametrize("warm", [-1, 1.0, True])
def test_bad_warm_frames_are_named(warm):
    sampler = RollingSampler(open_model("average"), RollingSchedule(WINDOW))
    with pytest.raises(ValueError, match=f"warm_frames must be a whole number, at least 0, not {warm}"):
        stream(sampler, 1, warm_frames=warm)
    with pytest.raises(ValueError, match="warm_frames must be a whole number"):
        tiny_pipeline().stream(1, 2, warm_frames=warm)


def test_a_folder_keeps_the_layout_and_the_pipeline_follows_it(tmp_path):
    pipeline = tiny_pipeline(memory=LAYOUT)
    pipeline.save_whole(tmp_path / "p")
    again, sound = RFLAVPipeline.from_pretrained(tmp_path / "p"), torch.linspace(-1, 1, 4800).sin().numpy()
    assert again.transformer.memory_layout == LAYOUT
    for fast in (True, False):
        assert again.sampler(1, fast=fast).memory_layout == LAYOUT
    assert len(again(3, 1, "rain", warm_frames=1)[0]) == 3
    assert len(again(y="rain", steps_per_frame=1, audio=sound)[0]) == 3
    with pytest.raises(ValueError, match="warm_frames is for joint generation"):
        again(steps_per_frame=1, audio=sound, warm_frames=1)


@pytest.mark.parametrize("before", [0, 2])
def test_a_stream_goes_on_with_its_memory_and_its_warm_frames(before):
    pipeline = tiny_pipeline(memory=LAYOUT)

    def opened(seed=3, **settings):
        return pipeline.stream(1, 2, "rain", generator=torch.Generator().manual_seed(seed), **settings)

    stream, file = opened(warm_frames=2), io.BytesIO()
    list(itertools.islice(stream, before))
    torch.save(stream.state_dict(), file)
    file.seek(0)
    other = opened(seed=9)
    other.load_state_dict(torch.load(file, weights_only=True))
    for one, two in zip(itertools.islice(stream, 2), itertools.islice(other, 2), strict=True):
        assert (one.frames == two.frames).all() and (one.waveform == two.waveform).all()


def test_a_state_with_another_memory_is_refused():
    running = tiny_pipeline(memory=LAYOUT).stream(1, 2, "rain")
    next(running)
    for other in (NO_MEMORY, MemoryLayout(2, 1)):
        with pytest.raises(ValueError, match=r"this state has memory .*'sinks': 1.* of another model"):
            tiny_pipeline(memory=other).stream(1, 2).load_state_dict(running.state_dict())
    forgetful = tiny_pipeline().stream(1, 2, "rain")
    next(forgetful)
    with pytest.raises(ValueError, match="this state has memory None"):
        tiny_pipeline(memory=LAYOUT).stream(1, 2).load_state_dict(forgetful.state_dict())
