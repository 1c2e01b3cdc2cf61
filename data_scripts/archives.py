"""Zip and tar archives of media, unpacked whole or not at all, and never outside the folder they belong in.

Everything that a hostile or broken archive could do (absolute and `..` paths, links, devices, names twice, more bytes
than it should hold) is looked for before the first byte is written.
"""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm.auto import tqdm

from rflav_lib.files import whole_folder

BLOCK = 1 << 20  # bytes
LARGEST_RATIO = 20  # unpacked to packed: media hardly shrink, a bomb does by thousands
SMALL = 64 << 20  # bytes unpacked below which the ratio does not matter: text and silence shrink a lot
MOST_MEMBERS = 1_000_000
BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    UnicodeError,
)  # fmt: skip


class ArchiveError(ValueError):
    """An archive that is refused, with its name and the reason; nothing of it was left behind."""


@dataclass(frozen=True)
class _Member:
    """A file in an archive."""

    name: str
    size: int
    link: bool
    regular: bool
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether `unpack` knows this kind of file, by its content."""
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def unpack(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a zip or tar archive (plain, gz, bz2, xz) to `folder`, which must not exist yet.

    Raises:
        ArchiveError: no such file, another kind, damaged, encrypted, or one of the things above; or no room.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise ArchiveError(f"{folder}: is there already; delete it to unpack {archive.name} again")
    if not archive.is_file():
        raise ArchiveError(f"{archive}: no such file")
    if not is_archive(archive):
        raise ArchiveError(
            f"{archive}: neither zip nor tar; unpack it by hand and give the folder with --from"
        )
    try:
        with _members(archive) as members:
            total = _inspect(archive, members, folder)
            with (
                whole_folder(folder) as draft,
                tqdm(total=total, unit="B", unit_scale=True, desc="unpacking") as bar,
            ):
                draft.mkdir()
                for member in members:
                    _write(archive, member, draft, bar.update)
    except BROKEN as error:
        if isinstance(error, ArchiveError):
            raise
        raise ArchiveError(f"{archive}: damaged, encrypted, or of an unknown kind: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArchiveError(f"{archive}: cannot be unpacked to {folder}: {reason}") from error
    return folder


@contextmanager
def _members(archive: Path) -> Iterator[Sequence[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield [_zip_member(zipped, info) for info in zipped.infolist() if not info.is_dir()]
    else:
        with tarfile.open(archive) as tar:
            # a compressed tar says what it holds only as it is read: stop as soon as that is too much
            members = list(_counted(archive, (_tar_member(tar, info) for info in tar if not info.isdir())))
            _read_to_end(archive, tar)
            yield members


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    return _Member(
        info.filename,
        info.file_size,
        link=kind == stat.S_IFLNK,
        regular=kind in (0, stat.S_IFREG) and not info.flag_bits & 1,  # bit 0: encrypted
        open=lambda: zipped.open(info),
    )


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    return _Member(
        info.name,
        info.size,
        link=info.issym() or info.islnk(),
        regular=info.isreg() and not info.issparse(),
        open=lambda: tar.extractfile(info),
    )


def _read_to_end(archive: Path, tar: tarfile.TarFile) -> None:
    """A compressed stream's checksum comes last, after the padding that tarfile does not read."""
    padding = 0
    while block := tar.fileobj.read(BLOCK):
        padding += len(block)
        if padding > SMALL:
            raise ArchiveError(f"{archive}: over {SMALL} bytes follow the end of the archive: refused")


def _counted(archive: Path, members: Iterator[_Member]) -> Iterator[_Member]:
    packed, total = archive.stat().st_size, 0
    for count, member in enumerate(members, 1):
        total += member.size
        if count > MOST_MEMBERS:
            raise ArchiveError(f"{archive}: holds over {MOST_MEMBERS} files: refused")
        if total > max(SMALL, LARGEST_RATIO * packed):
            raise ArchiveError(
                f"{archive}: {packed} bytes that unpack to {total} or more: refused as a bomb; "
                "if you trust it, unpack it by hand and give the folder with --from"
            )
        yield member


def _inspect(archive: Path, members: Sequence[_Member], folder: Path) -> int:
    """Bytes of all members, each of which is a plain file inside the folder."""
    seen: set[PurePosixPath] = set()
    for member in _counted(archive, iter(members)):
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or not path.parts:
            raise ArchiveError(f"{archive}: {member.name!r} does not stay inside the folder: refused")
        if member.link:
            raise ArchiveError(f"{archive}: {member.name!r} is a link: refused")
        if not member.regular:
            raise ArchiveError(f"{archive}: {member.name!r} is encrypted, sparse or no plain file: refused")
        if path in seen:
            raise ArchiveError(f"{archive}: holds {member.name!r} twice: refused")
        seen.add(path)
    for path in seen:
        if (inside := next((parent for parent in path.parents if parent in seen), None)) is not None:
            raise ArchiveError(f"{archive}: {str(inside)!r} is a file and a folder: refused")
    total = sum(member.size for member in members)
    parent = next(path for path in folder.absolute().parents if path.is_dir())
    free = shutil.disk_usage(parent).free
    if total > free:
        raise ArchiveError(
            f"{archive}: unpacks to {total / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free in {parent}; make room"
        )
    return total


def _write(archive: Path, member: _Member, draft: Path, progress: Callable[[int], object]) -> None:
    target, written = draft / member.name, 0
    target.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    if source is None:
        raise ArchiveError(f"{archive}: {member.name!r} cannot be read")
    with source, target.open("xb") as file:
        while block := source.read(BLOCK):
            written += len(block)
            if written > member.size:
                raise ArchiveError(f"{archive}: {member.name!r} is longer than the archive says: refused")
            file.write(block)
            progress(len(block))
    if written != member.size:
        raise ArchiveError(f"{archive}: {member.name!r} is cut off after {written} of {member.size} bytes")
