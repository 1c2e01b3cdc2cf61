"""Files of tensors: safetensors that appear whole or not at all, pickles that run nothing; errors name the file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
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


def read_pickle(path: str | Path) -> Any:
    """What `torch.save` wrote, if that is tensors and plain values; nothing in the file is run.

    Raises:
        OSError: it cannot be read.
        ValueError: damaged, or it holds more than weights; names the file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    # damage can raise anything: IndexError, AttributeError, UnicodeDecodeError, ...
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path}: damaged, or holds more than weights: refused, nothing in it was run ({reason})"
        ) from error


@contextmanager
def safetensors_errors(path: str | Path) -> Iterator[None]:
    """Turn safetensors' own error about a file that cannot be written into an OSError with the file's name."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written: {error}") from error
