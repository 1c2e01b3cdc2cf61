"""Stopping at the end of a step: Ctrl-C, SIGTERM (what clusters send first), and many processes together."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

import torch
from accelerate import Accelerator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of the block, so that a step is taken or not. Main thread only."""
    caught: list[int] = []
    with handled(lambda number, frame: caught.append(number)):
        yield
    if caught:
        raise KeyboardInterrupt


@contextmanager
def handled(
    handler: Callable[[int, FrameType | None], object], signals: Sequence[signal.Signals] = SIGNALS
) -> Iterator[None]:
    """Have signals handled for the length of the block. In another thread than the main one nothing changes."""
    try:
        before = {number: signal.getsignal(number) for number in signals}
        for number in signals:
            signal.signal(number, handler)
    except ValueError:  # only the main thread may set handlers, and only it gets the signals
        yield
        return
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class StopTogether:
    """One process stops at the end of the step. Several must stop after the same one, or they wait for ever.

    So there a signal only raises a flag. The processes compare flags when they exchange numbers anyway, and if one
    is up, all stop.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator, self._asked = accelerator, False
        self._several = accelerator.num_processes > 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        """For the whole run."""
        with handled(self._ask) if self._several else nullcontext():
            yield

    def deferred(self) -> AbstractContextManager:
        """Around each step and each checkpoint, which are done or not: a signal waits for the end of the block."""
        return nullcontext() if self._several else deferred_interrupt()

    def compare(self) -> None:
        """Raise KeyboardInterrupt in all processes if one was asked to stop. All must call it together."""
        if self._several:
            asked = torch.tensor(float(self._asked), device=self._accelerator.device)
            if self._accelerator.reduce(asked, reduction="sum").item():
                raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
