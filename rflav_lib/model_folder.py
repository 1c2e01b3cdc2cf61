"""Folders of diffusers models: opened as they are written, or refused by name; never half filled at random."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

WEIGHTS = "diffusion_pytorch_model.safetensors"


@contextmanager
def opening(folder: str | Path) -> Iterator[None]:
    """What diffusers, or a model that a damaged config describes, raises while it is opened: a ValueError that names
    the folder. ValueErrors that name it already, and what is no error of the data, pass.

    Raises:
        ValueError: see above.
        ImportError: a library that is missing.
        MemoryError: a model that is too large.
    """
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and not Path(folder).is_dir():
            raise  # a repository that is not there, or out of reach
        if isinstance(error, ValueError) and str(folder) in str(error):
            raise
        text = (str(error).strip() or "no reason given").splitlines()[0]
        raise ValueError(
            f"{folder}: damaged, or of another kind: {type(error).__name__}: {text[:300]}"
        ) from error


def check_weights(folder: Path, module: nn.Module) -> None:
    """Every name, shape and value has to be right: diffusers fills a missing weight at random, and only warns.

    Raises:
        ValueError: names the file, and what is wrong.
    """
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="pt") as stored:
            names = stored.keys()
            slices = {name: stored.get_slice(name) for name in names}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            kinds = {name: part.get_dtype() for name, part in slices.items()}
    except SafetensorError as error:
        raise ValueError(f"{path}: truncated or not a safetensors file ({error}); fetch it again") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    wrong = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    wrong += sorted(
        f"{name} as {kind}" for name, kind in kinds.items() if kind not in ("F64", "F32", "F16", "BF16")
    )
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{path}: weights do not fit the config beside them: {', '.join(wrong[:3])}{more}")
    check_finite(path, module)


def check_finite(path: str | Path, module: nn.Module) -> None:
    """Raise ValueError, with the path and the name, where a weight is NaN or infinite."""
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"{path}: {name} holds NaN or infinite values; the file is damaged or training diverged"
            )
