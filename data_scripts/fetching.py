"""Files over HTTP that arrive whole or not at all: resumed, checked against a lock file, tried again."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests
from huggingface_hub.utils import WeakFileLock

from rflav_lib.files import whole

BLOCK = 1 << 16  # bytes; what an interrupted download may lose
RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
LONGEST_WAIT = 120.0  # seconds; a server that asks for more gets one clear error instead


class FetchError(RuntimeError):
    """A file that cannot be had; the message names it, says why, and what to do."""


@dataclass(frozen=True)
class Remote:
    """A file to fetch: `name` relative to the folder, `url`, and what is published about it, if anything."""

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None


@dataclass(frozen=True)
class Locked:
    """What the first download of a file was; later ones must be the same."""

    url: str
    size: int
    sha256: str


class LockFile:
    """`fetch.lock.json` in a folder: name -> Locked. Safe for several processes at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fetch.lock.json"

    def read(self) -> dict[str, Locked]:
        """Raises FetchError for a file that is not a lock file."""
        if not self.path.exists():
            return {}
        try:
            return {name: Locked(**entry) for name, entry in json.loads(self.path.read_text("utf-8")).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise FetchError(
                f"{self.path}: not a lock file ({error}); delete it to record checksums anew"
            ) from None

    def record(self, name: str, entry: Locked) -> None:
        """Add one entry and keep the others."""
        with WeakFileLock(self.path.with_name(".fetch.lock.json.lock")):
            entries = self.read() | {name: entry}
            text = json.dumps({key: asdict(entries[key]) for key in sorted(entries)}, indent=1)
            with whole(self.path) as draft:
                draft.write_text(text + "\n", "utf-8")


def fetch(
    remote: Remote,
    folder: str | Path,
    *,
    attempts: int = 5,
    timeout: float = 30.0,
    wait: float = 1.0,
    progress: Callable[[int], None] | None = None,
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
        progress: called with each number of bytes that arrived.

    Raises:
        FetchError: no such file, wrong bytes, no room on the disk, a folder that cannot be written, or a
            server that keeps failing.
    """
    folder = Path(folder)
    target = folder / remote.name
    if Path(remote.name).is_absolute() or ".." in Path(remote.name).parts:
        raise FetchError(f"{remote.name!r}: a file to fetch must lie inside {folder}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(target.with_name(f".{target.name}.lock")):
            return _fetch(remote, folder, target, attempts, timeout, wait, progress or (lambda count: None))
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
) -> Path:
    lock = LockFile(folder)
    locked = lock.read().get(remote.name)
    if target.exists():
        _verify(target, remote, locked, "delete it, or move it away, to fetch it again")
        if locked is None:
            lock.record(remote.name, Locked(remote.url, target.stat().st_size, sha256_of(target)))
        return target
    part = target.with_name(f"{target.name}.part")
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _download(remote, part, timeout, progress)
            break
        except (_TryAgain, requests.RequestException) as error:
            after = part.stat().st_size if part.exists() else 0
            failures = 1 if after > before else failures + 1  # a slow line that moves is not a failure
            if failures >= attempts:
                raise FetchError(
                    f"{remote.url}: gave up after {attempts} tries without progress: {error}; "
                    f"run the same command again to go on from {after} bytes"
                ) from error
            pause = getattr(error, "retry_after", None)
            pause = wait * 2 ** (failures - 1) if pause is None else pause
            if pause > LONGEST_WAIT:
                raise FetchError(
                    f"{remote.url}: the server asks to wait {pause:.0f} s; try again then"
                ) from error
            time.sleep(pause)
    try:
        _verify(
            part, remote, locked, "it was removed; if the file was changed on purpose, edit the lock file"
        )
    except FetchError:
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
            raise _TryAgain("the server sent another range than asked")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        if remote.size is not None and total is not None and total != remote.size:
            raise FetchError(
                f"{remote.url}: the server offers {total} bytes, not the published {remote.size}"
            )
        _check_room(part, (total or remote.size or start) - start)
        new_mark = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if not start:
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


def _verify(path: Path, remote: Remote, locked: Locked | None, advice: str) -> None:
    wanted_size = remote.size if remote.size is not None else locked and locked.size
    size = path.stat().st_size
    if wanted_size is not None and size != wanted_size:
        raise FetchError(f"{path}: {size} bytes instead of {wanted_size}; {advice}")
    for wanted in filter(None, (remote.sha256, locked and locked.sha256)):
        if (found := sha256_of(path)) != wanted:
            raise FetchError(f"{path}: SHA-256 is {found} instead of {wanted}; {advice}")
    if remote.git_blob and (found := git_blob_of(path)) != remote.git_blob:
        raise FetchError(f"{path}: git blob id is {found} instead of {remote.git_blob}; {advice}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_of(path: Path) -> str:
    """The id that `git hash-object` prints: a published checksum for files kept in git."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


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
