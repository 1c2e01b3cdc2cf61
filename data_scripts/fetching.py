"""Files over HTTP that arrive whole or not at all: resumed, checked against a lock file, tried again."""

import os
import shutil
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests

from data_scripts.published import (
    FetchError,
    Locked,
    LockFile,
    Remote,
    Unreachable,
    in_short,
    sha256_of,
    verify,
)
from rflav_lib.locks import held

BLOCK = 1 << 16  # bytes; what an interrupted download may lose
RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
LONGEST_WAIT = 120.0  # seconds; a server that asks for more gets one clear error instead


def fetch(
    remote: Remote,
    folder: str | Path,
    *,
    attempts: int = 5,
    timeout: float = 30.0,
    wait: float = 1.0,
    progress: Callable[[int], None] | None = None,
    sleep: Callable[[float], None] | None = None,
) -> Path:
    """Fetch one file into `folder`; a file that is there and good is left alone.

    The bytes go to `<name>.part`, from which an interrupted download goes on if the server still has the same
    file (by its ETag or date, sent as If-Range). Two processes that want the same file take turns.

    Args:
        remote: what to fetch.
        folder: where to; `fetch.lock.json` in it remembers the size and SHA-256 of each first download.
        attempts: tries in a row without a new byte before giving up.
        timeout: seconds without a byte after which a try counts as failed.
        wait: seconds before the second try, doubled each time; a Retry-After header comes first.
        progress: called with each number of bytes that arrived, less than zero where they are lost again. It may raise:
            what came so far stays for the next call.
        sleep: waits that many seconds before another try; time.sleep by default.

    Raises:
        FetchError: no such file, wrong bytes, no room on the disk, a folder that cannot be written, or a
            server that keeps failing.
    """  # noqa: DOC501 - an OSError becomes a FetchError
    folder = Path(folder)
    target = folder / remote.name
    if Path(remote.name).is_absolute() or ".." in Path(remote.name).parts:
        raise FetchError(f"{remote.name!r}: a file to fetch must lie inside {folder}")
    progress, sleep = progress or (lambda count: None), sleep or time.sleep
    try:
        if target.is_file() and (locked := LockFile(folder).read().get(remote.name)):
            verify(target, remote, locked, "delete it, or move it away, to fetch it again")
            return target  # nothing to write: this works in a read-only folder, too
        target.parent.mkdir(parents=True, exist_ok=True)
        with held(target.with_name(f".{target.name}.lock")):
            return _fetch(remote, folder, target, attempts, timeout, wait, progress, sleep)
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise
        raise FetchError(f"{target}: cannot be written: {error.strerror or error}") from error


def _fetch(
    remote: Remote,
    folder: Path,
    target: Path,
    attempts: int,
    timeout: float,
    wait: float,
    progress: Callable[[int], None],
    sleep: Callable[[float], None],
) -> Path:
    lock = LockFile(folder)
    locked = lock.read().get(remote.name)
    if target.exists():
        verify(target, remote, locked, "delete it, or move it away, to fetch it again")
        if locked is None:
            lock.record(remote.name, Locked(remote.url, target.stat().st_size, sha256_of(target)))
        return target
    part = target.with_name(f"{target.name}.part")
    failures, best = 0, part.stat().st_size if part.exists() else 0
    progress(best)
    while True:
        try:
            _download(remote, part, timeout, progress)
            break
        except (_TryAgain, requests.RequestException) as error:
            after = part.stat().st_size if part.exists() else 0
            failures = 1 if after > best else failures + 1  # a slow line that moves is not a failure
            best = max(best, after)
            if failures >= attempts:
                raise Unreachable(
                    f"{remote.url}: gave up after {attempts} tries without progress: {in_short(error)}; "
                    f"run the same command again to go on from {after} bytes"
                ) from error
            pause = getattr(error, "retry_after", None)
            pause = wait * 2 ** (failures - 1) if pause is None else pause
            if pause > LONGEST_WAIT:
                raise FetchError(
                    f"{remote.url}: the server asks to wait {pause:.0f} s; try again then"
                ) from error
            sleep(pause)
    try:
        verify(part, remote, locked, "it was removed; if the file was changed on purpose, edit the lock file")
    except FetchError:
        progress(-part.stat().st_size)
        part.unlink()
        _forget(part)
        raise
    entry = Locked(remote.url, part.stat().st_size, sha256_of(part))
    os.replace(part, target)
    _forget(part)
    if locked is None:
        lock.record(remote.name, entry)
    return target


class _TryAgain(Exception):
    """A failure that may pass."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def _download(remote: Remote, part: Path, timeout: float, progress: Callable[[int], None]) -> None:
    """One try: leave all bytes in `part`, or raise with as many as came."""
    have, mark = (part.stat().st_size if part.exists() else 0), _mark_of(part)
    headers = {"Accept-Encoding": "identity", "User-Agent": "rflav-lab"}
    if have and mark:  # without a mark nobody can tell whether the file is still the same
        headers |= {"Range": f"bytes={have}-", "If-Range": mark}
    with requests.get(remote.url, headers=headers, stream=True, timeout=timeout) as response:
        status = response.status_code
        if status == 416:  # the file is shorter than what we have: begin again
            part.unlink()
            progress(-have)
            raise _TryAgain("the file became shorter while it was fetched")
        if status in RETRY_STATUS:
            raise _TryAgain(f"the server answered {status}", _retry_after(response))
        if status not in (200, 206):
            raise FetchError(
                f"{remote.url}: the server answered {status} {response.reason}; is the link dead?"
            )
        start = have if status == 206 else 0
        if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            progress(-have)
            raise _TryAgain("the server sent another range than asked")
        total = _total(remote, response, start)
        if remote.size is not None and total is not None and total != remote.size:
            raise FetchError(
                f"{remote.url}: the server offers {total} bytes, not the published {remote.size}"
            )
        _check_room(part, (total or remote.size or start) - start)
        new_mark = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if not start:
            progress(-have)
            part.unlink(missing_ok=True)  # bytes and mark never belong to different files, kill -9 or not
            _forget(part)
            if new_mark and not new_mark.startswith("W/"):
                _mark_path(part).write_text(new_mark, "utf-8")
        with part.open("ab") as file:
            for block in response.iter_content(BLOCK):
                file.write(block)
                progress(len(block))
        size = part.stat().st_size
        if total is not None and size != total:
            raise _TryAgain(f"{size} of {total} bytes came")


def _total(remote: Remote, response: requests.Response, start: int) -> int | None:
    """Bytes of the whole file; None where it comes in chunks, whose end is marked."""
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("text/html") and Path(remote.name).suffix not in (".html", ".htm"):
        raise FetchError(
            f"{remote.url}: the server sent a web page instead of the file: open the link in a browser to see what it "
            f"asks for (a login, a quota), and put the file where it belongs by hand"
        )
    length = response.headers.get("Content-Length", "")
    if length.isdecimal():
        return start + int(length)
    marked = "chunked" in response.headers.get("Transfer-Encoding", "")
    if not (marked or remote.size or remote.sha256 or remote.git_blob):
        raise FetchError(
            f"{remote.url}: the server does not say how long the file is, so nobody could tell whether all of it came; "
            "fetch it by hand"
        )
    return None


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise FetchError(
            f"{path.parent}: {needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free; make room"
        )


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _mark_path(part: Path) -> Path:
    return part.with_name(f".{part.name}.etag")


def _mark_of(part: Path) -> str | None:
    return _mark_path(part).read_text("utf-8") if _mark_path(part).exists() else None


def _forget(part: Path) -> None:
    _mark_path(part).unlink(missing_ok=True)
