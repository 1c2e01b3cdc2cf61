"""Where a measured figure comes from: machine, versions, commit and weights, to be written beside it."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from rflav_lib import ROOT

LIBRARIES = ("torch", "diffusers", "numpy")


def provenance(device: str = "cpu") -> dict[str, Any]:
    """Machine, versions and commit, ready for JSON. `device` is where the work is done: "cpu" or "cuda"."""
    return {
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "commit": commit(),
    }


def processor_name() -> str:
    """Model name of the processor, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of this repository, with "-dirty" if files differ from it; None outside a clone."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def fingerprint(pipe: DiffusionPipeline) -> str:
    """`checksum` of all weights of a pipeline: network, codecs, vocoder. What else it is made of: `settings_of`."""
    return checksum(
        (f"{name}.{key}", tensor)
        for name, part in sorted(pipe.components.items())
        for key, tensor in getattr(part, "state_dict", dict)().items()
    )


def settings_of(pipe: DiffusionPipeline) -> dict[str, str]:
    """Class and config of each part of a pipeline, as 16 hexadecimal digits: equal weights may be used in other ways.

    Where a part was opened from, and by which version, does not count.
    """
    parts = {}
    for name, part in sorted(pipe.components.items()):
        config = {key: value for key, value in dict(getattr(part, "config", {})).items() if key[:1] != "_"}
        text = json.dumps([type(part).__name__, config], sort_keys=True, default=str)
        parts[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return parts


def checksum(weights: Iterable[tuple[str, Tensor]]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of names and values, as float32, of weights in this order."""
    digest = hashlib.sha256()
    for name, tensor in weights:
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]
