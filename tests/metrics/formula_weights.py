"""Weights that are a formula of their name: what the vectors of I3D and AudioCLIP were recorded with.

The published weights may not be copied; with these, a network with the same names, shapes and mathematics gives
the recorded numbers. The formula stands in the JSON files beside the vectors.
"""

import zlib

import numpy as np
import torch
from torch import Tensor

MASK = np.uint64(0xFFFFFFFF)


def _mix(z: np.ndarray) -> np.ndarray:
    """The 32-bit finaliser of MurmurHash3."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        z = ((z ^ (z >> np.uint64(shift))) * np.uint64(factor)) & MASK
    return z ^ (z >> np.uint64(16))


def noise(key: str, count: int) -> np.ndarray:
    """`count` numbers in (-1, 1), float64, that depend on the key alone."""
    hashed = _mix((_mix(np.arange(count, dtype=np.uint64)) + np.uint64(zlib.crc32(key.encode()))) & MASK)
    return (hashed.astype(np.float64) + 0.5) / 2**31 - 1


def filled(row: dict) -> Tensor:
    """The tensor of an entry of a key list; raises if it is not the recorded one to the last bit."""
    count = int(np.prod(row["shape"]))
    if row["kind"] == "zero":
        return torch.zeros(row["shape"], dtype=torch.int64)
    drawn = noise(row["key"], count)
    values = row["offset"] + row["scale"] * (np.abs(drawn) if row["abs"] else drawn)
    values = values.astype(np.float32)
    if "crc32" in row:
        assert f"{zlib.crc32(values.tobytes()):08x}" == row["crc32"], row["key"]
    return torch.from_numpy(values).reshape(row["shape"])


def filled_fbsp(row: dict, variant: str) -> Tensor:
    """The same for the parameters of AudioCLIP's spectrum: as they begin ("init"), or "varied"."""
    count, name = row["shape"][0], row["key"].rsplit(".", 1)[1]
    drawn = noise(row["key"], count) * (variant == "varied")
    centre = {"m": float(variant == "varied"), "fb": 1.0, "fc": np.arange(count)}[name]
    values = (centre + {"m": 0.5, "fb": 0.3, "fc": 0.25}[name] * drawn).astype(np.float32)
    assert f"{zlib.crc32(values.tobytes()):08x}" == row[f"crc32_{variant}"], row["key"]
    return torch.from_numpy(values)
