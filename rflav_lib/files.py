"""Files and folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Hand out a path beside `path` to write a file or folder to; rename it when the block ends well.

    If the block raises, what was written is removed and a `path` that was there before stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays the last thing in the name: writers look at it to choose a format
    draft = path.with_name(f".{path.stem}-{uuid4().hex[:8]}{path.suffix}")
    try:
        yield draft
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
