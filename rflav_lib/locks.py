"""One writer at a time: locks of the operating system, which a process that is killed leaves open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


@contextmanager
def only_writer(path: str | Path) -> Iterator[None]:
    """Hold a file or folder that is about to be written against other processes that write it in this way.

    The lock is a hidden file beside it, taken without waiting: what would be made a second time is not made at all.
    It depends on no clock. It stays behind, empty, when the work is done, for removing it would open a gap.

    Raises:
        ValueError: another process writes it now. OSError: its folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise ValueError(
            f"{path}: another process writes it now; wait for it, or give another place"
        ) from error
    try:
        yield
    finally:
        lock.release()
