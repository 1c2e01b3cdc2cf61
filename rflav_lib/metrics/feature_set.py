"""Features of many clips together with where they come from: no distance without its origin.

Most published FVD and FAD figures cannot be repeated because the number of clips, the resize, the codec or the
layer is not stated. Here they travel with the numbers, into the cache and into every result.
"""

import functools
import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rflav_lib.tensor_files import write_tensors
from rflav_lib.typed import typed

LIBRARIES = ("torch", "torchaudio", "torchvision", "av", "numpy")


@functools.cache
def library_versions() -> tuple[tuple[str, str], ...]:
    """Names and versions of what can change a feature."""
    return (("python", platform.python_version()), *((name, version(name)) for name in LIBRARIES))


def comparable_versions(versions: Iterable[tuple[str, str]] | None = None) -> dict[str, str]:
    """Major and minor number of each version (None: of what is installed): "2.11.0+cpu" -> "2.11".

    A minor release may resize, resample or decode otherwise, as torchvision 0.17 did. A patch release mends, and a
    build for another device rounds otherwise, which moves a feature by 1e-6 and no figure that is printed. So sets
    that differ in these alone may be compared; the origin still tells the whole version.
    """
    pairs = library_versions() if versions is None else versions
    return {name: ".".join(text.partition("+")[0].split(".")[:2]) for name, text in pairs}


@dataclass(frozen=True)
class Origin:
    """How a set of features came to be.

    Attributes:
        data: what was measured, in words ("Landscape, train, real").
        samples: number of clips N.
        seed: of the draw of windows, or of generation; None where nothing was drawn.
        network: the network, with a checksum of its weights ("I3D Kinetics-400, git a867b87a").
        layer: which of its outputs.
        resize: how frames came to their size, or sound to its rate ("64x64 bicubic antialias").
        codec: what clips went through before they were measured ("none", "H.264 CRF 18 + AAC").
        versions: of the libraries: pairs of name and version.
    """

    data: str
    samples: int
    seed: int | None
    network: str
    layer: str
    resize: str
    codec: str
    versions: tuple[tuple[str, str], ...]

    def path(self) -> dict[str, object]:
        """All that must agree between two sets before their distance means anything: not data, N and seed.

        Of the versions, major and minor number: see `comparable_versions`.
        """
        found = {name: value for name, value in vars(self).items() if name not in ("data", "samples", "seed")}
        return {**found, "versions": comparable_versions(self.versions)}

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Origin":
        """The inverse of `as_json`.

        Raises:
            ValueError: no origin, or one of another version of this library.
        """
        try:
            content = json.loads(text)
            content["versions"] = tuple((str(name), str(value)) for name, value in content["versions"])
            return typed(cls, content)
        except (TypeError, KeyError, ValueError, RecursionError) as error:
            raise ValueError(f"not the origin of a set of features: {error}") from None


def _unequal(found: Origin, expected: Origin) -> str:
    """In what a cached set is another one than expected, in words."""
    mine, wanted = ({**vars(each), **each.path()} for each in (found, expected))
    return "; ".join(
        f"{name}: {mine[name]!r}, not {wanted[name]!r}" for name in mine if mine[name] != wanted[name]
    )


def differences(first: Origin, second: Origin) -> list[str]:
    """In which settings two sets that are to be compared differ, in words; empty if in none."""
    others = second.path()
    return [
        f"{name} is {value!r} for {first.data!r}, {others[name]!r} for {second.data!r}"
        for name, value in first.path().items()
        if value != others[name]
    ]


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features (n d), float64, one row a clip, and their origin.

    Raises:
        ValueError: not two axes, fewer than two rows, another number of rows than the origin says, or NaN or
            infinite values (naming the first such row).
    """

    values: Tensor
    origin: Origin

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", checked(self.values, self.origin.data))
        if len(self.values) != self.origin.samples:
            raise ValueError(
                f"{self.origin.data!r} should hold {self.origin.samples} samples, but {len(self.values)} came"
            )

    def __len__(self) -> int:
        return len(self.values)

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file, whole or not at all."""
        values = self.values.contiguous()
        origin = self.origin.as_json()
        facts = {"origin": origin, "sha256": _checksum(values, origin)}
        # in one entry: safetensors writes several in an order that changes from file to file
        return write_tensors(path, {"values": values}, {"facts": json.dumps(facts)})

    @classmethod
    def load(cls, path: str | Path, expected: Origin | None = None) -> "FeatureSet":
        """Read a cached set.

        Args:
            path: what `save` wrote.
            expected: the origin that it must have; None takes what is there.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not such a file, damaged, or of another origin.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no cached features at {path}")
        try:
            with safe_open(path, framework="pt") as file:
                facts = _facts(file.metadata())
                values = file.get_tensor("values")
            origin = Origin.from_json(facts.get("origin", ""))
            if facts.get("sha256") != _checksum(values, facts["origin"]):
                raise ValueError("its content does not fit its checksum")
        except SafetensorError as error:
            raise ValueError(
                f"{path}: not a file of features ({error}); delete it to compute them anew"
            ) from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}; delete it to compute the features anew") from None
        told = "" if expected is None else _unequal(origin, expected)
        if told:
            raise ValueError(
                f"{path} holds features of another origin ({told}); delete it, or use another cache"
            )
        return cls(values, origin)


def _facts(metadata: dict[str, str] | None) -> dict[str, str]:
    found = json.loads((metadata or {}).get("facts", "{}"))
    if not isinstance(found, dict):
        raise ValueError("its header is not that of features")
    return found


def _checksum(values: Tensor, origin: str) -> str:
    """Of the numbers and of what is said about them."""
    head = f"{values.dtype} {tuple(values.shape)} {origin}"
    return hashlib.sha256(head.encode() + values.numpy().tobytes()).hexdigest()


def joined(parts: Iterable[FeatureSet]) -> FeatureSet:
    """Parts of one set, computed in pieces, as one.

    Raises:
        ValueError: nothing to join, or parts of different origin.
    """
    parts = list(parts)
    if not parts:
        raise ValueError("no features to join")
    first = parts[0].origin
    for part in parts[1:]:
        if told := differences(first, part.origin):
            raise ValueError(f"cannot join features of different origin: {'; '.join(told)}")
        if (part.origin.data, part.origin.seed) != (first.data, first.seed):
            raise ValueError(
                f"cannot join features of {part.origin.data!r} (seed {part.origin.seed}) "
                f"to those of {first.data!r} (seed {first.seed})"
            )
    values = torch.cat([part.values for part in parts])
    return FeatureSet(values, Origin(**{**vars(first), "samples": len(values)}))


def checked(values: Tensor, name: str) -> Tensor:
    """Features as float64 on the CPU, or one clear error (see `FeatureSet`).

    Raises:
        ValueError: not (n d), fewer than two samples, or NaN.
    """
    if values.ndim != 2:
        raise ValueError(f"features of {name!r} must be (n d), got {tuple(values.shape)}")
    if len(values) < 2:
        raise ValueError(f"features of {name!r}: {len(values)} sample(s); a distance needs at least two")
    values = values.detach().to("cpu", torch.float64)
    finite = values.isfinite().all(dim=1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise ValueError(
            f"features of {name!r}: {int((~finite).sum())} of {len(values)} rows hold NaN or infinite values, "
            f"the first is row {row}; look at that clip"
        )
    return values
