"""Files and folders that appear whole or not at all."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Hand out a path beside `path` to write a file or folder to; rename it when the block ends well.

    If the block raises, what was written is removed and a `path` that was there before stays as it was.
    Files get the permissions that the umask asks for, whoever wrote them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays the last thing in the name: writers look at it to choose a format
    draft = path.with_name(f".{path.stem}-{uuid4().hex[:8]}{path.suffix}")
    try:
        yield draft
        _follow_umask(draft)
        old = path.with_name(f"{draft.name}.old") if path.is_dir() else None
        if old:  # a folder cannot be renamed over another one
            os.replace(path, old)
        os.replace(draft, path)
        if old:
            shutil.rmtree(old)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        draft.unlink(missing_ok=True)


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
