"""Dataclasses from what a file held: every value of the type that its field says, or refused by name."""

from collections.abc import Mapping
from reprlib import repr as short
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Made = TypeVar("Made")


def typed(kind: type[Made], values: Mapping[str, Any]) -> Made:
    """`kind(**values)`, for values from JSON.

    Args:
        kind: a dataclass whose fields are plain types, unions, tuples and dictionaries of them, or dataclasses.
        values: by name of the field.

    Raises:
        TypeError: a name that is missing or unknown, or a value of another type than its field says; names it.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{kind.__name__} is {short(values)}, not values by name")
    made = kind(**values)
    for name, hint in get_type_hints(kind).items():
        if not _fits(getattr(made, name), hint):
            raise TypeError(f"{name} is {short(getattr(made, name))}, not {getattr(hint, '__name__', hint)}")
    return made


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        parts = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(k, parts[0]) and _fits(v, parts[1]) for k, v in value.items()
        )
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint if hint in (int, bool) else isinstance(value, hint)
