"""Many files over HTTP at once, politely: few connections, one pause for all when a server asks for it."""

import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from data_scripts.fetching import fetch
from data_scripts.published import FetchError, Remote, Unreachable

CONNECTIONS = 4  # at once; what a browser would open
DEAD = 8  # files in a row that a failing server did not give: the rest is not asked for
NAMED = 5  # failures spelled out before the rest is counted


class _Stopped(Exception):
    """The user pressed Ctrl-C; what came stays in .part files."""


class _Gate:
    """A server's door: when it asks one of us to wait, all of us do."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop, self._opens = stop, 0.0

    def sleep(self, seconds: float) -> None:
        self._opens = max(self._opens, time.monotonic() + seconds)
        self.wait()

    def wait(self) -> None:
        while (left := self._opens - time.monotonic()) > 0:
            if self._stop.wait(left):
                raise _Stopped


def fetch_all(
    remotes: Sequence[Remote],
    folder: str | Path,
    *,
    connections: int = CONNECTIONS,
    about: int = 0,
    description: str = "fetching",
    timeout: float = 30.0,
    wait: float = 1.0,
) -> list[Path]:
    """Fetch files into `folder`, a few at once, with one progress bar; those that are there and good stay.

    One that fails does not stop the others: all failures are told at the end. Only when DEAD files in a row were
    given up is the rest not asked for.

    Args:
        remotes: what to fetch; see `fetch`.
        folder: where to.
        connections: files at once.
        about: bytes of a file, roughly, where sizes are not published.
        description: what the progress bar says.
        timeout: see `fetch`.
        wait: see `fetch`.

    Returns:
        The files, in the order of `remotes`.

    Raises:
        FetchError: no room for what is still to come, or files that could not be had, named with the reasons.
        KeyboardInterrupt: what came so far stays, and the next call goes on from there.
    """
    folder = Path(folder)
    if connections < 1:
        raise FetchError(f"connections must be at least 1, not {connections}")
    _check_room(remotes, folder, about)
    total = sum(remote.size or about for remote in remotes) or None
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc=description) as bar,
        ThreadPoolExecutor(connections) as pool,
    ):
        run = _Run(remotes, folder, timeout, wait, bar)
        try:
            list(pool.map(run.one, remotes))
        except KeyboardInterrupt:
            run.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if run.failures:
        raise FetchError(_told(run.failures, len(remotes)))
    return [folder / remote.name for remote in remotes]


class _Run:
    """What the threads share."""

    def __init__(
        self, remotes: Sequence[Remote], folder: Path, timeout: float, wait: float, bar: tqdm
    ) -> None:
        self.stop, self.failures = threading.Event(), dict[str, str]()
        self._folder, self._timeout, self._wait, self._bar = folder, timeout, wait, bar
        self._gates = {urlsplit(remote.url).netloc: _Gate(self.stop) for remote in remotes}
        self._guard, self._in_a_row = threading.Lock(), 0

    def one(self, remote: Remote) -> None:
        """Fetch a file, or note why not."""
        gate, path = self._gates[urlsplit(remote.url).netloc], self._folder / remote.name
        if self._in_a_row >= DEAD:
            self.failures[remote.name] = f"{remote.url}: not asked for, {DEAD} in a row had failed"
            return
        try:
            gate.wait()
            there = path.is_file()
            fetch(
                remote, self._folder, timeout=self._timeout, wait=self._wait, progress=self._came, sleep=gate.sleep
            )  # fmt: skip
            if there:
                self._came(path.stat().st_size)
            self._in_a_row = 0
        except FetchError as error:
            self._in_a_row += isinstance(error, Unreachable)
            self.failures[remote.name] = str(error)

    def _came(self, count: int) -> None:
        if self.stop.is_set():
            raise _Stopped
        with self._guard:
            self._bar.update(count)


def _check_room(remotes: Sequence[Remote], folder: Path, about: int) -> None:
    needed = 0
    for remote in remotes:
        path, part = folder / remote.name, folder / f"{remote.name}.part"
        if not path.is_file():
            needed += max(0, (remote.size or about) - (part.stat().st_size if part.is_file() else 0))
    parent = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise FetchError(
            f"{folder}: about {needed / 1e9:.1f} GB are still to come and {free / 1e9:.1f} GB are free; "
            "make room, or give another --root"
        )


def _told(failures: dict[str, str], of: int) -> str:
    named = list(failures.values())[:NAMED]
    more = f"\n  and {len(failures) - len(named)} more" if len(failures) > len(named) else ""
    return (
        f"{len(failures)} of {of} files could not be had (the others are there; the same command goes on):\n  "
        + "\n  ".join(named)
        + more
    )
