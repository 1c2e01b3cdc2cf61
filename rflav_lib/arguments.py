"""What callers pass, from a script, a notebook or a widget: the value to go on with, or one error that names it.

Numbers alone are looked at in `numbers_given.py`.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rflav_lib.numbers_given import as_whole

Label = int | str
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def plain_numbers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with NumPy's numbers as Python's own, which can be written as JSON."""
    return {
        name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()
    }


def check_flag(value: Any, name: str) -> None:
    """Raise a ValueError unless this is True or False: "no" would count as True."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {value!r}")


def check_dtype(dtype: Any) -> None:
    """Raise a ValueError unless this is None or a dtype that the network can compute in."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype in DTYPES):
        raise ValueError(f"dtype must be None or one of {', '.join(map(str, DTYPES))}, not {dtype!r}")


def check_generators(generator: Any, several: bool = True) -> None:
    """Raise a ValueError unless this is None, a CPU generator or, where `several` may be given, a list of them."""
    wanted = "a torch.Generator on the CPU" + ", or a list with one for each clip" * several
    each = generator if several and isinstance(generator, list | tuple) else [generator]
    if generator is not None and not all(
        isinstance(one, torch.Generator) and one.device.type == "cpu" for one in each
    ):
        raise ValueError(f"generator must be {wanted}, not {generator!r}: torch.Generator().manual_seed(0)")


def class_numbers(y: Any, class_names: Sequence[str], count: int) -> int | list[int]:
    """A class, by name or number, as its number; or each of a list of them.

    Args:
        y: a name, a whole number, a list or tuple of them, or an array or tensor of whole numbers (b,).
        class_names: the names, in order.
        count: how many classes the model has.

    Raises:
        ValueError: no class of the model; names the value.
    """
    if isinstance(y, Tensor | np.ndarray) and y.ndim == 1:
        y = list(y)
    if not isinstance(y, list | tuple):
        return _class_number(y, "y", class_names, count)
    if not y:
        raise ValueError("y is empty: give one class for each clip, or y=None for no class")
    return [_class_number(label, f"y[{place}]", class_names, count) for place, label in enumerate(y)]


def _class_number(label: Any, name: str, class_names: Sequence[str], count: int) -> int:
    number = as_whole(label)
    if number is None and not isinstance(label, str):
        raise ValueError(f"{name} must be a class by name or number, not {label!r}; y=None is no class")
    if not count:
        raise ValueError(f"this model has no classes, so it cannot make {label!r}: leave y out")
    if number is None:
        if not class_names:
            raise ValueError(
                f"unknown class {str(label)!r}; this model's classes have no names: give a number from 0 to {count - 1}"
            )
        if label not in class_names:
            near = difflib.get_close_matches(label, class_names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(class_names)}"
            raise ValueError(f"unknown class {str(label)!r}; {hint}")
        return list(class_names).index(label)
    if not 0 <= number < count:
        names = f" ({', '.join(class_names)})" if class_names else ""
        raise ValueError(f"label {number} is out of range: this model has classes 0..{count - 1}{names}")
    return number
