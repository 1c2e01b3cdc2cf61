"""A folder of clips: what is in it, what is not, and which window is which."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from rflav_lib.data import clip_index
from rflav_lib.data.clips import ClipFolder
from rflav_lib.image_codec import letterbox, to_uint8
from rflav_lib.media import Clip
from tests.media_files import clicks, regular, write_media


def write(path, seconds=1.5, fps=10, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = clicks((0.33, 1.1), seconds, 16000, 1)
    return write_media(path, regular(fps, seconds), seconds, sound, rate=16000, layout="mono", size=size)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two classes, two splits, four clips."""
    root = tmp_path_factory.mktemp("made")
    write(root / "train" / "rain" / "a.mp4")
    write(root / "train" / "rain" / "b.mp4", 1.2, fps=25)
    write(root / "train" / "wind" / "c.mp4", 1.0)
    write(root / "test" / "wind" / "d.mp4", 1.0)
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copytree(made, tmp_path / "data")


def names(folder):
    return [file.path.name for file in folder.files]


def test_every_window_of_every_clip(root):
    folder = ClipFolder(root, frames=10)
    assert names(folder) == ["a.mp4", "b.mp4", "c.mp4"] and not folder.left_out
    assert [file.frames for file in folder.files] == [15, 12, 10]
    assert [file.label for file in folder.files] == [0, 0, 1] and folder.class_names == ("rain", "wind")
    assert len(folder) == 6 + 3 + 1
    whole = [Clip.read(file.path) for file in folder.files]
    places = [(0, k) for k in range(6)] + [(1, k) for k in range(3)] + [(2, 0)]
    for item, (which, start) in zip(folder, places, strict=True):
        window = whole[which].frames[start : start + 10]
        assert torch.equal(item["frames"], to_uint8(letterbox(window, 64)).permute(0, 2, 3, 1))
        sound = whole[which].waveform[1600 * start : 1600 * start + 16000]
        assert np.array_equal(item["waveform"].numpy(), sound)
        assert item["label"] == folder.files[which].label
    assert torch.equal(folder[-1]["frames"], folder[9]["frames"])
    with pytest.raises(IndexError, match="10 windows"):
        folder[10]


def test_a_loader_with_workers(root):
    loader = DataLoader(ClipFolder(root, frames=4, size=32), batch_size=8, num_workers=2)
    batches = list(loader)
    assert batches[0]["frames"].shape == (8, 4, 32, 32, 3) and batches[0]["frames"].dtype == torch.uint8
    assert batches[0]["waveform"].shape == (8, 6400)
    assert sum(len(batch["label"]) for batch in batches) == 12 + 9 + 7


def test_whole_clips_in_pieces(root):
    folder = ClipFolder(root, frames=4, size=32)
    pieces = list(folder.pieces(folder.files[0], 4))
    assert [len(piece) for piece in pieces] == [4, 4, 4, 3]
    whole = folder.read(folder.files[0])
    assert np.array_equal(Clip.concatenate(pieces).frames, whole.frames)
    assert np.array_equal(Clip.concatenate(pieces).waveform, whole.waveform)
    part = folder.read(folder.files[0], 5, 3)
    assert np.array_equal(part.frames, whole.frames[5:8])


def test_files_are_opened_once_and_again_when_they_change(root, monkeypatch):
    opened = []
    true_probe = clip_index.probe
    monkeypatch.setattr(clip_index, "probe", lambda path: opened.append(path.name) or true_probe(path))
    ClipFolder(root)
    assert sorted(opened) == ["a.mp4", "b.mp4", "c.mp4"]
    ClipFolder(root, frames=5)
    ClipFolder(root, "test")
    assert opened[3:] == ["d.mp4"]
    write(root / "train" / "rain" / "b.mp4", 2.0)
    write(root / "train" / "rain" / "e.mp4")
    (root / "train" / "wind" / "c.mp4").unlink()
    (root / "train" / "wind" / "d.mp4").hardlink_to(root / "test" / "wind" / "d.mp4")
    changed = ClipFolder(root)
    assert sorted(opened[4:]) == ["b.mp4", "d.mp4", "e.mp4"]
    assert [(file.path.name, file.frames) for file in changed.files] == [
        ("a.mp4", 15),
        ("b.mp4", 20),
        ("e.mp4", 15),
        ("d.mp4", 10),
    ]
    assert "train/wind/c.mp4" not in json.loads((root / clip_index.INDEX).read_text())["files"]
