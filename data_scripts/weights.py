"""Weights that others trained, each checked against what is published about it.

  python -m data_scripts.weights fetch i3d audioclip     # or all, or none: lists what there is
  python -m data_scripts.weights check                   # sizes, checksums, and that nothing but weights is inside
  python -m data_scripts.weights prepare                 # pickles become safetensors

Pickles are read with weights_only=True alone: one that would run code is refused, by name.
"""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_url
from safetensors import SafetensorError, safe_open
from torch import Tensor

from data_scripts.command import Options, SubCommand, run
from data_scripts.fetch_many import fetch_all
from data_scripts.fetching import fetch
from data_scripts.published import FetchError, Remote
from rflav_lib import tensor_files
from rflav_lib.files import is_made_of, stamp
from rflav_lib.metrics.weights import AUDIOCLIP, I3D
from rflav_lib.released import FILES, IMAGE_VAE

PICKLES = {".pt", ".pth", ".bin", ".ckpt"}
AUDIOCLIP_URL = "https://github.com/AndreyGuzhov/AudioCLIP/releases/download/v0.1/AudioCLIP-Full-Training.pt"
I3D_URL = "https://github.com/songweige/TATS/raw/main/tats/fvd/i3d_pretrained_400.pt"


@dataclass(frozen=True)
class Weights:
    """One entry of the list: what it is for, how large, its licence, and its files."""

    purpose: str
    megabytes: int
    licence: str
    files: tuple[Remote, ...]


def _hub(name: str, repository: str, files: Sequence[str]) -> tuple[Remote, ...]:
    return tuple(Remote(f"{name}/{file}", hf_hub_url(repository, file)) for file in files)


CATALOGUE = {
    "i3d": Weights(
        "FVD and KVD: Inception-v1 I3D, 400 logits of Kinetics", 51, "see github.com/songweige/TATS",
        (
            Remote(
                I3D.name, I3D_URL, git_blob=I3D.git_blob,
            ),
        ),
    ),
    "audioclip": Weights(
        "FAD: AudioCLIP, all of it", 537, "see github.com/AndreyGuzhov/AudioCLIP",
        (
            Remote(
                AUDIOCLIP.name, AUDIOCLIP_URL, AUDIOCLIP.size, AUDIOCLIP.sha256,
            ),
        ),
    ),
    "sd-vae": Weights(
        "the image VAE of the released models", 335, "see the repository",
        _hub("sd-vae", IMAGE_VAE, ("config.json", "diffusion_pytorch_model.safetensors")),
    ),
    "rflav-aist": Weights(
        "the authors' model for AIST++, with its vocoder", 1350, "CC BY-NC 4.0",
        _hub("rflav-aist", "MaverickAlex/R-FLAV-B-1-AIST", FILES),
    ),
    "rflav-landscape": Weights(
        "the authors' model for Landscape, with its vocoder", 1350, "CC BY-NC 4.0",
        _hub("rflav-landscape", "MaverickAlex/R-FLAV-B-1-LS", FILES),
    ),
    "vocoder": Weights(
        "the released HiFi-GAN alone", 56, "CC BY-NC 4.0",
        _hub("vocoder", "MaverickAlex/R-FLAV-B-1-AIST", [name for name in FILES if name.startswith("vocoder/")]),
    ),
}  # fmt: skip


def read_pickle(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of a pickled state dict by name, where groups become `group.name`; and its numbers and words.

    Raises:
        FetchError: damaged, or holds more than weights.
    """
    try:
        content = tensor_files.read_pickle(path)
    except ValueError as error:
        raise FetchError(str(error)) from error
    values = dict(_flat(path, content, ""))
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    if not tensors:
        raise FetchError(f"{path}: holds no weights")
    return tensors, {name: value for name, value in values.items() if name not in tensors}


def _flat(path: Path, content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _flat(path, value, f"{prefix}{name}.")
    elif isinstance(content, Tensor | int | float | str | None):
        yield prefix.removesuffix("."), content
    else:
        raise FetchError(
            f"{path}: {prefix.removesuffix('.') or 'it'} is a {type(content).__name__}, not weights"
        )


def _read_safetensors(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="pt") as stored:
            return {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FetchError(
            f"{path}: truncated or not a safetensors file ({error}); delete it, fetch it again"
        ) from error


def _fetch(options: Options) -> int:
    if not options.names:
        for name, weights in CATALOGUE.items():
            print(f"{name:16} {weights.megabytes:5} MB  {weights.purpose}. {weights.licence}")
        print("\nGive the names of those to fetch, or all.")
        return 0
    names = list(CATALOGUE) if options.names == ["all"] else options.names
    if unknown := [name for name in names if name not in CATALOGUE]:
        raise FetchError(f"{unknown[0]!r} is none of {', '.join(CATALOGUE)}")
    for name in names:
        weights = CATALOGUE[name]
        print(f"{name}: {weights.purpose}. Licence: {weights.licence}")
        fetch_all(
            weights.files,
            options.root,
            about=weights.megabytes * 10**6 // len(weights.files),
            description=name,
        )
    return check(options.root)


def check(root: Path) -> int:
    """Print a line for every file of the list that is there; 1 if one of them is not what it should be."""
    bad = found = 0
    for weights in CATALOGUE.values():
        for remote in weights.files:
            path = root / remote.name
            if not path.is_file():
                continue
            found += 1
            try:
                fetch(remote, root)  # it is there, so this compares sizes and checksums, nothing else
                remark = _content(path)
            except FetchError as error:
                bad += 1
                remark = str(error)
            print(f"{path.stat().st_size / 1e6:9.1f} MB  {remote.name}: {remark}")
    if not found:
        raise FetchError(f"{root}: none of the weights is here; fetch lists what there is")
    return int(bad > 0)


def _content(path: Path) -> str:
    if path.suffix == ".safetensors":
        shapes = list(_read_safetensors(path).values())
    elif path.suffix in PICKLES:
        shapes = [tuple(tensor.shape) for tensor in read_pickle(path)[0].values()]
    else:
        return "good"
    numbers = sum(torch.Size(shape).numel() for shape in shapes)
    return f"good, {len(shapes)} tensors, {numbers / 1e6:.1f} M numbers"


def _prepare(options: Options) -> int:
    pickles = [
        path
        for weights in CATALOGUE.values()
        for remote in weights.files
        if (path := options.root / remote.name).suffix in PICKLES and path.is_file()
    ]
    if not pickles:
        raise FetchError(f"{options.root}: no pickled weights here; run fetch first")
    for path in pickles:
        target = path.with_suffix(".safetensors")
        changed = path.stat().st_mtime_ns
        if is_made_of(target, changed):
            print(f"{target}: is there already")
            continue
        tensors, others = read_pickle(path)
        separate = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        tensor_files.write_tensors(target, separate, {"format": "pt", "others": json.dumps(others)})
        stamp(target, changed)
        print(
            f"{target}: {len(tensors)} tensors" + (f", and {', '.join(others)} as metadata" if others else "")
        )
    return 0


def _names(parser: ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(CATALOGUE)}, or all")


STEPS = {
    "fetch": SubCommand("get weights by name, checked; without names: list them", _fetch, _names),
    "check": SubCommand(
        "sizes, checksums and content of those that are there", lambda options: check(options.root)
    ),
    "prepare": SubCommand("write pickled weights as safetensors beside them", _prepare),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return run("weights", __doc__, STEPS, argv)


if __name__ == "__main__":
    sys.exit(main())
