"""Safetensors files that appear whole or not at all, and whose errors name the file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from rflav_lib.files import whole


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None
) -> Path:
    """Write a safetensors file, whole or not at all.

    Args:
        path: of the file.
        tensors: contiguous, by name.
        facts: strings for its header.

    Raises:
        OSError: it cannot be written; names the file.
    """
    with whole(path) as draft, safetensors_errors(path):
        save_file(dict(tensors), draft, None if facts is None else dict(facts))
    return Path(path)


@contextmanager
def safetensors_errors(path: str | Path) -> Iterator[None]:
    """Turn safetensors' own error about a file that cannot be written into an OSError with the file's name."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written: {error}") from error
