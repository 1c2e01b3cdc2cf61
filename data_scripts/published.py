"""What is known of a file before it is fetched: what is published, and what its first download was."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rflav_lib.files import read_json, whole
from rflav_lib.locks import held
from rflav_lib.typed import typed

BLOCK = 1 << 20  # bytes read at once


class FetchError(RuntimeError):
    """A file that cannot be had; the message names it, says why, and what to do."""


class Unreachable(FetchError):
    """A server that kept failing, try after try."""


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
            return {name: typed(Locked, entry) for name, entry in read_json(self.path).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise FetchError(
                f"{self.path}: not a lock file ({error}); delete it to record checksums anew"
            ) from None

    def record(self, name: str, entry: Locked) -> None:
        """Add one entry and keep the others."""
        with held(self.path.with_name(".fetch.lock.json.lock")):
            entries = self.read() | {name: entry}
            text = json.dumps({key: asdict(entries[key]) for key in sorted(entries)}, indent=1)
            with whole(self.path) as draft:
                draft.write_text(text + "\n", "utf-8")


def in_short(error: Exception) -> str:
    """What went wrong on the way to a server, without the names of the classes it passed through."""
    cause = error.args[0] if error.args else error
    text = str(getattr(cause, "reason", None) or cause)
    return text.partition("): ")[2] or text if text.startswith("HTTP") else text


def verify(path: Path, remote: Remote, locked: Locked | None, advice: str) -> None:
    """Compare a file with what is published about it and what its first download was.

    Raises:
        FetchError: it differs; ends with the advice.
    """
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
