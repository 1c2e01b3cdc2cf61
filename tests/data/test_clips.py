"""A folder of clips: what is in it, what is not, and which window is which."""

import json
import os
import shutil
import threading

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from rflav_lib import av_source
from rflav_lib.data import clip_index
from rflav_lib.data.clips import ClipFolder
from rflav_lib.image_codec import letterbox, to_uint8
from rflav_lib.media import Clip, MediaError
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


# ------------------------------------------------------------------ classes


def test_a_label_means_the_same_in_every_split_and_for_ever(root):
    write(root / "test" / "ember" / "x.mp4", 1.0)
    assert ClipFolder(root, "test").class_names == ("ember", "rain", "wind")
    train = ClipFolder(root)
    assert train.class_names == ("ember", "rain", "wind") and train.files[0].label == 1
    write(root / "train" / "dew" / "y.mp4", 1.0)  # comes first by its name, but last in the list
    assert (
        ClipFolder(root).class_names
        == ClipFolder(root, "test").class_names
        == ("ember", "rain", "wind", "dew")
    )
    shutil.rmtree(root / "test" / "ember")
    again = ClipFolder(root)
    assert again.class_names == ("ember", "rain", "wind", "dew")
    assert [again.class_names[file.label] for file in again.files] == [
        file.path.parent.name for file in again.files
    ]


def test_without_classes(tmp_path):
    write(tmp_path / "train" / "a.mp4", 1.0)
    folder = ClipFolder(tmp_path)
    assert folder.class_names == () and folder.files[0].label is None and folder[0]["label"] == -1


@pytest.mark.parametrize("split", ["", ".", "..", "../x", "/abs", "train/rain", "train/", ".hidden", None])
def test_a_split_is_one_plain_name(root, split):
    with pytest.raises(ValueError, match="split must be the name of a folder"):
        ClipFolder(root, split)
    assert ClipFolder(root).class_names == ("rain", "wind")


def test_a_class_whose_folder_has_gone_is_named_and_labels_stay(root):
    assert ClipFolder(root).class_names == ("rain", "wind")
    (root / "train" / "rain").rename(root / "train" / "drizzle")
    folder = ClipFolder(root)
    assert folder.class_names == ("rain", "wind", "drizzle") and [f.label for f in folder.files] == [2, 2, 1]
    ((path, reason),) = folder.left_out
    assert path == root / "train" / "rain" and "keeps its label, 0" in reason
    assert "left out: train/rain: a class whose folder has gone" in folder.report()
    (root / clip_index.INDEX).unlink()
    again = ClipFolder(root, strict=True)
    assert again.class_names == ("drizzle", "wind") and not again.left_out


def test_a_class_of_another_split_alone_has_not_gone(root):
    write(root / "val" / "snow" / "v.mp4", 1.0)
    assert ClipFolder(root, "val").class_names == ("rain", "snow", "wind")
    assert not ClipFolder(root).left_out


def test_a_call_that_is_refused_keeps_what_it_saw_and_no_class(root, monkeypatch):
    (root / "train" / "typo").mkdir()
    with pytest.raises(ValueError, match="typo: a class folder without clips"):
        ClipFolder(root, strict=True)
    (root / "train" / "typo").rmdir()
    monkeypatch.setattr(clip_index, "probe", lambda path: pytest.fail("looked at again"))
    assert ClipFolder(root, strict=True).class_names == ("rain", "wind")


# ------------------------------------------------------------------ what is left out, and that it is said


def test_what_is_left_out_is_reported(root):
    wind = root / "train" / "wind"
    (root / "train" / "hail").mkdir()
    write_media(wind / "mute.mp4", regular(10, 1), 1.0)
    (wind / "notes.txt").write_text("not a clip " * 60)
    (wind / ".hidden").write_text("nobody asks")
    data = (root / "train" / "rain" / "a.mp4").read_bytes()
    (wind / "cut.mp4").write_bytes(data[:-900])
    write(wind / "short.mp4", 0.5)
    write(wind / "deep" / "e.mp4", 1.0)
    write(root / "train" / "stray.mp4", 1.0)
    folder = ClipFolder(root)
    assert names(folder) == ["a.mp4", "b.mp4", "c.mp4"]
    reasons = {path.relative_to(root / "train").as_posix(): reason for path, reason in folder.left_out}
    for place, words in {
        "hail": "a class folder without clips",
        "wind/mute.mp4": "has no audio stream",
        "wind/notes.txt": "is a text",
        "wind/cut.mp4": "is truncated",
        "wind/short.mp4": "has 5 frames at 10 fps, a window takes 10",
        "wind/deep": "a folder inside a class folder",
        "stray.mp4": "has no class",
    }.items():
        assert words in reasons.pop(place)
        assert f"left out: train/{place}: " in folder.report()
    assert not reasons
    assert "3 clips, 3.7 s, 3 classes, 10 windows of 10 frames, 7 left out" in folder.report()
    with pytest.raises(ValueError, match="left out: train/wind/mute.mp4: has no audio"):
        ClipFolder(root, strict=True)
    assert len(ClipFolder(root, frames=5).left_out) == 6, "the short one is long enough for this"
    ClipFolder(root, "test", strict=True)


def test_links_are_followed_inside_the_folder_alone(root, tmp_path):
    rain, outside = root / "train" / "rain", tmp_path / "outside"
    write(outside / "secret.mp4", 1.0)
    (rain / "out.mp4").symlink_to(outside / "secret.mp4")
    (rain / "dead.mp4").symlink_to(tmp_path / "gone.mp4")
    (rain / "loop.mp4").symlink_to(rain / "loop.mp4")
    (rain / "in.mp4").symlink_to(root / "train" / "wind" / "c.mp4")
    (root / "train" / "elsewhere").symlink_to(outside)
    folder = ClipFolder(root)
    assert names(folder) == ["a.mp4", "b.mp4", "in.mp4", "c.mp4"]
    assert [(path.name, reason) for path, reason in folder.left_out] == [
        ("elsewhere", "a link that leads out of the folder"),
        ("dead.mp4", "a dead link"),
        ("loop.mp4", "a dead link"),
        ("out.mp4", "a link that leads out of the folder"),
    ]
    (tmp_path / "alias").symlink_to(root)
    assert len(ClipFolder(tmp_path / "alias").files) == 4, "the root itself may be a link"


@pytest.mark.usefixtures("permissions_hold")
def test_files_and_folders_that_may_not_be_read(root):
    locked, closed = root / "train" / "rain" / "a.mp4", root / "train" / "wind"
    locked.chmod(0)
    closed.chmod(0)
    try:
        folder = ClipFolder(root)
    finally:
        closed.chmod(0o755)
    assert names(folder) == ["b.mp4"]
    assert [reason for _, reason in folder.left_out] == [
        "cannot be decoded: Permission denied",
        "cannot be listed: Permission denied",
    ]
    locked.chmod(0o644)
    assert names(ClipFolder(root)) == ["a.mp4", "b.mp4", "c.mp4"], "what was refused is tried again"


def test_unreadable_files_are_named_whoever_runs_this(root, monkeypatch):
    true_open = clip_index.probe

    def refuse(path):
        if path.name == "a.mp4":
            monkeypatch.setattr(av_source.av, "open", denied)
        try:
            return true_open(path)
        finally:
            monkeypatch.setattr(av_source.av, "open", open_media)

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    open_media = av_source.av.open
    monkeypatch.setattr(clip_index, "probe", refuse)
    folder = ClipFolder(root, workers=1)
    assert folder.left_out == ((root / "train" / "rain" / "a.mp4", "cannot be decoded: Permission denied"),)


@pytest.mark.parametrize(
    "name", ["a b.mp4", 'it\'s "so".mp4', "Grüße 雨.mp4", "50%d.mp4", "-i.mp4", "a:b;c&d.mp4"]
)
def test_names_of_all_kinds(tmp_path, name):
    write(tmp_path / "train" / f"class {name[:-4]}" / name, 1.0)
    folder = ClipFolder(tmp_path)
    assert names(folder) == [name] and folder[0]["frames"].shape == (10, 64, 64, 3)
    assert names(ClipFolder(tmp_path)) == [name]
    assert folder.class_names == (f"class {name[:-4]}",)


def test_a_name_that_is_no_text(tmp_path):
    write(tmp_path / "train" / "a.mp4", 1.0)
    try:
        (tmp_path / "train" / os.fsdecode(b"caf\xe9.txt")).write_text("Latin-1 " * 100)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    report = ClipFolder(tmp_path).report()
    assert "train/caf\\udce9.txt: is a text" in report and report.encode()


def test_nothing_to_use_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="train: no such folder; clips belong into"):
        ClipFolder(tmp_path)
    (tmp_path / "train" / "rain").mkdir(parents=True)
    with pytest.raises(ValueError, match="no clip that can be used(?s:.*)rain: a class folder without clips"):
        ClipFolder(tmp_path)
    write(tmp_path / "train" / "rain" / "a.mp4", 0.5)
    with pytest.raises(ValueError, match="a.mp4: has 5 frames at 10 fps, a window takes 10"):
        ClipFolder(tmp_path)
    for bad in ({"frames": 0}, {"size": 0}, {"frame_rate": 0}, {"sample_rate": 1.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ClipFolder(tmp_path, **bad)


def test_a_clip_that_goes_bad_later_is_an_error(root):
    """Also through a loader's workers: an error, not another clip."""
    folder = ClipFolder(root)
    path = folder.files[0].path
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(MediaError, match=r"a\.mp4: is truncated"):
        folder[0]
    with pytest.raises(MediaError, match=r"a\.mp4: is truncated"):
        list(DataLoader(folder, num_workers=1))


# ------------------------------------------------------------------ the index


def test_a_folder_that_cannot_be_written(root, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(clip_index, "whole", full)
        with pytest.warns(
            UserWarning, match=r"cannot be kept next to the data \(Read-only file system\).*index_file"
        ):
            folder = ClipFolder(root)
        assert len(folder) == 10 and not (root / clip_index.INDEX).exists()
        with pytest.raises(OSError, match="Read-only"):
            ClipFolder(root, index_file=tmp_path / "index.json")
    ClipFolder(root, index_file=tmp_path / "index.json")
    assert (tmp_path / "index.json").is_file() and not (root / clip_index.INDEX).exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "class_names": 3, "files": {}}']
)
def test_an_index_that_is_none(root, content):
    (root / clip_index.INDEX).write_text(content)
    with pytest.raises(ValueError, match=r"\.rflav-clips\.json: not a readable index .* delete it"):
        ClipFolder(root)


def test_an_older_index_is_built_anew_but_keeps_the_classes(root):
    ClipFolder(root)
    path = root / clip_index.INDEX
    old = json.loads(path.read_text())
    path.write_text(
        json.dumps({**old, "version": 0, "class_names": ["wind", "rain"], "files": {"train/x": 1}})
    )
    folder = ClipFolder(root)
    assert folder.class_names == ("wind", "rain") and folder.files[0].label == 1
    assert json.loads(path.read_text())["version"] == clip_index.VERSION


def test_several_at_once_build_the_same_index(root):
    folders, errors = [], []

    def build():
        try:
            folders.append(ClipFolder(root))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and {len(folder) for folder in folders} == {10}
    assert len(json.loads((root / clip_index.INDEX).read_text())["files"]) == 3
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == [clip_index.INDEX]


def test_an_interrupted_index_is_gone_on_with(root, monkeypatch):
    true_probe, seen = clip_index.probe, []

    def interrupted(path):
        seen.append(path.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return true_probe(path)

    with monkeypatch.context() as patch:
        patch.setattr(clip_index, "probe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ClipFolder(root, workers=1)
    kept = json.loads((root / clip_index.INDEX).read_text())["files"]
    assert len(kept) >= 1
    monkeypatch.setattr(clip_index, "probe", lambda path: seen.append(path.name) or true_probe(path))
    before = len(seen)
    assert len(ClipFolder(root)) == 10 and len(seen) - before == 3 - len(kept)
