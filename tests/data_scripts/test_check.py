import csv

import pytest

from data_scripts.check import check
from data_scripts.published import FetchError
from tests.media_files import clicks, regular, write_media


def clip(path, seconds=1.0, fps=10, silent=False, blind=False, sound_seconds=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = None if silent else clicks((0.3,), sound_seconds or seconds, 16000, 1)
    return write_media(
        path, [] if blind else regular(fps, seconds), seconds, sound, rate=16000, layout="mono"
    )


def rows(root):
    with (root / "check.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_good_files(tmp_path, capsys):
    for name in ("train/wind noise/a.mp4", "train/wind noise/b.mp4", 'test/größe "1"/it\'s.mp4'):
        clip(tmp_path / name)
    assert check(tmp_path, tmp_path, workers=1) == 0
    said = capsys.readouterr().out
    assert "3 files, 0 problems" in said
    (line,) = [line for line in said.splitlines() if line.startswith("train/wind noise")]
    assert line.split("  ")[1:2] == ["2"] or line.split()[2] == "2"
    assert "64x48" in line and "16000 Hz x1" in line
    assert (tmp_path / "check.png").read_bytes()[:4] == b"\x89PNG"
    assert rows(tmp_path)['test/größe "1"/it\'s.mp4']["seconds"] == "1.000"


def test_every_problem_is_named(tmp_path, capsys):
    train = tmp_path / "train" / "rain"
    clip(train / "good.mp4")
    clip(train / "silent.mp4", silent=True)
    clip(train / "blind.mp4", blind=True)
    clip(train / "short sound.mp4", seconds=3.0, sound_seconds=1.0)
    data = clip(train / "cut.mp4", seconds=4.0).read_bytes()
    (train / "cut.mp4").write_bytes(data[: len(data) // 2])
    (train / "words.mp4").write_text("not a video")
    (train / "empty.mp4").write_bytes(b"")
    (train / "notes.txt").write_text("no media, so none of ours")
    (tmp_path / "train" / "thunder").mkdir()
    assert check(tmp_path, tmp_path, workers=1) == 1
    said, found = capsys.readouterr().out, rows(tmp_path)
    assert "7 files, 7 problems" in said and f"{tmp_path / 'train' / 'thunder'}: no media in it" in said
    problems = {name.removeprefix("train/rain/"): row["problem"] for name, row in found.items()}
    assert problems.pop("good.mp4") == ""
    assert problems["silent.mp4"] == "has no sound" and problems["blind.mp4"] == "has no picture"
    assert problems["short sound.mp4"].startswith("3.00 s of picture, 1.")
    assert len(problems) == 6 and all(problems.values())
    assert all(f"{train / name}: {problem}" in said for name, problem in problems.items())


def test_links_out_of_the_folder_are_refused(tmp_path):
    clip(tmp_path / "outside.mp4")
    clip(tmp_path / "in" / "train" / "a.mp4")
    (tmp_path / "in" / "train" / "b.mp4").symlink_to(tmp_path / "in" / "train" / "a.mp4")
    assert check(tmp_path / "in", tmp_path / "in", workers=1) == 0
    (tmp_path / "in" / "train" / "c.mp4").symlink_to(tmp_path / "outside.mp4")
    with pytest.raises(ValueError, match="c.mp4: is a link out of"):
        check(tmp_path / "in", tmp_path / "in")
    (tmp_path / "in" / "train" / "c.mp4").unlink()
    (tmp_path / "in" / "test").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="test: is a link out of"):
        check(tmp_path / "in", tmp_path / "in")


def test_nothing_to_look_at(tmp_path):
    with pytest.raises(FetchError, match="holds no media"):
        check(tmp_path, tmp_path)
    with pytest.raises(FetchError, match="no such folder"):
        check(tmp_path / "none", tmp_path)


@pytest.mark.usefixtures("permissions_hold")
def test_a_file_that_may_not_be_read(tmp_path, capsys):
    path = clip(tmp_path / "train" / "a.mp4")
    path.chmod(0)
    assert check(tmp_path, tmp_path, workers=1) == 1
    assert "Permission denied" in capsys.readouterr().out


def test_in_two_processes(tmp_path):
    for number in range(4):
        clip(tmp_path / "train" / f"{number}.mp4")
    assert check(tmp_path, tmp_path, workers=2) == 0 and len(rows(tmp_path)) == 4
