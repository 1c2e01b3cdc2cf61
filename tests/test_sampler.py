"""The rolling sampler against recorded streams, closed forms, and what it promises of its noise."""

import itertools

import pytest
import torch

from rflav_lib.sampler import RollingSampler
from rflav_lib.schedule import RollingSchedule
from tests.golden import assert_within, open_model, reference_model, vectors, window_inputs

TOLERANCE = 1e-5
WINDOW, STEPS = 4, 2


def stub(video, audio, t, y):
    """The velocity that sampler_stub was recorded with: of both modalities and of time."""
    loudness = audio.mean(dim=(2, 3))[:, :, None, None, None]
    brightness = video.mean(dim=(2, 3, 4))[:, :, None, None]
    time = ((999 * t + 1) / 1000)[:, :, None, None, None]
    return -0.3 * video + 0.01 * loudness * time, 0.2 * audio - 0.01 * brightness


class Recorder:
    """A model that keeps what it was called with."""

    def __init__(self, model=stub):
        self.model, self.calls = model, []

    def __call__(self, video, audio, t, y):
        self.calls.append((video, audio, t, y))
        return self.model(video, audio, t, y)


def noise_of(batch=2, window=WINDOW, seed=0):
    video, audio, _ = window_inputs(batch, window, seed)
    return video, audio


def take(stream, count):
    video, audio = zip(*itertools.islice(stream, count), strict=True)
    return torch.stack(video), torch.stack(audio)


@pytest.fixture
def recorded_noise(monkeypatch):
    """Feed the sampler the recorded noise of appended frames in place of drawn noise."""

    def feed(golden):
        queues = {5: iter(golden["append_noise_v"]), 4: iter(golden["append_noise_a"])}
        monkeypatch.setattr(
            "rflav_lib.sampler.fresh_noise", lambda window, generator: next(queues[window.ndim])[:, None]
        )

    return feed


def check_against(case, recorded_noise, model, guidance_scale=1.0):
    golden, recorder = vectors(case), Recorder(model)
    recorded_noise(golden)
    sampler = RollingSampler(recorder, RollingSchedule(WINDOW), STEPS, guidance_scale)
    video, audio = take(sampler.stream(golden["init_v"], golden["init_a"], y=golden.get("y")), 6)
    assert_within(video, golden["emitted_v"], TOLERANCE)
    assert_within(audio, golden["emitted_a"], TOLERANCE)
    calls_per_step = 1 if guidance_scale == 1 else 2
    first_rolling = recorder.calls[WINDOW * STEPS * calls_per_step]
    assert_within(first_rolling[0], golden["window_v_first_roll_call"], TOLERANCE)
    assert_within(first_rolling[1], golden["window_a_first_roll_call"], TOLERANCE)


def test_stub_stream_is_the_released_one(recorded_noise):
    check_against("sampler_stub", recorded_noise, stub)


def test_unconditional_stream_is_the_released_one(recorded_noise):
    check_against("sampler_tiny_uncond", recorded_noise, reference_model())


def test_guided_stream_is_the_released_one(recorded_noise):
    check_against(
        "sampler_tiny_class_cfg", recorded_noise, reference_model(num_classes=9), guidance_scale=2.5
    )


def test_guided_velocity_is_the_released_one():
    golden = vectors("model_tiny_class")
    sampler = RollingSampler(reference_model(num_classes=9), RollingSchedule(WINDOW), guidance_scale=2.5)
    with torch.no_grad():
        video, audio = sampler.velocity(golden["v"], golden["a"], golden["t"], golden["y"])
    assert_within(video, golden["v_out_cfg"], TOLERANCE)
    assert_within(audio, golden["a_out_cfg"], TOLERANCE)


@pytest.mark.parametrize(("scale", "label_share"), [(1.0, 1.0), (0.0, 0.0), (3.0, 3.0)])
def test_guidance_runs_from_null_to_label_and_beyond(scale, label_share):
    def labelled_one(video, audio, t, y):
        value = 0.0 if y is None else 1.0
        return torch.full_like(video, value), torch.full_like(audio, value)

    recorder = Recorder(labelled_one)
    sampler = RollingSampler(recorder, RollingSchedule(WINDOW), guidance_scale=scale)
    for velocity in sampler.velocity(*noise_of(), torch.zeros(2, WINDOW), torch.tensor([0, 1])):
        assert (velocity == label_share).all()
    assert len(recorder.calls) == (1 if scale == 1 else 2)


@pytest.mark.parametrize(("window", "steps"), [(1, 1), (1, 2), (4, 1), (4, 3), (7, 2)])
def test_exact_velocity_of_fixed_frames_lands_on_them(window, steps):
    """Data that is one fixed clip: v = (x - x_t) / (1 - t); the path is straight, so Euler is exact."""
    clip_video = torch.randn(2, 30, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    clip_audio = torch.randn(2, 30, 10, 32, generator=torch.Generator().manual_seed(2))
    calls = itertools.count()

    def exact(video, audio, t, y):
        shift = max(0, (next(calls) - window * steps) // steps + 1)  # frames that have left the window
        left = (1 - t)[:, :, None, None, None]
        target_video, target_audio = (clip[:, shift : shift + window] for clip in (clip_video, clip_audio))
        return (target_video - video) / left, (target_audio - audio) / left[..., 0]

    stream = RollingSampler(exact, RollingSchedule(window), steps).stream(*noise_of(window=window))
    video, audio = take(stream, 12)
    assert_within(video.transpose(0, 1), clip_video[:, :12], TOLERANCE)
    assert_within(audio.transpose(0, 1), clip_audio[:, :12], TOLERANCE)


@pytest.mark.parametrize(("window", "steps", "frames"), [(4, 2, 1), (4, 2, 6), (5, 3, 4), (10, 2, 16)])
@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_number_of_model_calls(window, steps, frames, guidance_scale):
    recorder = Recorder()
    sampler = RollingSampler(recorder, RollingSchedule(window), steps, guidance_scale)
    take(sampler.stream(*noise_of(1, window), y=torch.tensor([0])), frames)
    expected = window * steps + (frames - 1) * steps
    assert len(recorder.calls) == expected * (1 if guidance_scale == 1 else 2)
    if (window, steps, frames) == (10, 2, 16):
        assert expected == 50, "the paper's 16 frames at 20 steps a frame"


def test_model_is_called_at_the_times_of_the_schedule():
    recorder, schedule = Recorder(), RollingSchedule(WINDOW)
    y = torch.tensor([1, 2])
    take(RollingSampler(recorder, schedule, 3).stream(*noise_of(), y=y), 3)
    times = [t for t, _ in [*schedule.preroll_steps(3), *schedule.roll_steps(3), *schedule.roll_steps(3)]]
    assert len(times) == len(recorder.calls)
    for expected, (_, _, t, labels) in zip(times, recorder.calls, strict=True):
        assert torch.equal(t, expected.expand(2, -1)) and labels is y


def test_frames_that_have_not_started_are_still_their_noise():
    recorder, (video_noise, audio_noise) = Recorder(), noise_of()
    take(RollingSampler(recorder, RollingSchedule(WINDOW), STEPS).stream(video_noise, audio_noise), 1)
    for call, (video, audio, _, _) in enumerate(recorder.calls):
        started = call // STEPS + (call % STEPS > 0)
        assert torch.equal(video[:, started:], video_noise[:, started:])
        assert torch.equal(audio[:, started:], audio_noise[:, started:])
        assert not started or not torch.equal(video[:, started - 1], video_noise[:, started - 1])


@pytest.mark.parametrize("model_dtype", [torch.float32, torch.bfloat16])
def test_window_stays_in_the_type_of_the_noise(model_dtype):
    """A model that answers in bf16 must not coarsen the window: 200 steps a frame add up all the same."""

    def one(video, audio, t, y):
        return torch.ones_like(video, dtype=model_dtype), torch.ones_like(audio, dtype=model_dtype)

    video_noise, audio_noise = noise_of()
    video, audio = next(RollingSampler(one, RollingSchedule(WINDOW), 50).stream(video_noise, audio_noise))
    assert video.dtype == audio.dtype == torch.float32
    assert_within(video, video_noise[:, 0] + 1, 1e-4)
    assert_within(audio, audio_noise[:, 0] + 1, 1e-4)


def test_appended_noise_comes_from_the_generator_video_before_audio():
    recorder = Recorder()
    sampler = RollingSampler(recorder, RollingSchedule(WINDOW), STEPS)
    take(sampler.stream(*noise_of(), generator=torch.Generator().manual_seed(7)), 5)
    same = torch.Generator().manual_seed(7)
    for shift in range(4):
        video, audio, _, _ = recorder.calls[WINDOW * STEPS + shift * STEPS]
        assert torch.equal(video[:, -1], torch.randn(2, 4, 8, 8, generator=same))
        assert torch.equal(audio[:, -1], torch.randn(2, 10, 32, generator=same))


def test_same_seed_same_stream_another_seed_another():
    sampler = RollingSampler(open_model("conditioned_average"), RollingSchedule(WINDOW), STEPS)

    def stream(seed):
        return take(sampler.stream(*noise_of(), generator=torch.Generator().manual_seed(seed)), 8)

    first, again, other = stream(0), stream(0), stream(1)
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    # a causal model is not reached by what is appended behind it, so a frame differs once its own noise does
    for x, y in zip(first, other, strict=True):
        assert torch.equal(x[:WINDOW], y[:WINDOW])
        assert not torch.allclose(x[WINDOW], y[WINDOW], atol=1e-2)


def test_asking_for_fewer_frames_gives_the_beginning_of_the_stream():
    sampler = RollingSampler(stub, RollingSchedule(WINDOW), STEPS)
    streams = [sampler.stream(*noise_of(), generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    short, long = take(streams[0], 2), take(streams[1], 7)
    assert all(torch.equal(x, y[:2]) for x, y in zip(short, long, strict=True))


def test_stream_keeps_its_hands_off_what_belongs_to_others():
    video_noise, audio_noise = noise_of()
    copies = video_noise.clone(), audio_noise.clone()
    stream = RollingSampler(reference_model(), RollingSchedule(WINDOW), STEPS).stream(
        video_noise, audio_noise
    )
    for video, audio in itertools.islice(stream, 2):
        assert torch.is_grad_enabled(), "the caller's gradients are the caller's business"
        assert not video.requires_grad and not audio.requires_grad
        video.zero_(), audio.zero_()  # what was handed out is the caller's
    assert torch.equal(video_noise, copies[0]) and torch.equal(audio_noise, copies[1])


def test_a_caller_may_overwrite_the_frames_handed_out():
    streams = [
        RollingSampler(stub, RollingSchedule(WINDOW), STEPS).stream(
            *noise_of(), torch.Generator().manual_seed(0)
        )
        for _ in range(2)
    ]
    for _ in range(5):
        (video, audio), (expected_video, expected_audio) = next(streams[0]), next(streams[1])
        assert torch.equal(video, expected_video) and torch.equal(audio, expected_audio)
        video.fill_(9), audio.fill_(9)


@pytest.mark.parametrize("which", ["video", "audio"])
def test_noise_of_another_window_is_refused(which):
    noises = dict(zip(("video", "audio"), noise_of(), strict=True))
    noises[which] = noises[which][:, :3]
    sampler = RollingSampler(stub, RollingSchedule(WINDOW), STEPS)
    with pytest.raises(ValueError, match=f"{which} noise has 3 frames, but the window is 4"):
        next(sampler.stream(noises["video"], noises["audio"]))


@pytest.mark.parametrize("scale", [0.0, 2.5])
def test_guidance_without_labels_is_refused(scale):
    with pytest.raises(ValueError, match=f"guidance_scale is {scale}.*labels"):
        next(RollingSampler(stub, RollingSchedule(WINDOW), STEPS, scale).stream(*noise_of()))


@pytest.mark.parametrize("steps", [0, -1, 2.0, True])
def test_steps_per_frame_must_be_a_positive_whole_number(steps):
    with pytest.raises(ValueError, match=f"steps_per_frame.*{steps!r}"):
        RollingSampler(stub, RollingSchedule(WINDOW), steps)
