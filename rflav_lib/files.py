"""Files and folders that appear whole or not at all, and JSON that is readable or refused by name."""

import ctypes
import hashlib
import json
import math
import os
import shutil
import stat
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

# characters; longer ones are no format, but the end of a sentence with a full stop in it
_LONGEST_SUFFIX = 16
_AT_FDCWD, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2  # of Linux' renameat2 and of macOS' renamex_np


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Hand out a path beside `path` to write a file to; rename it when the block ends well.

    If the block raises, what was written is removed and a `path` that was there before stays as it was.
    A link is followed: what it leads to is written, and the link stays. Files get the permissions that the umask
    asks for, whoever wrote them.

    Raises:
        IsADirectoryError: there is a folder at `path`; told before the block begins, and nothing is touched.
        OSError: it cannot be written, with the reason (a full disk, a folder for reading only) and the path.
    """
    with _draft(path, refuse_folder) as draft:
        yield draft


@contextmanager
def whole_folder(path: str | Path, *marks: str) -> Iterator[Path]:
    """As `whole`, for a block that writes a folder.

    Args:
        path: of the folder.
        marks: files that such a folder holds. A folder with one of them is replaced, and so is an empty one; any
            other folder is somebody's, and refused. None given: only an empty one is replaced.

    Raises:
        FileExistsError: a folder without a mark, or a file; told before the block begins, and nothing is touched.
        OSError: as `whole`.
    """
    with _draft(path, lambda target: refuse_other(target, *marks)) as draft:
        yield draft


@contextmanager
def _draft(path: str | Path, refuse: Callable[[Path], None]) -> Iterator[Path]:
    path = _followed(Path(path))
    draft = _draft_of(path)
    try:
        refuse(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        refuse(path)  # it may have come while the block was at work
        _follow_umask(draft)
        _take_the_place(draft, path)
    except OSError as error:
        plain = type(error).__module__ == "builtins" and error.errno is not None
        if not plain or error.filename not in (None, str(draft)):
            raise  # it says itself what is wrong, or is about another file
        # a write to a full disk names no file, and the name of a draft says nothing to anybody
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        _remove(draft)


def refuse_folder(path: str | Path) -> None:
    """Raise an IsADirectoryError if there is a folder where a file is to be written: see that before the work."""
    if Path(path).is_dir():
        raise IsADirectoryError(
            f"{path}: is a folder, and a file is to be written here: give another name, or move it away"
        )


def refuse_other(path: str | Path, *marks: str) -> None:
    """Raise the FileExistsError of `whole_folder`: see before the work that its folder may be written."""
    path, reason = Path(path), ""
    if path.is_dir():
        if any(path.iterdir()) and not any((path / mark).is_file() for mark in marks):
            holds = f"holds other things and no {' or '.join(marks)}" if marks else "is not empty"
            reason = f"is a folder that {holds}, so it is not replaced"
    elif path.exists():
        reason = "is a file, and a folder is to be written here"
    if reason:
        raise FileExistsError(f"{path}: {reason}: give another name, or move it away")


def output_file(text: str) -> Path:
    """`type=` of an option of a command line that names a file to write: a folder is refused before the work."""
    try:
        refuse_folder(text)
    except OSError as error:
        raise ArgumentTypeError(str(error)) from error
    return Path(text)


def stamp(made: str | Path, source_time: int) -> None:
    """Give what was made of a source the source's time of change, in ns: by that `is_made_of` knows it again."""
    os.utime(made, ns=(source_time, source_time))


def is_made_of(made: str | Path, source_time: int) -> bool:
    """Whether a file is there and stamped with this time.

    Equal, not newer: a clock that was set back, or a source from a camera whose clock runs ahead, changes nothing.
    """
    if not Path(made).is_file():
        return False
    found = Path(made).stat().st_mtime_ns
    return found in (source_time, source_time // 10**9 * 10**9)  # some file systems keep whole seconds


def append_whole(path: str | Path, text: str) -> None:
    """Add text to the end of a file, made if need be: all of it, and on the disk, or nothing.

    Raises:
        OSError: it cannot be written; names the file.
    """
    data, file = text.encode(), None
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(file).st_size
        try:
            rest = memoryview(data)
            while rest:  # a disk that is nearly full takes a part first, without an error
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if file is not None:
            os.close(file)


def read_json(path: str | Path, advice: str = "") -> Any:
    """What a JSON file holds.

    Args:
        path: of the file.
        advice: what to do about one that is not readable, put behind the reason.

    Raises:
        FileNotFoundError, PermissionError: as they are.
        ValueError: not readable as JSON; names the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also bytes that are no text, and numbers of 5000 digits
        raise ValueError(
            f"{path}: not readable as JSON: {error}" + (f"; {advice}" if advice else "")
        ) from error


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all; its folder is made.

    NaN, which JSON does not know, stands for what could not be measured: null is written for it.

    Raises:
        ValueError: an infinite number, which has no place in JSON; names the file, and where in `content` it is.
    """
    text = json.dumps(_measured(content, str(path)), indent=1, allow_nan=False)
    with whole(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")


def _measured(content: Any, place: str) -> Any:
    """The same with None for NaN."""
    if isinstance(content, Mapping):
        return {key: _measured(value, f"{place}: {key}") for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_measured(value, f"{place}: {number}") for number, value in enumerate(content)]
    if isinstance(content, float) and math.isinf(content):
        raise ValueError(f"{place}: is {content}, which JSON cannot hold; nothing is written")
    return None if isinstance(content, float) and math.isnan(content) else content


def json_digest(content: Any, digits: int = 8) -> str:
    """The first digits of the SHA-256 of a value as JSON: for names of what depends on it."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:digits]


def _followed(path: Path) -> Path:
    """What a link leads to, whether that is there or not; another path as it is."""
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(f"{path}: is a link that leads to itself: remove it, or give another name")
    return target


def _draft_of(path: Path, ending: str | None = None) -> Path:
    """A hidden name beside `path`, like it and no longer than file systems allow wherever `path` is not."""
    # the suffix stays the last thing in the name: writers look at it to choose a format
    stem, suffix = path.stem, path.suffix if ending is None else ending
    suffix = suffix if len(suffix) <= _LONGEST_SUFFIX else ""
    end, longest = f"-{uuid4().hex[:8]}{suffix}", max(64, len(os.fsencode(path.name)))
    while stem and len(os.fsencode(f".{stem}{end}")) > longest:
        stem = stem[:-1]
    return path.with_name(f".{stem}{end}")


def _take_the_place(draft: Path, path: Path) -> None:
    """Rename a draft to `path`. A folder that is there changes places with it in one step, where the system can:
    a process that is killed leaves the one or the other.
    """
    if not path.is_dir():
        os.replace(draft, path)
    elif not _exchange(draft, path):
        old = _draft_of(path, ".old")
        os.replace(path, old)
        try:
            os.replace(draft, path)
        except BaseException:
            os.replace(old, path)
            raise
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change names in one step; False, and nothing has happened, where that cannot be done."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "linux":
            return (
                ctypes.CDLL(None).renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
            )
        if sys.platform == "darwin":
            return ctypes.CDLL(None).renamex_np(*names, _RENAME_SWAP) == 0
    except AttributeError:  # an old C library
        pass
    return False


def _remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _follow_umask(draft: Path) -> None:
    """Open what only the owner may read: safetensors' `save_file` makes files so, and others cannot use them."""
    files = (path for path in (draft.rglob("*") if draft.is_dir() else [draft]) if path.is_file())
    if private := [path for path in files if stat.S_IMODE(path.stat().st_mode) == 0o600]:
        # a new file tells what is usual; os.umask would have to change it for all threads to read it
        sample = (draft if draft.is_dir() else draft.parent) / f".{uuid4().hex}"
        try:
            sample.touch()
            usual = stat.S_IMODE(sample.stat().st_mode)
        finally:
            sample.unlink(missing_ok=True)
        for path in private:
            path.chmod(usual)
