"""What a reader is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

Found = tuple[Any, Any]
"""The form of what was read (shapes, names, types), and its content."""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: what is read.
        make: writes good files into an empty folder; returns those to spoil.
        read: reads the folder, whose given file is spoilt.
        errors: the documented ones.
        checked: its format has a checksum or another check, so that other content is a lie too.
    """

    name: str
    make: Callable[[Path], list[Path]]
    read: Callable[[Path, Path], Found]
    errors: tuple[type[Exception], ...] = (ValueError, OSError)
    checked: bool = False


def form(value: Any) -> Any:
    """Types, names and shapes of a nested value, without its numbers and words."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return str(value.dtype), tuple(value.shape)
    if isinstance(value, dict):
        return {name: form(part) for name, part in value.items()}
    return type(value).__name__
