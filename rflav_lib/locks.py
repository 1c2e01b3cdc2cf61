"""One process at a time: locks of the operating system, which a process that is killed leaves open."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


@contextmanager
def held(lock: Path, refusal: Callable[[], str] | None = None) -> Iterator[None]:
    """Hold a lock against other processes: they wait for their turn, or are refused at once where there is a `refusal`.

    The lock is the kernel's (`flock`): it depends on no clock, and `kill -9` leaves none behind. On network file
    systems it is as good as the mount: NFS since Linux 2.6.12 passes it to the server unless mounted with
    `local_lock`, Lustre needs `-o flock`. The file stays behind, empty, for removing it would open a gap.

    Args:
        lock: the file; its folder is there.
        refusal: what to say to those who come second; None lets them wait.

    Raises:
        ValueError: another holds it, and there is a refusal.
        RuntimeError: this very thread holds it, and there is no refusal: it would wait for itself.
        OSError: it cannot be written, or its file system has no such locks; names the file.
    """
    # the mode is for the group: others may share a folder of data
    file = filelock.FileLock(lock, timeout=0 if refusal else -1, mode=0o664, fallback_to_soft=False)
    try:
        file.acquire()
    except filelock.Timeout as error:
        raise ValueError(refusal() if refusal else str(error)) from error
    except OSError as error:
        error.filename = error.filename or str(lock)
        raise
    try:
        yield
    finally:
        file.release()


@contextmanager
def only_writer(path: str | Path) -> Iterator[None]:
    """Hold a file or folder that is about to be written against other processes that write it in this way.

    The lock is a hidden file beside it, taken without waiting: what would be made a second time is not made at all.

    Raises:
        ValueError: another process writes it now. OSError: its folder cannot be written, or has no locks.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    refusal = f"{path}: another process writes it now; wait for it, or give another place"
    with held(path.with_name(f".{path.name}.lock"), lambda: refusal):
        yield
