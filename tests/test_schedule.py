"""Times of the rolling window: as recorded from the released code, and as the paper's Eq. 6-8 say."""

import dataclasses
import math

import pytest
import torch

from rflav_lib.schedule import TIME_MARGIN, RollingSchedule, check_steps
from tests.golden import assert_within, vectors

CASES = [(window, steps) for window in (4, 5, 10) for steps in (1, 2, 5)]

WINDOW_OF_TRANSITION = 10


@pytest.mark.parametrize(("window", "steps"), CASES)
@pytest.mark.parametrize("phase", ["preroll", "roll"])
def test_steps_are_the_released_ones(window, steps, phase):
    golden = vectors("schedule")
    pairs = list(getattr(RollingSchedule(window), f"{phase}_steps")(steps))
    t, dt = (torch.stack(column) for column in zip(*pairs, strict=True))
    prefix = f"T{window}_N{steps}.{phase}"
    assert_within(t, golden[f"{prefix}_t"], 5e-7)
    assert_within(dt, golden[f"{prefix}_dt"], 5e-7)


def test_training_times_are_the_released_ones():
    golden = vectors("training_loss")
    schedule, w = RollingSchedule(4), golden["w"][:, 0]
    t = torch.where(golden["rolling"][:, None].bool(), schedule.rolling(w), schedule.prerolling(w))
    assert_within(t.clamp(TIME_MARGIN, 1 - TIME_MARGIN), golden["t"], 5e-7)


@pytest.mark.parametrize(("window", "steps"), [(1, 1), (1, 3), (4, 1), (10, 2), (7, 3)])
def test_every_frame_takes_window_times_steps_from_noise_to_clean(window, steps):
    """Follow the times through pre-rolling and three shifts: each step starts where the last one ended."""
    schedule, now = RollingSchedule(window), torch.zeros(window)
    age = torch.zeros(window)
    for shift in range(4):
        moves = schedule.roll_steps(steps) if shift else schedule.preroll_steps(steps)
        for t, dt in moves:
            assert t.shape == dt.shape == (window,) and t.dtype == dt.dtype == torch.float32
            torch.testing.assert_close(t, now, atol=1e-6, rtol=0)
            now, age = now + dt, age + (dt > 0)
        assert now[0] == pytest.approx(1, abs=1e-6)
        assert age[0] == window * steps
        now, age = torch.cat([now[1:], torch.zeros(1)]), torch.cat([age[1:], torch.zeros(1)])


def test_a_frame_that_has_not_started_stays_noise():
    for t, dt in RollingSchedule(5).preroll_steps(3):
        started = dt > 0
        assert (dt[~started] == 0).all() and (t[~started] == 0).all()
        assert started.int().diff().le(0).all(), "frames start one after the other, the first one first"


def test_times_fall_from_frame_to_frame_by_one_over_the_window():
    w = torch.tensor([0.0, 0.3, 1.0])
    t = RollingSchedule(10).rolling(w)
    assert_within(t.diff(dim=1), torch.full((3, 9), -0.1), 1e-6)
    assert_within(t[:, 0], 1 - w / 10, 1e-6)
    assert (RollingSchedule(10).prerolling(w).diff(dim=1) <= 0).all()


def test_prerolling_ends_where_rolling_begins():
    schedule = RollingSchedule(6)
    end, begin = schedule.prerolling(torch.zeros(1))[0], schedule.rolling(torch.ones(1))[0]
    assert_within(torch.cat([end[1:], torch.zeros(1)]), begin, 1e-6)
    assert (schedule.prerolling(torch.ones(1)) == 0).all()


def is_surely_prerolling(t):
    """Eq. 6 never lets the first frame below 1 - 1/T, Eq. 7 does so for all but 1/T of its draws."""
    return t[:, 0] < 1 - 1 / t.shape[1] - 1e-6


@pytest.mark.parametrize("theta", [0.0, 0.2, 0.5, 1.0])
def test_draw_mixes_the_phases_as_asked(theta):
    count, window = 20_000, 10
    t = RollingSchedule(window, theta).draw(count, torch.Generator().manual_seed(0))
    expected = theta * (1 - 1 / window)
    deviation = (expected * (1 - expected) / count) ** 0.5
    assert is_surely_prerolling(t).float().mean().item() == pytest.approx(expected, abs=4 * deviation + 1e-9)


def test_draw_gives_each_sample_one_w_and_one_phase():
    schedule = RollingSchedule(6, 0.5)
    t = schedule.draw(200, torch.Generator().manual_seed(0))
    prerolling = is_surely_prerolling(t)
    assert 50 < prerolling.sum() < 150
    # the first frame tells w, and with it the times of all the others
    rest = schedule.prerolling(1 - t[prerolling, 0])
    assert_within(t[prerolling], rest.clamp(TIME_MARGIN, 1 - TIME_MARGIN), 1e-6)
    either = t[~prerolling, 0]  # a pre-rolling sample near its end starts as a rolling one does
    is_rolling = (t[~prerolling] - schedule.rolling((1 - either) * 6)).abs().amax(dim=1) < 5e-6
    is_prerolling = (t[~prerolling] - schedule.prerolling(1 - either)).abs().amax(dim=1) < 5e-6
    assert (is_rolling | is_prerolling).all()


def test_draw_spreads_w_evenly_and_independently_of_the_phase():
    window = 10
    t = RollingSchedule(window, 0.0).draw(20_000, torch.Generator().manual_seed(0))
    w = (1 - t[:, 0]) * window
    shares = torch.histc(w, bins=10, min=0, max=1) / len(w)
    assert_within(shares, torch.full((10,), 0.1), 0.01)
    t = RollingSchedule(window, 0.5).draw(20_000, torch.Generator().manual_seed(0))
    w = 1 - t[is_surely_prerolling(t), 0]  # uniform on (1/T, 1) within these
    assert w.mean().item() == pytest.approx(0.55, abs=0.01)


def test_draw_keeps_off_the_ends_and_follows_its_generator():
    schedule = RollingSchedule(4, 1.0)
    t = schedule.draw(2000, torch.Generator().manual_seed(3))
    assert t.shape == (2000, 4) and t.dtype == torch.float32
    assert t.min().item() == pytest.approx(1e-6, rel=1e-3) and t.max().item() < 1
    assert torch.equal(t, schedule.draw(2000, torch.Generator().manual_seed(3)))
    assert not torch.equal(t, schedule.draw(2000, torch.Generator().manual_seed(4)))
    assert not torch.equal(t[0], t[1]), "each sample has its own w"


@pytest.mark.parametrize("window", [0, -1, 2.0, "10", True])
def test_window_must_be_a_positive_whole_number(window):
    with pytest.raises(ValueError, match=f"window.*{window!r}"):
        RollingSchedule(window)


@pytest.mark.parametrize("theta", ["0.2", None])
def test_a_share_that_is_no_number(theta):
    with pytest.raises(ValueError, match="preroll_probability must be a finite number"):
        RollingSchedule(10, theta)


@pytest.mark.parametrize("batch", [-1, "2", 2.5, True, None])
def test_a_batch_that_is_none(batch):
    with pytest.raises(ValueError, match="batch must be a whole number, at least 0"):
        RollingSchedule(10).draw(batch)


@pytest.mark.parametrize("theta", [-0.1, 1.1, float("nan")])
def test_preroll_probability_must_be_a_probability(theta):
    with pytest.raises(ValueError, match=f"preroll_probability.*{theta!r}"):
        RollingSchedule(10, theta)


@pytest.mark.parametrize("steps", [0, -2, 2.0, 0.5, "2", None, True])
def test_steps_per_frame_must_be_a_positive_whole_number(steps):
    schedule = RollingSchedule(4)
    for take in (check_steps, schedule.preroll_steps, schedule.roll_steps):
        with pytest.raises(ValueError, match=f"steps_per_frame.*{steps!r}"):
            take(steps)


def test_schedule_cannot_be_changed_behind_a_sampler():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RollingSchedule(4).window = 5


def test_rolling_is_the_last_part_of_prerolling_and_transition_lies_between():
    schedule, w = RollingSchedule(WINDOW_OF_TRANSITION), torch.rand(50, dtype=torch.float64)
    ends = [schedule.transition(w, torch.full_like(w, u)) for u in (0.0, 1.0)]
    torch.testing.assert_close(ends[0], schedule.prerolling(w))
    torch.testing.assert_close(ends[1], schedule.rolling(w))
    between = schedule.transition(w, torch.full_like(w, 0.5))
    assert (between >= ends[0]).all() and (between <= ends[1]).all() and (between < ends[1]).any()


def test_transition_times_take_their_share_of_the_rolling_ones():
    schedule = RollingSchedule(WINDOW_OF_TRANSITION, 0.2, 0.5)
    t, rolls = schedule.draw_phase(20_000, torch.Generator().manual_seed(0))
    assert rolls.double().mean().item() == pytest.approx(0.3, abs=0.02)
    # w ~ U(0, 1): rolling never has its first frame below 1 - 1/T, pre-rolling is mostly there, transition half-way
    early = (t[:, 0] < 1 - 1 / WINDOW_OF_TRANSITION).double().mean().item()
    assert 0.2 * 0.9 + 0.02 < early < 0.7 * 0.9
    assert torch.equal(
        schedule.draw(9, torch.Generator().manual_seed(0)),
        schedule.draw_phase(9, torch.Generator().manual_seed(0))[0],
    )


def test_without_transition_the_draws_are_those_of_eq_8():
    """The very numbers: w first, then the phase, and nothing else from the generator."""
    schedule, generator = RollingSchedule(6, 0.3), torch.Generator().manual_seed(4)
    t, rolls = schedule.draw_phase(64, generator)
    same = torch.Generator().manual_seed(4)
    w, phase = (
        torch.rand(64, generator=same),
        torch.bernoulli(torch.full((64, 1), 0.7), generator=same).bool(),
    )
    expected = torch.where(phase, schedule.rolling(w), schedule.prerolling(w)).clamp(1e-6, 1 - 1e-6)
    assert torch.equal(t, expected) and torch.equal(rolls, phase[:, 0])
    assert torch.equal(generator.get_state(), same.get_state())


def test_a_share_of_transition_that_theta_leaves_no_room_for_is_refused():
    with pytest.raises(ValueError, match=r"transition_probability must lie in .* = 0.8.*, not 0.9"):
        RollingSchedule(10, 0.2, 0.9)


def test_the_paper_s_setting_is_the_default():
    assert RollingSchedule() == RollingSchedule(
        window=10, preroll_probability=0.2, transition_probability=0.0
    )


def test_times_are_computed_in_float64():
    w = torch.linspace(0, 1, 7, dtype=torch.float64)
    k = torch.arange(7, dtype=torch.float64)
    expected = (1 - (k / 7 + w[:, None])).clamp(0, 1)
    assert_within(RollingSchedule(7).prerolling(w), expected, 1e-15)
    for _, dt in RollingSchedule(7).roll_steps(3):
        assert torch.equal(dt, torch.full((7,), 1 / 21)), "rounded once, at the end"


def test_times_lie_where_w_does():
    """On the device that only knows shapes, anything made elsewhere would be refused."""
    w = torch.zeros(2, device="meta")
    for times in (RollingSchedule(4).rolling, RollingSchedule(4).prerolling):
        assert times(w).device.type == "meta"


def test_a_w_of_zero_is_kept_off_the_end_too(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, generator=None: torch.zeros(size))
    t = RollingSchedule(4).draw(3)
    assert torch.equal(t[:, 0], torch.full((3,), 1 - 1e-6))


def test_transition_may_take_all_that_prerolling_leaves():
    _, rolls = RollingSchedule(4, 0.5, 0.5).draw_phase(100, torch.Generator().manual_seed(0))
    assert not rolls.any()


def test_in_transition_the_times_are_those_of_transition():
    """The very numbers: after w and the phase, who is in transition, and how far."""
    schedule = RollingSchedule(6, 0.0, 1.0)
    t, rolls = schedule.draw_phase(64, torch.Generator().manual_seed(4))
    same = torch.Generator().manual_seed(4)
    w, _ = torch.rand(64, generator=same), torch.bernoulli(torch.ones(64, 1), generator=same)
    _, towards_rolling = torch.rand(2, 64, generator=same)
    assert torch.equal(t, schedule.transition(w, towards_rolling).clamp(1e-6, 1 - 1e-6)) and not rolls.any()


@pytest.mark.parametrize(
    ("w", "message"),
    [
        (torch.tensor([0, 1]), r"not torch.int64 \(2,\)"),
        (torch.tensor(0.5), r"not torch.float32 \(\)"),
        (torch.zeros(2, 2), r"not torch.float32 \(2, 2\)"),
        (0.5, "not 0.5"),
        (torch.tensor([3.0]), r"must lie in \[0, 1\], not \[3.0\]"),
        (torch.tensor([math.nan]), r"must lie in \[0, 1\], not \[nan\]"),
    ],
)
def test_a_place_between_two_shifts_that_is_none_is_refused(w, message):
    for times in (RollingSchedule(4).rolling, RollingSchedule(4).prerolling):
        with pytest.raises(ValueError, match=message):
            times(w)
