"""Configurations from YAML, from a notebook's parameters or from the command line, checked the same way."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_type_hints

import yaml


class YamlConfig:
    """Base of frozen dataclasses of plain values: what is unknown or of another type is refused by name."""

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str = "config") -> Self:
        """Build a config from plain values, refusing unknown keys and wrong types.

        Raises:
            ValueError: names the source, the key and, for an unknown key, the nearest one there is.
        """
        hints = get_type_hints(cls)
        known = {field.name: hints[field.name] for field in fields(cls)}
        found = {}
        for key, value in values.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else f"; there are: {', '.join(known)}"
                raise ValueError(f"{source}: unknown key {key!r}{hint}")
            wanted = known[key]
            kinds = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
            if type(value) is int and float in kinds and int not in kinds:
                value = float(value)
            if type(value) not in kinds:
                names = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
                raise ValueError(f"{source}: {key} must be {names}, not {value!r}")
            found[key] = value
        return cls(**found)

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: Any) -> Self:
        """Read a YAML file; `changes` override what it says.

        Raises:
            ValueError: the file is missing or is no mapping of keys to values, or as `from_mapping`.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"{path}: no such config file")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not readable as YAML: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"{path}: must be a list of 'key: value' lines, not a {type(values).__name__}")
        return cls.from_mapping({**values, **changes}, source=str(path))

    @classmethod
    def from_command_line(cls, path: str | Path, changes: Iterable[str]) -> Self:
        """Read a YAML file, and settings like ``max_steps=200`` that override it.

        Raises:
            ValueError: a setting without "=" or with an unreadable value, or as `from_yaml`.
        """
        values = {}
        for change in changes:
            key, equals, value = change.partition("=")
            if not equals:
                raise ValueError(f"{change!r}: settings are written key=value")
            try:
                values[key] = yaml.safe_load(value)
            except yaml.YAMLError as error:
                raise ValueError(f"{change!r}: the value is not readable as YAML") from error
        return cls.from_yaml(path, **values)

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, Any], known: set[str]) -> Self:
        """Collect the parameters of a notebook: every plain value defined since `known` was taken.

        `known` is ``set(globals())`` from before the parameters cell, so a misspelt parameter that
        papermill adds is seen and refused.
        """
        values = {
            key: value
            for key, value in namespace.items()
            if key not in known and not key.startswith("_") and isinstance(value, str | int | float | list)
        }
        return cls.from_mapping(values, source="notebook parameters")
