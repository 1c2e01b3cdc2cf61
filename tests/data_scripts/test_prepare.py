import json
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_scripts import prepare as module
from data_scripts.prepare import PROBLEMS, Piece, Recipe, prepare
from data_scripts.published import FetchError
from rflav_lib import ROOT
from rflav_lib.media import Clip, probe
from tests.media_files import click_times, clicks, number_of, regular, write_media

RECIPE = Recipe(size=64)


def source(path, seconds=1.5, fps=25, size=(64, 48), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = clicks((0.4, 1.1), seconds, 44100, 2)
    return write_media(path, regular(fps, seconds), seconds, sound, rate=44100, size=size, **options)


def pieces_of(root, *names):
    return [Piece(source(root / "in" / name), root / "out" / "train" / name) for name in names]


def run(root, pieces, recipe=RECIPE, workers=1):
    return prepare(pieces, recipe, root / "out", workers)


def times(pieces):
    """When each was made: its time of change is that of its source."""
    return [piece.target.stat().st_ctime_ns for piece in pieces]


def test_ten_frames_a_second_and_sixteen_kilohertz(tmp_path):
    (piece,) = pieces_of(tmp_path, "a.mp4")
    assert run(tmp_path, [piece]) == 0
    info = probe(piece.target)
    assert (info.width, info.height, info.frame_rate, info.sample_rate, info.channels) == (
        64,
        64,
        10,
        16000,
        1,
    )
    made, read = Clip.read(piece.target), Clip.read(piece.source)
    assert len(made) == 15 and len(made.waveform) == 24000
    assert [number_of(frame[8:56]) for frame in made.frames] == [number_of(frame) for frame in read.frames]
    assert made.frames[:, :6].max() < 20 and made.frames[:, 58:].max() < 20  # letterboxed
    assert np.allclose(click_times(made.waveform, 16000), (0.4, 1.1), atol=0.003)


def test_sound_is_lossless_and_of_the_left_channel_unless_the_mean_is_asked_for(tmp_path):
    """Two clicks on the left, none on the right: the mean is half as loud."""
    rate, seconds = 16000, 1.5
    left = clicks((0.4, 1.1), seconds, rate, 1)
    sound = np.concatenate([left, 0 * left])
    path = write_media(
        tmp_path / "a.mkv", regular(25, seconds), seconds, sound, rate=rate, size=(64, 64), codec="flac"
    )
    made = {}
    for channel in ("left", "mean"):
        piece = Piece(path, tmp_path / channel / "a.mp4")
        assert prepare([piece], Recipe(size=64, channel=channel), tmp_path / channel, 1) == 0
        assert probe(piece.target).audio_codec == "flac"
        made[channel] = Clip.read(piece.target).waveform
        np.testing.assert_allclose(made[channel], Clip.read(path, channel=channel).waveform, atol=1 / 2**15)
    assert np.abs(made["left"]).max() > 0.1
    np.testing.assert_allclose(made["mean"], made["left"] / 2, atol=2 / 2**15)


def test_the_middle_is_cut_out_and_scaled(tmp_path):
    def corners(number, width, height):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[:, (width - height) // 2 : (width + height) // 2] = 200
        return picture

    path = source(tmp_path / "a.mp4", size=(160, 96), picture=corners)
    piece = Piece(path, tmp_path / "out" / "train" / "a.mp4")
    assert run(tmp_path, [piece], Recipe(size=32, crop=96)) == 0
    frames = Clip.read(piece.target).frames
    assert frames.shape[1:] == (32, 32, 3) and frames.min() > 150


def test_a_window_of_a_longer_file(tmp_path):
    path = source(tmp_path / "a.mp4", seconds=3)
    piece = Piece(path, tmp_path / "out" / "train" / "a.mp4", start=1.0, seconds=1.5)
    assert run(tmp_path, [piece]) == 0
    made, read = Clip.read(piece.target), Clip.read(path, start=1.0, frames=15)
    assert len(made) == 15
    assert [number_of(frame[8:56]) for frame in made.frames] == [number_of(frame) for frame in read.frames]
    assert np.allclose(click_times(made.waveform, 16000), 0.1, atol=0.003)


def test_done_once_and_again_only_where_something_changed(tmp_path):
    pieces = pieces_of(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    assert run(tmp_path, pieces) == 0
    first = times(pieces)
    assert run(tmp_path, pieces) == 0 and times(pieces) == first
    pieces[0].target.unlink()
    later = time.time() + 100
    os.utime(pieces[1].source, (later, later))
    assert run(tmp_path, pieces) == 0
    assert [new == old for new, old in zip(times(pieces), first, strict=True)] == [False, False, True]


def test_a_source_that_cannot_be_read_is_named_and_costs_only_itself(tmp_path, capsys):
    pieces = pieces_of(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    good = pieces[1].source.read_bytes()
    pieces[1].source.write_bytes(good[: len(good) // 2])
    pieces.append(Piece(pieces[0].source, tmp_path / "out" / "train" / "d.mp4", start=1.0, seconds=10.0))
    assert run(tmp_path, pieces) == 1
    told = (tmp_path / "out" / PROBLEMS).read_text()
    assert len(told.splitlines()) == 2 and "b.mp4: " in told and "no 100 frames from 1 s on" in told
    assert [piece.target.exists() for piece in pieces] == [True, False, True, False]
    pieces[1].source.write_bytes(good)
    assert run(tmp_path, pieces[:3]) == 0 and not (tmp_path / "out" / PROBLEMS).exists()


def test_clips_of_two_recipes_do_not_mix(tmp_path):
    pieces = pieces_of(tmp_path, "a.mp4")
    run(tmp_path, pieces)
    with pytest.raises(FetchError, match="made with size 64; delete train/"):
        run(tmp_path, pieces, Recipe(size=32))
    path = tmp_path / "out" / "prepare.json"
    made = json.loads(path.read_text())
    path.write_text(
        json.dumps({key: value for key, value in made.items() if key not in ("sound", "channel")})
    )
    with pytest.raises(FetchError, match="made with sound aac, channel mean; delete train/"):
        run(tmp_path, pieces)


def test_never_over_its_own_source(tmp_path):
    path = source(tmp_path / "out" / "train" / "a.mp4")
    before = path.read_bytes()
    with pytest.raises(FetchError, match="over itself"):
        run(tmp_path, [Piece(path, path)])
    assert path.read_bytes() == before


def test_names_of_every_kind(tmp_path):
    pieces = pieces_of(tmp_path, 'it\'s/a "b" $HOME;.mp4', "größe/видео 音.mp4", "-c/-d.mp4")
    assert run(tmp_path, pieces) == 0
    assert all(len(Clip.read(piece.target)) == 15 for piece in pieces)


def test_what_processes_are_sent_can_be_sent():
    work = partial(module.make, RECIPE), Piece(Path("a"), Path("b"))
    assert pickle.loads(pickle.dumps(work))[1] == work[1]  # noqa: S301 - our own


def test_a_full_disk_stops_it_with_nothing_half_written(tmp_path, monkeypatch):
    pieces = pieces_of(tmp_path, "a.mp4")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(OSError, match="make room"):
        run(tmp_path, pieces)
    assert not list((tmp_path / "out").rglob("*.mp4"))


@pytest.mark.usefixtures("permissions_hold")
def test_a_read_only_folder(tmp_path):
    pieces = pieces_of(tmp_path, "a.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o555)
    with pytest.raises(PermissionError):
        run(tmp_path, pieces)


KILLED = """
import sys
from pathlib import Path
from data_scripts.prepare import Piece, Recipe, prepare
root = Path(sys.argv[1])
pieces = [Piece(path, root / "out" / "train" / path.name) for path in sorted((root / "in").iterdir())]
prepare(pieces, Recipe(size=64), root / "out", 1)
"""


def test_goes_on_after_kill_9(tmp_path):
    pieces = pieces_of(tmp_path, *(f"{number}.mp4" for number in range(9)))
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 120
        while not pieces[1].target.exists() and time.monotonic() < until:
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = [piece for piece in pieces if piece.target.exists()]
    assert len(done) >= 2 and all(len(Clip.read(piece.target)) == 15 for piece in done)
    (tmp_path / "out" / "train" / ".5-0123abcd.mp4").write_bytes(b"half a clip")
    first = times(done)
    assert run(tmp_path, pieces) == 0
    assert times(done) == first
    assert set((tmp_path / "out" / "train").iterdir()) == {piece.target for piece in pieces}


@pytest.mark.parametrize("size", [0, 15, 33, -64])
def test_sizes_that_no_clip_can_have(size):
    with pytest.raises(ValueError, match="--size must be even"):
        Recipe.of(SimpleNamespace(size=size))
