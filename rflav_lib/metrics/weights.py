"""Weights that others published: found, checked against their checksum, and loaded to the last key, or refused.

A metric with other weights is another metric. So there is no fall-back: a file that is missing, damaged or
different is an error that says which, and how to get the right one.
"""

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from rflav_lib import ROOT
from rflav_lib.misfits import misfit
from rflav_lib.tensor_files import read_pickle

BLOCK = 1 << 20


@dataclass(frozen=True)
class Published:
    """A file of weights and what is published about it.

    Attributes:
        name: file name, with the folder that `data_scripts.weights` puts it in.
        git_blob: what `git hash-object` prints, for a file that is kept in git.
        sha256: the usual checksum, or its first digits where no more is published.
        size: in bytes.
        fetch: the command that fetches it, for messages.
    """

    name: str
    git_blob: str | None = None
    sha256: str | None = None
    size: int | None = None
    fetch: str = ""

    @property
    def label(self) -> str:
        """A short name of exactly these weights, for the origin of a figure."""
        return f"sha256 {self.sha256[:8]}" if self.sha256 else f"git {(self.git_blob or 'unknown')[:8]}"


I3D = Published(
    "i3d/i3d_pretrained_400.pt",
    git_blob="a867b87ac3a9097d200598b1d48a1b890d8ec744",
    fetch="python -m data_scripts.weights fetch i3d",
)
AUDIOCLIP = Published(
    "audioclip/AudioCLIP-Full-Training.pt",
    sha256="2441d35b353352c8b1bbfb8f7c687f46314c3d2909e940eaf763b8c17f632c44",
    size=537_302_068,
    fetch="python -m data_scripts.weights fetch audioclip",
)


def locate(published: Published, path: str | Path | None = None) -> Path:
    """The file at `path`, or in the weights folder, if it is the published one.

    The folder is `$RFLAV_WEIGHTS`, or `data/weights` of this repository, where `data_scripts.weights` puts it.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is another file, or a damaged one.
    """
    folder = Path(os.environ.get("RFLAV_WEIGHTS") or ROOT / "data" / "weights")
    file = Path(path) if path is not None else folder / published.name
    if not file.is_file():
        raise FileNotFoundError(
            f"no weights at {file}: {published.fetch or 'fetch them'}, give their path, "
            "or set RFLAV_WEIGHTS to the folder that holds them"
        )
    size = file.stat().st_size
    if published.size is not None and size != published.size:
        raise ValueError(f"{file}: {size} bytes, the published file has {published.size}; fetch it again")
    for kind, wanted in (("sha256", published.sha256), ("git blob", published.git_blob)):
        if wanted and not (found := _checksum(file, kind)).startswith(wanted):
            raise ValueError(
                f"{file}: its {kind} is {found}, that of the published file {wanted}; fetch it again"
            )
    return file


def _checksum(path: Path, kind: str) -> str:
    if kind == "sha256":
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """A pickled dictionary of tensors, read without running code in it.

    Raises:
        ValueError: damaged, or it holds something else.
    """
    state = read_pickle(path)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path}: not a dictionary of tensors")
    return dict(state)


def load_exactly(
    module: nn.Module, state: Mapping[str, Tensor], source: str, optional: Collection[str] = ()
) -> None:
    """Load a state of which no name may be missing, left over, or of another shape.

    The counters of batch norms (`num_batches_tracked`) may be missing: they do not change what is computed, and
    files converted from TensorFlow have none.

    Args:
        module: what to load into.
        state: tensors by name.
        source: what messages call it.
        optional: further names that may be missing, since the module has the right values already.

    Raises:
        ValueError: names what does not fit.
    """
    own = module.state_dict()
    spare = {name for name in own if name.endswith("num_batches_tracked")} | set(optional)
    if told := misfit(state, own, spare):
        raise ValueError(f"{source} does not fit this network: {told}")
    module.load_state_dict({name: own[name] for name in spare} | dict(state), strict=True)
