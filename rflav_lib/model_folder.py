"""Folders of diffusers models: opened as they are written, or refused by name; never half filled at random."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rflav_lib.files import read_json
from rflav_lib.misfits import misfit
from rflav_lib.weight_files import opened_weights


@contextmanager
def opening(folder: str | Path, given: Collection[str] = ()) -> Iterator[None]:
    """What diffusers, or a model that a damaged config describes, raises while it is opened: a ValueError that names
    the folder, and what was `given` in the place of its own. ValueErrors that name it already, and what is no error
    of the data, pass.

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
        wrong = "damaged, or of another kind"
        if given:
            wrong = f"cannot be opened with the {', '.join(sorted(given))} that was given, or is damaged"
        raise ValueError(f"{folder}: {wrong}: {type(error).__name__}: {text[:300]}") from error


def check_folder(folder: Path, kind: str) -> list[str]:
    """Names of the parts of a pipeline folder of class `kind`, which diffusers may open: of known libraries.

    Raises:
        ValueError: names the file, and what is wrong.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise ValueError(f"{folder}: not a pipeline folder, model_index.json is missing")
    facts = read_json(index)
    facts = facts if isinstance(facts, dict) else {}
    found = facts.get("_class_name")
    if found != kind:
        raise ValueError(f"{folder}: a checkpoint of another model ({found}); this library opens {kind}")
    # diffusers looks a part's class up in any module that is loaded; ours come from two places
    parts = {name: part for name, part in facts.items() if name[0:1] != "_" and name != "class_names"}
    for name, part in parts.items():
        library = str(part[0]) if isinstance(part, list) and len(part) == 2 else ""
        if library.partition(".")[0] not in ("diffusers", "rflav_lib"):
            raise ValueError(f"{index}: {name} is {part!r}, no part of diffusers or rflav_lib: refused")
    return list(parts)


def check_given(parts: Sequence[str], given: Mapping[str, Any]) -> None:
    """Raise a ValueError for what is given in the place of a stored part, and is no module."""
    for name in (name for name in parts if name in given):
        if not isinstance(given[name], nn.Module):
            raise ValueError(
                f"{name} must be a module that takes the place of the stored one, not {given[name]!r}: "
                "leave it out for the stored one"
            )


def check_weights(files: Sequence[Path], module: nn.Module) -> None:
    """Every name, shape and value has to be right: diffusers fills a missing weight at random, and only warns.

    Raises:
        ValueError: names the file, or the folder of several, and what is wrong.
    """
    path = files[0] if len(files) == 1 else files[0].parent
    shapes, kinds = {}, {}
    for file in files:
        with opened_weights(file) as stored:
            for name in stored.keys():  # noqa: SIM118  # it is no dict
                part = stored.get_slice(name)
                shapes[name], kinds[name] = tuple(part.get_shape()), part.get_dtype()
    odd = [f"{name} as {kind}" for name, kind in kinds.items() if kind not in ("F64", "F32", "F16", "BF16")]
    if told := misfit(shapes, module.state_dict()) or ", ".join(sorted(odd)[:3]):
        raise ValueError(f"{path}: weights do not fit the config beside them: {told}")
    check_finite(path, module)


def check_finite(path: str | Path, module: nn.Module) -> None:
    """Raise ValueError, with the path and the name, where a weight is missing, NaN or infinite."""
    for name, tensor in module.state_dict().items():
        if tensor.is_meta:
            raise ValueError(f"{path}: {name} is in none of the files of weights; fetch them again")
        if not torch.isfinite(tensor).all():
            raise ValueError(
                f"{path}: {name} holds NaN or infinite values; the file is damaged or training diverged"
            )
