"""Published weights: the right file or an error, never another one."""

import hashlib

import pytest
import torch

from rflav_lib.metrics.weights import AUDIOCLIP, I3D, Published, locate, read_state


def test_a_missing_file_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RFLAV_WEIGHTS", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match="i3d_pretrained_400.pt: python -m data_scripts.weights fetch i3d"
    ):
        locate(I3D)
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        locate(AUDIOCLIP, tmp_path / "nowhere.pt")


def test_another_file_is_refused_by_size_and_by_checksum(tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"w.pt: 5 bytes, the published file has 537302068"):
        locate(AUDIOCLIP, path)
    with pytest.raises(
        ValueError, match="w.pt: its git blob is b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0, that"
    ):
        locate(I3D, path)
    with pytest.raises(ValueError, match="w.pt: its sha256 is 2cf24d"):
        locate(Published("w.pt", sha256="0" * 64), path)
    right = Published("w.pt", sha256=hashlib.sha256(b"hello").hexdigest(), size=5)
    assert locate(right, path) == path and right.label == "sha256 2cf24dba"


def test_only_tensors_are_read(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.ones(2)}, path)
    assert read_state(path)["a"].tolist() == [1, 1]
    torch.save({"a": torch.ones(2), "b": 3}, path)
    with pytest.raises(ValueError, match="w.pt: not a dictionary of tensors"):
        read_state(path)
    torch.save({"a": Published("x")}, path)
    with pytest.raises(
        ValueError, match="w.pt: damaged, or holds more than weights: refused, nothing in it was run"
    ):
        read_state(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="w.pt: damaged"):
        read_state(path)
