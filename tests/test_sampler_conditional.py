"""Video for a given sound and sound for a given video: the released guidance where it is right, ours where not."""

import numpy as np
import pytest
import torch

from rflav_lib.sampler import RollingSampler, check_guidance
from rflav_lib.schedule import RollingSchedule
from tests.golden import assert_within, facts, reference_model, vectors, window_inputs
from tests.test_sampler import STEPS, WINDOW, Recorder, stub

TOLERANCE = 1e-5
BEFORE_THE_TAIL = (
    3  # frames 0, 1, 2: only given frames in the window; from frame 3 on the released code is wrong
)


def sampler(model=None):
    return RollingSampler(model or reference_model(), RollingSchedule(WINDOW), STEPS)


def method(which):
    return {"a2v": "audio_to_video", "v2a": "video_to_audio"}[which]


def run(which, clip, noise, scale, fixed, model=None, seed=0, y=None):
    name = "audio_noise" if which == "a2v" else "video_noise"
    generate = getattr(sampler(model), method(which))
    generator = torch.Generator().manual_seed(seed)
    frames = list(generate(clip, noise, scale=scale, generator=generator, y=y, **{name: fixed}))
    made, given = (0, 1) if which == "a2v" else (1, 0)
    assert torch.equal(torch.stack([frame[given] for frame in frames], 1), clip), "the given frames come back"
    return torch.stack([frame[made] for frame in frames])


@pytest.fixture
def appended(monkeypatch):
    """Feed the recorded noise of appended frames of the made modality."""

    def feed(golden, names):
        queue = iter([golden[name] for name in names])
        monkeypatch.setattr(
            "rflav_lib.sampler.fresh_noise",
            lambda window, generator: next(queue, torch.zeros_like(window[:, 0]))[:, None],
        )

    return feed


APPENDED = {"a2v": ("draw_01", "draw_04", "draw_07"), "v2a": ("draw_01", "draw_02", "draw_03")}
REPAIRED = {"a2v": "emitted_variant_fixed_noise", "v2a": "emitted_variant_tail_fixed"}


@pytest.mark.parametrize("which", ["a2v", "v2a"])
def test_it_is_the_released_guidance_with_the_slips_mended(which, appended):
    golden = vectors(f"sampler_{which}")
    appended(golden, APPENDED[which])
    # the released mean runs over the batch of two as well, so half its scale is ours
    made = run(
        which, golden["clip"], golden["init"], facts(f"sampler_{which}")["scale"] / 2, golden["draw_00"]
    )
    assert_within(made[:BEFORE_THE_TAIL], golden[REPAIRED[which]][:BEFORE_THE_TAIL], TOLERANCE)
    moved = (golden[REPAIRED[which]] - golden["emitted_scale0"])[:BEFORE_THE_TAIL].abs().max()
    assert moved > 100 * TOLERANCE, "the recorded guidance is far from nothing"


# the released a2v mixes with new noise once it rolls, so without guidance its first frame alone is ours
SAME_WITHOUT_GUIDANCE = {"a2v": 1, "v2a": BEFORE_THE_TAIL}


@pytest.mark.parametrize("which", ["a2v", "v2a"])
def test_without_guidance_it_is_the_released_code_where_that_is_right(which, appended):
    golden, same = vectors(f"sampler_{which}"), SAME_WITHOUT_GUIDANCE[which]
    appended(golden, APPENDED[which])
    made = run(which, golden["clip"], golden["init"], 0, golden["draw_00"])
    assert_within(made[:same], golden["emitted_scale0"][:same], TOLERANCE)
    assert (made[same] - golden["emitted_scale0"][same]).abs().max() > 10 * TOLERANCE, "and no further"


@pytest.mark.parametrize("which", ["a2v", "v2a"])
def test_a_sample_alone_is_the_sample_in_a_batch(which, appended):
    golden, scale = vectors(f"sampler_{which}"), 1000.0
    appended(golden, APPENDED[which])
    both = run(which, golden["clip"], golden["init"], scale, golden["draw_00"])
    alone = {name: tensor[:1] for name, tensor in golden.items() if name.startswith("draw")}
    appended(alone, APPENDED[which])
    one = run(which, golden["clip"][:1], golden["init"][:1], scale, golden["draw_00"][:1])
    assert_within(one[:BEFORE_THE_TAIL], both[:BEFORE_THE_TAIL, :1], 1e-6)


def inputs(which, length):
    video, audio, _ = window_inputs(2, length, seed=5)
    video_noise, audio_noise, _ = window_inputs(2, WINDOW, seed=6)
    return (audio, video_noise) if which == "a2v" else (video, audio_noise)


@pytest.mark.parametrize("which", ["a2v", "v2a"])
@pytest.mark.parametrize("length", [1, 2, WINDOW, WINDOW + 1, 7])
def test_any_length(which, length):
    clip, noise = inputs(which, length)
    made = run(which, clip, noise, 500.0, None)
    assert made.shape == (length, *noise[:, 0].shape) and torch.isfinite(made).all()


@pytest.mark.parametrize("which", ["a2v", "v2a"])
def test_past_the_end_both_are_generated_and_only_given_frames_are_clean(which):
    """The model never meets noise that is passed off as a clean frame: what it sees there is its own Euler path."""
    clip, noise = inputs(which, 2)
    recorder = Recorder(stub)
    run(which, clip, noise, 0, None, model=recorder)
    place = 1 if which == "a2v" else 0
    rolling = recorder.calls[WINDOW * STEPS :]  # one roll: frame 1 of 2, so one given frame is left
    (first, second), t = (call[place] for call in rolling), rolling[1][2]
    velocity = stub(*rolling[0][:3], None)[place]
    assert_within(second[:, 1:], (first + velocity / (WINDOW * STEPS))[:, 1:], 1e-6)
    fixed = (second[:, 0] - t[:, 0].reshape(-1, *[1] * (clip.ndim - 2)) * clip[:, 1]) / (1 - t[0, 0])
    before = (first[:, 0] - rolling[0][2][0, 0] * clip[:, 1]) / (1 - rolling[0][2][0, 0])
    assert_within(fixed, before, 1e-4)  # one and the same noise, at every step


def test_guidance_brings_the_predicted_sound_nearer_to_the_given_one():
    """What it is for: with it, the network's velocity of the given sound is closer to the right one."""

    def error(scale):
        model, errors = reference_model(), []

        def watched(video, audio, t, y):
            velocities = model(video, audio, t, y)
            errors.append((clip[:, :WINDOW] - fixed[:, :WINDOW] - velocities[1]).detach().square().mean())
            return velocities

        run("a2v", clip, noise, scale, fixed, model=watched)
        return torch.stack(errors[: WINDOW * STEPS])[-1]  # the end of pre-rolling

    (clip, noise), fixed = (
        inputs("a2v", WINDOW),
        torch.randn(2, WINDOW, 10, 32, generator=torch.manual_seed(1)),
    )
    assert error(2000.0) < error(0.0)


def test_the_last_step_of_a_frame_is_not_guided_and_a_frame_that_has_not_started_stays():
    clip, noise = inputs("a2v", 1)
    fixed = torch.zeros(2, WINDOW, 10, 32)
    recorder = Recorder(reference_model())
    run("a2v", clip, noise, 1e4, fixed, model=recorder)
    videos = torch.stack([call[0] for call in recorder.calls])
    assert torch.equal(videos[:STEPS, :, 1:], noise[:, 1:].expand(STEPS, -1, -1, -1, -1, -1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": torch.zeros(2, 0, 10, 32)}, "audio must be a batch of at least one frame"),
        ({"video_noise": torch.zeros(2, 3, 4, 8, 8)}, "video noise has 3 frames, but the window is 4"),
        ({"audio_noise": torch.zeros(2, 5, 10, 32)}, r"audio noise must have shape \(2, 6, 10, 32\)"),
        ({"audio": torch.zeros(1, 6, 10, 32)}, "video noise is for 2 clips, audio noise for 1"),
    ],
)
def test_bad_input_is_named_at_once(change, message):
    clip, noise = inputs("a2v", 6)
    with pytest.raises(ValueError, match=message):
        sampler().audio_to_video(**{"audio": clip, "video_noise": noise, **change})


def test_guidance_for_each_modality():
    def labelled_one(video, audio, t, y):
        value = 0.0 if y is None else 1.0
        return torch.full_like(video, value), torch.full_like(audio, value)

    video, audio, t = window_inputs(1, WINDOW)
    guided = RollingSampler(labelled_one, RollingSchedule(WINDOW), guidance_scale=(2.0, 0.5))
    for velocity, expected in zip(
        guided.velocity(video, audio, t, torch.tensor([0])), (2.0, 0.5), strict=True
    ):
        assert (velocity == expected).all()


@pytest.mark.parametrize(
    "scale", ["2", (1.0,), (1.0, 2.0, 3.0), float("nan"), (1.0, None), True, (2.0, False), None]
)
def test_guidance_that_is_no_number_is_refused(scale):
    with pytest.raises(
        ValueError, match="guidance_scale must be a number, or one for video and one for audio"
    ):
        RollingSampler(stub, RollingSchedule(WINDOW), guidance_scale=scale)


@pytest.mark.parametrize("scale", [2, np.float32(2), np.int64(2), (np.float32(2), 2), [2.0, np.float64(2)]])
def test_guidance_is_a_number_of_any_kind(scale):
    assert check_guidance(scale) == (2.0, 2.0)
    assert all(type(one) is float for one in check_guidance(scale))
