"""Configurations from YAML, from a notebook's parameters or from the command line, checked the same way."""

import difflib
import os
import re
import sys
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from reprlib import repr as short
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_type_hints

import numpy as np
import yaml

PLAIN = str | int | float | list | dict | tuple | bytes | complex | None
"""What counts as a parameter of a notebook: also values that no setting can have, so that they are refused by name."""


WITH_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class PlainLoader(yaml.SafeLoader):
    """YAML of plain values: no tags that build objects, and no `*alias`, by which a small file can name a value
    billions of times.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As in PyYAML, but for aliases."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None,
                None,
                f"*{event.anchor}: aliases are not taken here; write the value out",
                event.start_mark,
            )
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """As in PyYAML, which of a key that stands there twice takes the last one and says nothing.

        A key beside `<<: {...}` that is among the merged ones too overrides it, as YAML means it.

        Raises:
            ConstructorError: one that is written twice; names it.
        """
        written = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        super().flatten_mapping(node)
        seen = set()
        for key in (self.construct_object(key, deep=True) for key in written):
            if not isinstance(key, Hashable):
                continue  # refused by name where the mapping is made
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{short(key)} is there twice: leave one out", node.start_mark
                )
            seen.add(key)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """As in PyYAML, but to YAML 1.1 010 is 8 and 12:30 is 750."""
        if re.fullmatch(r"[-+]?0[0-7_]+|.*:.*", node.value):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value} is no plain number: write it out", node.start_mark
            )
        return super().construct_yaml_int(node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """As in PyYAML, but to YAML 1.1 1:30.5 is 90.5."""
        if ":" in node.value:
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value} is no plain number: write it out", node.start_mark
            )
        return super().construct_yaml_float(node)


PlainLoader.add_constructor("tag:yaml.org,2002:int", PlainLoader.construct_yaml_int)
PlainLoader.add_constructor("tag:yaml.org,2002:float", PlainLoader.construct_yaml_float)


def read_yaml(text: str, source: str) -> Any:
    """Plain values from YAML.

    Raises:
        ValueError: not readable; names the source.
    """
    try:
        return yaml.load(text, PlainLoader)
    except Exception as error:  # not PyYAML's own alone: a value that does not fit its tag can raise anything
        reason = str(error) if isinstance(error, yaml.YAMLError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{source}: not readable as YAML: {reason}") from error


def _as_number(value: Any, kinds: tuple[type, ...], name: str) -> Any:
    """The number that a value stands for, where one of these kinds is wanted; any other value as it is.

    To YAML 1.1, 1e-3 and 1.0e9 are strings (it wants 1.0e-3 and 1.0e+9), and 1.0e+3 is no whole number.

    Raises:
        ValueError: a number beyond what a float can hold.
    """
    written = isinstance(value, str) and str not in kinds and WITH_EXPONENT.fullmatch(value)
    if not written and type(value) not in (int, float):
        return value
    number = float(value) if written else value
    if float in kinds:
        if type(value) is not float and abs(number) > sys.float_info.max:
            raise ValueError(f"{name}: {short(value)} is beyond what a float can hold")
        return float(number)
    exact = type(number) is float and abs(number) <= 2**53 and number.is_integer()
    return int(number) if exact and int in kinds else value


def _kinds(cls: type) -> dict[str, tuple[type, ...]]:
    """The types that each setting of a config may have."""
    hints = get_type_hints(cls)
    wanted = {field.name: hints[field.name] for field in fields(cls)}
    return {key: get_args(kind) if isinstance(kind, UnionType) else (kind,) for key, kind in wanted.items()}


def _checked(value: Any, kinds: tuple[type, ...], name: str) -> Any:
    """A value as a plain one: NumPy's numbers become Python's, and paths strings where those are wanted.

    Raises:
        ValueError: one of another type.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, os.PathLike) and str in kinds:
        value = os.fspath(value)
    value = _as_number(value, kinds, name)
    if type(value) not in kinds:
        names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
        hint = " (to YAML, yes, no, on and off are True and False: quote the word)" * (
            str in kinds and isinstance(value, bool)
        )
        raise ValueError(f"{name} must be {names}, not {short(value)}{hint}")
    return value


@dataclass(frozen=True)
class YamlConfig:
    """Base of frozen dataclasses of plain values: what is unknown or of another type is refused by name.

    Those that check more in a `__post_init__` of their own call this one first.

    Raises:
        ValueError: a value of another type; names the key.
    """

    def __post_init__(self) -> None:
        for key, kinds in _kinds(type(self)).items():
            object.__setattr__(self, key, _checked(getattr(self, key), kinds, f"config: {key}"))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "config") -> Self:
        """Build a config from plain values, refusing unknown keys and wrong types.

        Raises:
            ValueError: names the source, the key and, for an unknown key, the nearest one there is.
        """
        known, found = _kinds(cls), {}
        for key, value in values.items():
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else f"; there are: {', '.join(known)}"
                raise ValueError(f"{source}: unknown key {short(key)}{hint}")
            found[key] = _checked(value, known[key], f"{source}: {key}")
        return cls(**found)

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: Any) -> Self:
        """Read a YAML file; `changes` override what it says.

        Raises:
            ValueError: the file is missing or is no mapping of keys to values, or as `from_mapping`.
        """
        return cls._changed(path, changes)

    @classmethod
    def _changed(cls, path: str | Path, changes: Mapping[str, Any]) -> Self:
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"{path}: no such config file")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not readable as YAML: no UTF-8 ({error})") from error
        values = read_yaml(text, str(path))
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise ValueError(f"{path}: must be a list of 'key: value' lines, not a {type(values).__name__}")
        try:
            return cls.from_mapping({**values, **changes}, source=str(path))
        except ValueError as error:
            raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error

    @classmethod
    def from_command_line(cls, path: str | Path, changes: Iterable[str]) -> Self:
        """Read a YAML file, and settings like ``max_steps=200`` that override it.

        Raises:
            ValueError: a setting without "=", with an unreadable value or given twice, or as `from_yaml`.
        """
        values = {}
        for change in changes:
            key, equals, value = change.partition("=")
            if not equals:
                raise ValueError(f"{change!r}: settings are written key=value")
            if key in values:
                raise ValueError(f"{change!r}: {key} is there twice: leave one out")
            values[key] = read_yaml(value, repr(change))
        return cls._changed(path, values)

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any], known: set[str]) -> Self:
        """Collect the parameters of a notebook: every plain value defined since `known` was taken.

        `known` is ``set(globals())`` from before the parameters cell, so a misspelt parameter that
        papermill adds is seen and refused. Names of settings are always taken: where the cells are run a second
        time in one kernel, `known` holds them too, and without them the defaults would be run in silence.
        """
        settings = {field.name for field in fields(cls)}
        values = {
            key: value
            for key, value in namespace.items()
            if key in settings or (key not in known and not key.startswith("_") and isinstance(value, PLAIN))
        }
        return cls.from_mapping(values, source="notebook parameters")
