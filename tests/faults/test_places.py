"""A full disk, a folder for reading only, two processes in one place, a clock that goes back."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_scripts.prepare import Piece, Recipe, prepare
from rflav_lib import ROOT, files, run_folder
from rflav_lib.data.clips import ClipFolder
from rflav_lib.files import append_whole, whole_folder
from rflav_lib.locks import only_writer
from rflav_lib.metrics.toy.__main__ import main as measure_toy
from tests.faults.writers import WRITERS, clip, contents, full_disk
from tests.tiny import tiny_pipeline

unix = pytest.mark.skipif(os.name != "posix", reason="limits, permissions and kill -9 are of Unix")


@unix
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_error_and_what_was_there_stays(name, tmp_path):
    folder = tmp_path / "place"
    folder.mkdir()
    WRITERS[name](folder, 1)
    before = contents(folder)
    assert before
    with pytest.raises((OSError, ValueError)) as caught, full_disk():
        WRITERS[name](folder, 2)
    assert str(folder) in str(caught.value), f"it names no place: {caught.value!r}"
    assert "too large" in str(caught.value), "and the reason"
    assert contents(folder) == before, "nothing half written, nothing lost"


@unix
@pytest.mark.usefixtures("permissions_hold")
@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_for_reading_only_is_named(name, tmp_path):
    folder = tmp_path / "place"
    folder.mkdir()
    folder.chmod(0o500)
    with pytest.raises((OSError, ValueError)) as caught:
        WRITERS[name](folder, 1)
    assert str(folder) in str(caught.value) and not contents(folder)
    assert "ermission denied" in str(caught.value) or "cannot be written" in str(caught.value)


@unix
def test_a_disk_that_fills_up_under_a_line(tmp_path):
    """The first part of the line is taken before the error comes: it is taken back."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\n")
    with full_disk(10), pytest.raises(OSError, match="lines"):
        append_whole(path, "two, and more than there is room for\n")
    assert path.read_bytes() == b"one\n"
    append_whole(path, "two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_folder_that_cannot_be_replaced_is_still_there(tmp_path, monkeypatch):
    """Where the system cannot exchange two names in one step, it takes two, and the second may fail."""
    target = tmp_path / "pipeline"
    target.mkdir()
    (target / "old").touch()
    replace = os.replace

    def fails(source, place):
        if place == target and not Path(source).name.endswith(".old"):
            raise OSError(5, "Input/output error")
        replace(source, place)

    monkeypatch.setattr(files, "_exchange", lambda *_: False)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="pipeline"):  # noqa: PT012 - as a whole
        patch.setattr(files.os, "replace", fails)
        with whole_folder(target, "old") as draft:
            draft.mkdir()
    assert [path.name for path in target.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [target]
    with whole_folder(target, "old") as draft:
        draft.mkdir()
        (draft / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"] and list(tmp_path.iterdir()) == [target]


HOLD = """
import sys
from rflav_lib.locks import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@unix
def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path, capsys):
    """Also by a clock that says that the lock was taken tomorrow."""
    out = tmp_path / "toy.json"
    tiny_pipeline().save_whole(tmp_path / "tiny")
    command = [
        str(tmp_path / "tiny"),
        "--clips",
        "1",
        "--frames",
        "5",
        "--steps-per-frame",
        "1",
        "--no-codecs",
    ]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        tomorrow = time.time() + 86400
        os.utime(tmp_path / ".toy.json.lock", (tomorrow, tomorrow))
        assert measure_toy([*command, "--out", str(out)]) == 2
        assert "toy.json: another process writes it now" in capsys.readouterr().err and not out.exists()
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    with only_writer(out):
        pass
    with full_disk():
        assert measure_toy([*command, "--out", str(out)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "toy.json" in errors[0] and not out.exists()


def test_clocks_that_run_ahead_or_are_set_back(tmp_path, monkeypatch):
    """A clip from tomorrow is prepared once; one that is exchanged for an older one is prepared, and seen, anew."""
    source = clip(1).save(tmp_path / "in" / "a.mp4")
    tomorrow = time.time() + 86400
    os.utime(source, (tomorrow, tomorrow))
    pieces = [Piece(source, tmp_path / "out" / "train" / "a.mp4")]
    made = []
    for _ in range(2):
        assert prepare(pieces, Recipe(size=64), tmp_path / "out", 1) == 0
        made.append(pieces[0].target.stat().st_ino)
    assert made[0] == made[1], "not again and again until tomorrow"
    assert len(ClipFolder(tmp_path / "out", workers=1, frames=2).files) == 1
    first = pieces[0].target.read_bytes()
    os.utime(clip(2).save(source), (1e9, 1e9))
    assert prepare(pieces, Recipe(size=64), tmp_path / "out", 1) == 0
    assert pieces[0].target.read_bytes() != first
    (index,) = ClipFolder(tmp_path / "out", workers=1, frames=2).files
    assert index.info is not None
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with run_folder.locked(tmp_path / "run"), pytest.raises(ValueError, match="in use by"):
        run_folder.locked(tmp_path / "run").__enter__()
