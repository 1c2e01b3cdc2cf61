"""The feed of the live player: made on credit, steered, parked, ended, and nothing lost when it fails."""

import itertools
import threading
import time

import numpy as np
import pytest
import torch

from rflav_lib.media import Clip
from rflav_lib.view import player_feed
from rflav_lib.view.player_feed import Feed

SECONDS = 60  # for things that take milliseconds on a machine with nothing else to do
CHUNK = 5


class Numbers:
    """A stream of clips of five frames whose pixels count the frames; notes who asks, and how."""

    def __init__(self, fail_at=None):
        self.y, self.fail_at, self.count = 0, fail_at, 0
        self.labels, self.threads, self.gradients = [], set(), set()

    def __next__(self):
        if self.count == self.fail_at:
            raise RuntimeError("the decoder broke\nand here is why at length")
        self.labels.append(self.y)
        self.threads.add(threading.current_thread())
        self.gradients.add(torch.is_grad_enabled())
        frames = np.arange(self.count, self.count + CHUNK, dtype=np.uint8)
        self.count += CHUNK
        pictures = np.broadcast_to(frames[:, None, None, None], (CHUNK, 2, 2, 3)).copy()
        return Clip(pictures, np.repeat(frames.astype(np.float32) / 1000, 1600))


def until(condition):
    """Wait until it holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class Watch:
    """A feed of `Numbers`, and what it said."""

    def __init__(self, ahead=12, patience=SECONDS, **stream):
        self.stream, self.delivered, self.errors = Numbers(**stream), [], []
        self.feed = Feed(lambda: self.stream, self.deliver, self.errors.append, ahead, patience)

    def deliver(self, first, clip, speed):
        assert speed > 0
        self.delivered.append((first, clip))


@pytest.fixture
def watch():
    """Makes watches whose threads are gone after the test."""
    made = []

    def make(**options):
        made.append(Watch(**options))
        return made[-1]

    yield make
    for each in made:
        each.feed.end()
        assert each.feed.join(SECONDS)


def test_no_further_ahead_than_agreed(watch):
    each = watch(ahead=12)
    each.feed.begin()
    until(lambda: each.feed.made == 15)
    time.sleep(0.2)
    assert each.feed.made == 15, "12 ahead, and the clip with which that is reached"
    each.feed.acknowledge(3)
    time.sleep(0.2)
    assert each.feed.made == 15, "12 are still ahead"
    each.feed.acknowledge(4)
    until(lambda: each.feed.made == 20)
    assert [first for first, _ in each.delivered] == [0, 5, 10, 15]


def test_nobody_can_have_played_what_was_not_made(watch):
    each = watch(ahead=5)
    each.feed.begin()
    until(lambda: each.feed.made == 5)
    each.feed.acknowledge(10**9)
    until(lambda: each.feed.made == 10)
    time.sleep(0.2)
    assert (each.feed.played, each.feed.made) == (5, 10)


def test_made_in_one_other_thread_and_without_gradients(watch):
    each = watch()
    each.feed.begin()
    until(lambda: each.feed.made == 15)
    assert len(each.stream.threads) == 1 and threading.current_thread() not in each.stream.threads
    assert each.stream.gradients == {False}


def test_without_an_answer_the_thread_ends_and_with_one_it_goes_on(watch):
    each = watch(ahead=5, patience=0.2)
    each.feed.begin()
    until(lambda: not each.feed.working)
    assert each.feed.made == 5 and each.errors == []
    each.feed.acknowledge(5)
    until(lambda: each.feed.made == 10)
    assert [first for first, _ in each.delivered] == [0, 5], "nothing twice, nothing left out"


def test_many_answers_at_once_start_one_thread(watch):
    each = watch(ahead=5, patience=0.05)
    each.feed.begin()
    for _ in range(20):
        until(lambda: not each.feed.working)
        answers = [threading.Thread(target=each.feed.acknowledge, args=(each.feed.made,)) for _ in range(4)]
        for answer in answers:
            answer.start()
        for answer in answers:
            answer.join()
    until(lambda: not each.feed.working)
    firsts = [first for first, _ in each.delivered]
    assert firsts == list(range(0, CHUNK * len(firsts), CHUNK))


def test_a_thread_that_ends_late_does_not_take_the_next_one_for_itself(watch):
    """One has given up, and before it is gone an answer starts another: that one must stay known as the worker."""
    each = watch(ahead=5, patience=0.05)
    given_up, go_on, workers = threading.Event(), threading.Event(), []
    credit = each.feed._credit

    def slow_to_leave():
        may = credit()
        if not may and not given_up.is_set():
            workers.append(threading.current_thread())
            given_up.set()
            assert go_on.wait(SECONDS)
        return may

    each.feed._credit = slow_to_leave
    each.feed.begin()
    assert given_up.wait(SECONDS)
    each.feed._patience = SECONDS
    each.feed.acknowledge(5)
    until(lambda: each.feed.made == 10)
    go_on.set()
    workers[0].join(SECONDS)
    assert not workers[0].is_alive()
    assert each.feed.working
    each.feed.acknowledge(10)
    until(lambda: each.feed.made == 15)
    assert len(each.stream.threads) == 2, "no third one beside the second"


def test_the_stream_is_steered_between_clips(watch):
    each = watch(ahead=5)
    each.feed.begin()
    until(lambda: each.feed.made == 5)
    each.feed.steer("y", 3)
    each.feed.acknowledge(5)
    until(lambda: each.feed.made == 10)
    assert each.stream.labels == [0, 3]


def test_what_was_seen_ends_where_it_was_played(watch):
    each = watch(ahead=20)
    each.feed.begin()
    assert each.feed.seen() is None
    until(lambda: each.feed.made == 20)
    each.feed.acknowledge(7)
    clip = each.feed.seen()
    assert clip.frames[:, 0, 0, 0].tolist() == list(range(7)) and len(clip.waveform) == 7 * 1600
    assert np.allclose(clip.waveform[::1600], np.arange(7) / 1000), "each frame with its own sound"


def test_what_was_delivered_can_be_had_again(watch):
    each = watch()
    each.feed.begin()
    until(lambda: each.feed.made == 15)
    assert [first for first, _ in each.feed.clips_from(5)] == [5, 10]
    assert each.feed.clips_from(5)[0][1] is each.delivered[1][1]
    assert each.feed.clips_from(15) == []


def test_long_ago_is_let_go(watch, monkeypatch):
    monkeypatch.setattr(player_feed, "KEPT_SECONDS", 1.0)
    each = watch(ahead=5)
    each.feed.begin()
    for made in range(5, 55, 5):
        until(lambda made=made: each.feed.made == made)
        each.feed.acknowledge(made)
    until(lambda: each.feed.made == 55)
    seen = each.feed.seen().frames[:, 0, 0, 0].tolist()
    assert seen[-1] == 49 and 10 <= len(seen) <= 15


def test_a_stream_that_breaks_says_so_in_one_line_and_loses_nothing(watch):
    each = watch(ahead=50, fail_at=10)
    each.feed.begin()
    until(lambda: each.errors)
    assert each.errors == ["RuntimeError: the decoder broke"]
    each.feed.acknowledge(8)
    time.sleep(0.1)
    assert not each.feed.working and each.feed.made == 10, "no second attempt"
    assert len(each.feed.seen()) == 8


def test_an_end_while_a_clip_is_made(watch):
    each = watch(ahead=5)
    entered, go_on = threading.Event(), threading.Event()
    make = each.stream.__class__.__next__

    class Slow(Numbers):
        def __next__(self):
            entered.set()
            assert go_on.wait(SECONDS)
            return make(self)

    each.stream = Slow()
    each.feed.begin()
    assert entered.wait(SECONDS)
    each.feed.end()
    go_on.set()
    assert each.feed.join(SECONDS)
    assert each.delivered == [] and each.feed.made == 0
    each.feed.acknowledge(0)
    assert not each.feed.working, "an end is for good"


def test_the_next_feed_waits_for_the_one_before():
    order, hold = [], threading.Event()

    def slowly():
        order.append("first begins")
        assert hold.wait(SECONDS)
        order.append("first ends")
        raise RuntimeError

    said = []
    first = Feed(slowly, lambda *_: None, said.append, 5)
    second = Feed(
        lambda: order.append("second") or itertools.repeat(None), lambda *_: None, said.append, 5, after=first
    )
    first.begin()
    until(lambda: order)
    first.end()
    second.begin()
    time.sleep(0.1)
    hold.set()
    assert second.join(SECONDS)
    second.end()
    assert order == ["first begins", "first ends", "second"]
    assert said[0] == "RuntimeError"
