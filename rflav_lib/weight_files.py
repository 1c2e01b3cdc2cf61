"""The safetensors files of a diffusers model's folder: one, or shards that an index names; plain, or of a variant.

diffusion_pytorch_model.safetensors                           one file
diffusion_pytorch_model.fp16.safetensors                      one file of variant fp16
diffusion_pytorch_model.safetensors.index.json                shards: the index says which weight is in which
diffusion_pytorch_model.safetensors.index.fp16.json           shards of variant fp16
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from rflav_lib.files import read_json
from rflav_lib.warn import warn

WEIGHTS = "diffusion_pytorch_model.safetensors"
_WEIGHTS_OF = re.compile(r"diffusion_pytorch_model\.([\w-]+?)(-\d+-of-\d+)?\.safetensors")


@contextmanager
def opened_weights(path: Path) -> Iterator[Any]:
    """`safe_open`, whose errors name the file.

    Raises:
        ValueError: no whole safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            yield stored
    except SafetensorError as error:
        raise ValueError(f"{path}: truncated or not a safetensors file ({error}); fetch it again") from error


def check_variant(variant: Any) -> None:
    """Raise a ValueError unless this is None or could be the name of a variant, which is a part of files' names."""
    if variant is not None and not (isinstance(variant, str) and re.fullmatch(r"[\w-]+", variant)):
        raise ValueError(f"variant must be None or the name of one, such as 'fp16', not {variant!r}")


def pipeline_files(
    folder: Path, parts: Collection[str], variant: str | None = None, given: Collection[str] = ()
) -> dict[str, list[Path]]:
    """`weight_files` of each part of a pipeline folder, but for those that are `given` from elsewhere.

    As in diffusers, parts that have no weights of a variant have their plain ones; a warning names them.

    Raises:
        ValueError: as `weight_files`; or no part has weights of this variant.
    """
    stored = [name for name in parts if name not in given]
    if variant is None:
        return {name: weight_files(folder / name) for name in stored}
    for path in (path for name in parts for path in sorted((folder / name).glob("*"))):
        if "." not in path.name:  # diffusers, looking for the variant, stumbles over it
            raise ValueError(f"{path}: in the way of variant {variant!r}: move what has no dot in its name")
    of_it = [name for name in stored if any(path.is_file() for path in _places(folder / name, variant))]
    if not of_it:
        raise ValueError(f"{folder}: no part has weights of variant {variant!r}: leave variant out")
    if plain := [name for name in stored if name not in of_it]:
        warn(f"{folder}: no weights of variant {variant!r} of {', '.join(plain)}: the plain ones are taken")
    return {name: weight_files(folder / name, variant if name in of_it else None) for name in stored}


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """The files that diffusers reads of a model's folder: one, or all shards. Each is whole, and no weight is missing.

    Whether the weights are those of the model, `model_folder.check_weights` tells.

    Raises:
        ValueError: there are none; a file that is damaged; shards that are missing or hold other weights than the
            index says. Names the file.
    """
    single, index = _places(folder, variant)
    outdated = folder / f"{WEIGHTS}.{variant}.index.json"
    if variant and outdated.is_file():
        raise ValueError(
            f"{outdated}: an outdated layout of shards; save the model again with today's diffusers"
        )
    if index.is_file():  # where there are both, diffusers takes the shards
        return _shards(index)
    if not single.is_file():
        raise ValueError(f"{single}: no such file, and no {index.name}{_others(folder)}")
    with opened_weights(single):
        return [single]


def _places(folder: Path, variant: str | None) -> tuple[Path, Path]:
    """Where weights in one file, and the index of weights in shards, have to lie."""
    dotted = f".{variant}" if variant else ""
    return (
        folder / f"diffusion_pytorch_model{dotted}.safetensors",
        folder / f"{WEIGHTS}.index{dotted}.json",
    )


def _others(folder: Path) -> str:
    """What an error says of the variants that are there."""
    there = sorted({found[1] for path in folder.glob("*") if (found := _WEIGHTS_OF.fullmatch(path.name))})
    if not there:
        return ""
    return (
        f"; there are weights of variant {' and '.join(map(repr, there))}: open it with variant={there[0]!r}"
    )


def _shards(index: Path) -> list[Path]:
    """All files that an index names.

    Raises:
        ValueError: see `weight_files`.
    """
    content = read_json(index)
    content = content if isinstance(content, dict) else {}
    said = content.get("weight_map")
    if (
        not isinstance(said, dict)
        or not said
        or not isinstance(content.get("metadata"), dict)  # diffusers needs it
        or not all(isinstance(name, str) and Path(name).name == name for name in said.values())
    ):
        raise ValueError(
            f"{index}: no index of shards: it has to name the file beside it that holds each weight"
        )
    files = [index.parent / name for name in sorted(set(said.values()))]
    if missing := [path.name for path in files if not path.is_file()]:
        raise ValueError(
            f"{index}: {len(missing)} of {len(files)} shards are not there, as {missing[0]}: fetch them again"
        )
    held = set()
    for path in files:
        with opened_weights(path) as stored:
            held |= {(name, path.name) for name in stored.keys()}  # noqa: SIM118  # it is no dict
    if wrong := sorted({name for name, _ in held ^ set(said.items())}):
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{index}: does not say what its shards hold: {', '.join(wrong[:3])}{more}")
    return files
