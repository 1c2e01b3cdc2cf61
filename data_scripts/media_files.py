"""Which files of a folder count as media, and which are looked at."""

import os
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".ogv",
}  # fmt: skip


def all_files(folder: Path) -> Iterator[Path]:
    """Files below a folder in the order of their names; hidden ones, drafts among them, are not there for us.

    Raises:
        ValueError: a link that leads out of the folder, or nowhere. OSError: a folder that cannot be read.
    """
    top = folder.resolve()

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted([*names, *folders]):
            path = Path(parent, name)
            if path.is_symlink() and not path.resolve().is_relative_to(top):
                raise ValueError(f"{path}: is a link out of {folder}; put the file itself there")
            if name in names and not name.startswith("."):
                if not path.is_file():
                    raise ValueError(f"{path}: neither a file nor a link to one")
                yield path


def media_files(folder: Path) -> list[Path]:
    """The media among them."""
    return [path for path in all_files(folder) if path.suffix.lower() in SUFFIXES]
