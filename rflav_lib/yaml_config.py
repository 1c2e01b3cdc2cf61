"""Configurations from YAML, from a notebook's parameters or from the command line, checked the same way."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Self, get_type_hints

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
        types = {field.name: hints[field.name] for field in fields(cls)}
        for key, value in values.items():
            if key not in types:
                near = difflib.get_close_matches(key, types, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else f"; there are: {', '.join(types)}"
                raise ValueError(f"{source}: unknown key {key!r}{hint}")
            wanted = types[key]
            fits = type(value) is wanted or (wanted is float and type(value) is int)
            if not fits:
                raise ValueError(f"{source}: {key} must be {wanted.__name__}, not {value!r}")
        return cls(**{key: types[key](value) for key, value in values.items()})

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
