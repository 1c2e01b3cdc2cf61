"""Notebook 03 writes out `rflav_lib.schedule` and rolls a window by hand: both must do what we import."""

import functools
import itertools

import pytest
import torch

import rflav_lib.schedule as library
from rflav_lib.sampler import RollingSampler
from tests.notebook_tools import definitions


@functools.cache
def notebook():
    return definitions("03_rolling_schedules")


def same(mine, theirs):
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("window", [1, 4, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_times_of_both_phases(window, dtype):
    w = torch.tensor([0.0, 0.1, 0.5, 0.999, 1.0], dtype=dtype)
    mine, theirs = notebook().RollingSchedule(window), library.RollingSchedule(window)
    same(mine.rolling(w), theirs.rolling(w))
    same(mine.prerolling(w), theirs.prerolling(w))


@pytest.mark.parametrize("theta", [0.0, 0.2, 1.0])
def test_drawn_times(theta):
    for window in (1, 4, 10):
        mine, theirs = (
            schedule(window, theta).draw(500, torch.Generator().manual_seed(window))
            for schedule in (notebook().RollingSchedule, library.RollingSchedule)
        )
        same(mine, theirs)


@pytest.mark.parametrize("window", [1, 4, 10])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_steps_of_the_sampler(window, steps):
    for phase in ("preroll_steps", "roll_steps"):
        mine, theirs = (
            list(getattr(schedule(window), phase)(steps))
            for schedule in (notebook().RollingSchedule, library.RollingSchedule)
        )
        assert len(mine) == len(theirs)
        for left, right in zip(itertools.chain(*mine), itertools.chain(*theirs), strict=True):
            same(left, right)


def message(call):
    with pytest.raises(ValueError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"window": 0}, {"window": 2.5}, {"window": True}, {"preroll_probability": -0.1}]
)
def test_the_same_schedules_are_refused_with_the_same_words(wrong):
    mine = message(lambda: notebook().RollingSchedule(**wrong))
    assert mine == message(lambda: library.RollingSchedule(**wrong))


@pytest.mark.parametrize("steps", [0, 1.5, False])
def test_the_same_step_counts_are_refused_with_the_same_words(steps):
    assert message(lambda: notebook().check_steps(steps)) == message(lambda: library.check_steps(steps))


def field(window, t):
    """Some field in which every frame depends on all others and on all times."""
    mixed = torch.tanh(window).cumsum(dim=1) + window.flip(1) * t[..., None]
    return mixed - t.sum(dim=1)[:, None, None] * window


def test_the_window_rolled_by_hand_is_the_sampler_of_the_library():
    batch, frames = 3, 5
    start = torch.randn(batch, frames, 2, generator=torch.Generator().manual_seed(0))

    def model(video, audio, t, y):
        return field(video.flatten(2), t).reshape(video.shape), torch.zeros_like(audio)

    def noise():
        yield from start.unbind(dim=1)
        generator = torch.Generator().manual_seed(1)
        while True:
            yield torch.randn(batch, 2, 1, 1, generator=generator).flatten(1)
            torch.randn(batch, 1, 1, generator=generator)  # the library draws the audio's here

    sampler = RollingSampler(model, library.RollingSchedule(frames), steps_per_frame=3)
    stream = sampler.stream(
        start[..., None, None], torch.zeros(batch, frames, 1, 1), torch.Generator().manual_seed(1)
    )
    by_hand = notebook().roll(field, notebook().RollingSchedule(frames), 3, noise())
    for mine, (video, _) in itertools.islice(zip(by_hand, stream, strict=False), 12):
        torch.testing.assert_close(mine, video.flatten(1), atol=1e-6, rtol=1e-6)


def test_the_spots_are_those_of_notebook_02():
    other = definitions("02_flow_matching")
    world = (torch.tensor([[0.0, 2.0], [1.0, -1.0]]), torch.tensor([0.25, 0.75]), 0.5)
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randn(50, 2, generator=generator), torch.rand(50, generator=generator)
    same(notebook().Spots(*world).velocity(x, t), other.Spots(*world).velocity(x, t))


@pytest.mark.parametrize("causal", [False, True])
def test_the_exact_velocity_of_a_window_is_what_least_squares_finds(causal):
    orbit = notebook().Orbit(memory=0.8, turn=0.7, size=1.2)
    t = (0.9, 0.6, 0.3, 0.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.view_as_complex(orbit.draw(200_000, 4, generator))
    eps = torch.view_as_complex(torch.randn(200_000, 4, 2, generator=generator, dtype=torch.float64))
    time = torch.tensor(t, dtype=torch.float64)
    seen = time * x + (1 - time) * eps
    gain = notebook().exact_gain(orbit, t, causal)
    for k in range(4):
        upto = k + 1 if causal else 4
        fitted = torch.linalg.lstsq(seen[:, :upto], (x - eps)[:, k : k + 1]).solution[:, 0]
        torch.testing.assert_close(gain[k, :upto], fitted, atol=0.02, rtol=0)
    if causal:
        assert (gain.triu(diagonal=1) == 0).all()


def test_the_history_has_every_frame_climb_evenly():
    times = notebook().history(notebook().RollingSchedule(4), 3, shifts=6)
    assert times.shape == (4 * 3 + 6 * 3, 4 + 6)
    for frame in times.T:
        inside = frame[frame.isfinite()]
        moving = inside[inside > 0].diff()
        assert (moving - 1 / 12).abs().max() < 1e-6 if len(moving) else True
    assert (times.isfinite().sum(dim=1) == 4).all()


def test_the_frechet_distance_is_that_of_the_definition():
    a, b = torch.eye(3).double() * 4, torch.diag(torch.tensor([1.0, 4.0, 9.0])).double()
    assert notebook().frechet(a, b) == pytest.approx((2 - 1) ** 2 + 0 + (2 - 3) ** 2)
