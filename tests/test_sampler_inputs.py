"""What is given to a sampler: refused before the first frame, in the same words by the plain and the fast one."""

import itertools

import numpy as np
import pytest
import torch

from rflav_lib.engine import FastSampler
from rflav_lib.flow import rolling_flow_loss
from rflav_lib.memory import MemoryLayout
from rflav_lib.sampler import RollingSampler
from rflav_lib.schedule import RollingSchedule
from tests.golden import TINY, open_model, window_inputs

WINDOW = TINY["window"]
BOTH = pytest.mark.parametrize("kind", [RollingSampler, FastSampler])
REMEMBERING = {"sink_frames": 1, "context_frames": 2}


def sampler_of(kind, window=WINDOW, **changes):
    return kind(open_model("conditioned_average", num_classes=3, **changes), RollingSchedule(window), 1)


def noise():
    return window_inputs(2, WINDOW)[:2]


def frames_of(sampler, count, y=None):
    return list(itertools.islice(sampler.stream(*noise(), torch.Generator().manual_seed(1), y), count))


def test_a_model_that_remembers_is_sampled_with_its_memory_unless_told():
    model = open_model("conditioned_average", **REMEMBERING)
    settings = model, RollingSchedule(WINDOW), 1
    told, untold = (RollingSampler(*settings, memory=m) for m in (MemoryLayout(1, 2), None))
    for first, second in zip(frames_of(told, 3), frames_of(untold, 3), strict=True):
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    with pytest.raises(ValueError, match=r"memory is .*context=1.*, but this model has .*context=2"):
        RollingSampler(*settings, memory=MemoryLayout(1, 1))


def test_a_loss_of_a_model_that_remembers_needs_its_slots():
    model, (video, audio, t) = open_model("conditioned_average", **REMEMBERING), window_inputs(2, WINDOW)
    with pytest.raises(ValueError, match="this model has 3 memory slots in front of its window"):
        rolling_flow_loss(model, video, audio, t, video, audio)
    t[:, :3] = torch.tensor([1.0, 0.0, 1.0])
    assert rolling_flow_loss(model, video, audio, t, video, audio).isfinite()


@BOTH
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, a: (v, a[:, :, :1]), r"audio noise has shape \(2, 4, 1, 32\), this model needs \(2, 4, 10, 32\)"),
        (lambda v, a: (v[..., :4], a), r"video noise has shape .*, this model needs \(2, 4, 4, 8, 8\)"),
        (lambda v, a: (v, a[..., :16]), r"audio noise has shape .*, this model needs"),
        (lambda v, a: (v[0, 0, 0, 0], a), r"video noise must have shape \(b k c h w\), got \(8,\)"),
        (lambda v, a: (v, a[:, 0]), r"audio noise must have shape \(b k f m\), got \(2, 10, 32\)"),
        (lambda v, a: (v.long(), a), "video noise must be a tensor of floating point numbers, not torch.int64"),
        (lambda v, a: (v.numpy(), a), "video noise must be a tensor of floating point numbers, not float32"),
        (lambda v, a: (v, a[:1]), "video noise is for 2 clips, audio noise for 1"),
    ],
)  # fmt: skip
def test_noise_of_another_shape_is_refused(kind, change, message):
    with pytest.raises(ValueError, match=message):
        sampler_of(kind).stream(*change(*noise()))


@BOTH
def test_a_window_that_the_model_does_not_have_is_refused(kind):
    video, audio, _ = window_inputs(2, WINDOW + 1)
    with pytest.raises(ValueError, match="the schedule's window is 5, but this model's is 4"):
        sampler_of(kind, window=WINDOW + 1).stream(video, audio)


@BOTH
@pytest.mark.parametrize("y", [[0, 1], np.array([0, 1])])
def test_labels_that_are_no_tensor_are_refused(kind, y):
    with pytest.raises(ValueError, match=r"y must be a tensor of labels \(b,\), not (list|ndarray)"):
        sampler_of(kind).stream(*noise(), y=y)


@BOTH
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_may_be_whole_numbers_of_any_kind(kind, dtype):
    y, sampler = torch.tensor([0, 2]), sampler_of(kind)
    for first, second in zip(frames_of(sampler, 2, y.to(dtype)), frames_of(sampler, 2, y), strict=True):
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


GIVEN = pytest.mark.parametrize("task", ["audio_to_video", "video_to_audio"])


def given(kind, task, clip=lambda frames: frames, **settings):
    video, audio = noise()
    pair = (clip(audio), video) if task == "audio_to_video" else (clip(video), audio)
    return getattr(sampler_of(kind), task)(*pair, **settings)


@BOTH
@GIVEN
@pytest.mark.parametrize("scale", [float("nan"), float("inf"), "1000", torch.tensor(1.0), None])
def test_a_scale_that_is_no_finite_number_is_refused(kind, task, scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        given(kind, task, scale=scale)


@BOTH
@GIVEN
@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (lambda frames: frames.long(), "must be a tensor of floating point numbers, not torch.int64"),
        (lambda frames: frames * float("nan"), "contains NaN or infinite values"),
        (lambda frames: frames[..., :3], "has shape .*, this model needs"),
        (lambda frames: frames[:, :0], "must be a batch of at least one frame"),
        (lambda frames: frames[0], "must have shape"),
    ],
)
def test_a_clip_that_cannot_be_used_is_refused(kind, task, clip, message):
    with pytest.raises(ValueError, match=message):
        given(kind, task, clip)
