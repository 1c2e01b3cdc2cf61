"""A function over many files in processes of their own; one that fails, or kills its process, costs only itself."""

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    function: Callable[[Item], Result], items: Sequence[Item], description: str, workers: int | None = None
) -> Iterator[tuple[Item, Result | Exception]]:
    """Pairs of an item and what the function made of it, or the exception it raised, as they come.

    Args:
        function: a module-level function: processes are started fresh.
        items: what to call it with; what it returns and they must be picklable.
        description: what the progress bar says.
        workers: processes; as many as there are cores by default. With 1 the function runs here.
    """
    workers = min(workers or os.cpu_count() or 1, len(items))
    with tqdm(total=len(items), desc=description, unit="file") as bar:
        pairs = _here(function, items) if workers <= 1 else _there(function, items, workers)
        for pair in pairs:
            bar.update()
            yield pair


def _here(
    function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[tuple[Item, Result | Exception]]:
    for item in items:
        try:
            yield item, function(item)
        except Exception as error:
            yield item, error


def _there(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | Exception]]:
    left = deque(items)
    while left:
        suspects = []  # whoever was in work when a process died: one of them killed it
        for item, outcome in _pool(function, left, workers):
            if isinstance(outcome, BrokenProcessPool):
                suspects.append(item)
            else:
                yield item, outcome
        for item in suspects:  # each in a process of its own, to tell the one from the others
            yield from _pool(function, deque([item]), 1)


def _pool(
    function: Callable[[Item], Result], left: deque[Item], workers: int
) -> Iterator[tuple[Item, Result | Exception]]:
    """Take items from `left` until there are none, or until a process dies."""
    fresh = multiprocessing.get_context("spawn")  # forked threads of torch and FFmpeg may hang
    pool, broken = ProcessPoolExecutor(workers, mp_context=fresh, initializer=_quiet), False
    at_work: dict[Future[Result], Item] = {}
    try:
        while (left and not broken) or at_work:
            while left and len(at_work) < workers and not broken:
                item = left.popleft()
                try:
                    at_work[pool.submit(function, item)] = item
                except BrokenProcessPool:
                    left.appendleft(item)
                    broken = True
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error  # someone wants an end, as when `_here` calls the function
                broken = broken or isinstance(error, BrokenProcessPool)
                yield at_work.pop(future), future.result() if error is None else error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _quiet() -> None:
    """Ctrl-C is for the main process, which lets files in work be finished; the cores are shared by files."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    if torch := sys.modules.get("torch"):  # too late for the variable
        torch.set_num_threads(1)
