"""Notebook 02 writes out `rflav_lib.flow`: both must give the same numbers, and refuse the same input."""

import functools

import pytest
import torch

import rflav_lib.flow as library
from tests.notebook_tools import definitions

SHAPES = ((4, 3, 4, 8, 8), (4, 3, 10, 16))  # b k c h w, b k f m
EDGES = torch.tensor([0.0, 1e-6, 0.01, 0.3, 0.5, 0.99, 1 - 1e-6, 1.0])


@functools.cache
def notebook():
    return definitions("02_flow_matching")


def window(seed=0):
    generator = torch.Generator().manual_seed(seed)
    clean, noise = ([torch.randn(shape, generator=generator) for shape in SHAPES] for _ in range(2))
    t = torch.rand(4, 3, generator=generator)
    t[0] = torch.tensor([1e-6, 0.5, 1 - 1e-6])
    return *clean, t, *noise


def model(video, audio, t, y):
    """Some function of everything that it is given, different for video and audio."""
    shift = 0 if y is None else y.sum()
    time = t[..., None, None]
    return torch.tanh(2 * video) + time[..., None] + shift, audio.square() - time


def same(mine, theirs):
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_the_path_and_its_velocity():
    video, audio, t, video_noise, audio_noise = window()
    for clean, noise in ((video, video_noise), (audio, audio_noise)):
        same(notebook().expand_time(t, clean), library.expand_time(t, clean))
        same(notebook().interpolate(clean, noise, t), library.interpolate(clean, noise, t))
        same(notebook().velocity(clean, noise), library.velocity(clean, noise))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_weight_at_the_ends_and_between(dtype):
    same(notebook().logit_normal(EDGES.to(dtype)), library.logit_normal(EDGES.to(dtype)))
    for weighting in ("logit_normal", "uniform"):
        same(notebook().flow_weight(EDGES, weighting), library.flow_weight(EDGES, weighting))


@pytest.mark.parametrize("y", [None, torch.tensor([1.0, 2.0])])
def test_errors_and_loss_of_a_window(y):
    mine = notebook().rolling_flow_errors(model, *window(), y)
    theirs = library.rolling_flow_errors(model, *window(), y)
    for left, right in zip(mine, theirs, strict=True):
        same(left, right)
    for weighting in ("logit_normal", "uniform"):
        mine = notebook().rolling_flow_loss(model, *window(), y, weighting)
        same(mine, library.rolling_flow_loss(model, *window(), y, weighting))
    same(notebook().rolling_flow_loss(model, *window()), library.rolling_flow_loss(model, *window()))


@pytest.mark.parametrize("place", range(5))
def test_the_same_input_is_refused_with_the_same_words(place):
    wrong = list(window())
    wrong[place] = torch.cat([wrong[place], wrong[place][:, :1]], dim=1)
    messages = []
    for flow in (notebook(), library):
        with pytest.raises(ValueError) as caught:
            flow.rolling_flow_loss(model, *wrong)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    for flow in (notebook(), library):
        with pytest.raises(ValueError, match="weighting must be"):
            flow.rolling_flow_loss(model, *window(), weighting="bell")


def test_the_formula_of_the_spots_is_the_conditional_mean():
    """With no formula: average x - eps over all data points, each as probable as its noise."""
    spots = notebook().Spots(torch.tensor([[0.0, 2.0], [1.0, -1.0]]), torch.tensor([0.25, 0.75]), 0.5)
    data = spots.draw(400_000, torch.Generator().manual_seed(0)).double()
    for here, t in (([0.3, 0.1], 0.4), ([1.0, 1.0], 0.6)):
        here = torch.tensor([here], dtype=torch.float64)
        exact = spots.velocity(here, torch.tensor([t], dtype=torch.float64))[0]
        counted = notebook().velocity_by_counting(here[0], t, data)
        torch.testing.assert_close(exact, counted, atol=0.02, rtol=0)


def test_euler_has_order_one_and_the_exact_flow_is_exact():
    one = notebook().Spots(torch.tensor([[1.0, -1.0]]), torch.ones(1), 0.4)
    noise = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truth = one.centres.double() + 0.4 * noise
    *_, end = notebook().exact_flow(one.velocity, noise)
    torch.testing.assert_close(end, truth, atol=1e-6, rtol=0)
    coarse, fine = ((notebook().generate(one.velocity, noise, n) - truth).norm() for n in (100, 200))
    assert 1.9 < coarse / fine < 2.1
