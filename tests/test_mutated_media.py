"""Spoilt copies of media: an error with the file's name, or data that is what the file says. Never a crash or a hang.

More of them: python -m tests.mutated_media --help
"""

import os
from pathlib import Path

import numpy as np
import pytest

from rflav_lib.media import Clip
from tests import mutated_media
from tests.child_process import ChildProcess
from tests.media_files import write_samples


def run(originals, count):
    readings = mutated_media.read_mutated(originals, count, seed=1)
    bad = [reading for reading in readings if not reading.good]
    assert not bad, bad
    return [reading.verdict for reading in readings]


def test_spoilt_copies_of_every_container(tmp_path):
    verdicts = run(write_samples(tmp_path), 48)
    assert verdicts.count("error") > 24, "most of them are noticed"


def test_spoilt_copies_of_real_clips():
    folder = os.environ.get("RFLAV_ASSETS")
    if not folder:
        pytest.skip("set RFLAV_ASSETS to a folder of real media (clips/*) to spoil copies of them")
    small = [path for path in sorted(Path(folder, "clips").iterdir()) if path.stat().st_size < 700_000]
    verdicts = run(small, 20)
    assert verdicts.count("error") > 10


def test_the_judge_can_find_a_lie(tmp_path, monkeypatch):
    """A reader that swallows what goes wrong is found out."""
    good = write_samples(tmp_path)[0]
    spoilt = tmp_path / "spoilt.mp4"
    data = bytearray(good.read_bytes())
    place = data.index(b"mdat") + 300
    data[place : place + 2000] = bytes(2000)
    spoilt.write_bytes(data)
    truth = Clip.read(good)
    assert mutated_media.verdict(good, good)[0] == "same"
    assert mutated_media.verdict(spoilt, good)[0] == "error"
    other = Clip(truth.frames[::-1], truth.waveform)
    monkeypatch.setattr(Clip, "read", lambda path: other if path == spoilt else truth)
    assert mutated_media.verdict(spoilt, good)[0].startswith("a lie: video")
    short = truth.part(0, 10)
    monkeypatch.setattr(Clip, "read", lambda path: short if path == spoilt else truth)
    assert mutated_media.verdict(spoilt, good)[0].startswith("a lie: Clip(10 frames")


def test_a_child_that_dies_or_hangs_is_reported_and_replaced(tmp_path):
    nothing = tmp_path / "none.mp4"
    child = ChildProcess("tests.mutated_media", ["--child"], patience=mutated_media.PATIENCE)
    assert mutated_media.asked(child, nothing, nothing)[0] == "error"
    child._process.kill()
    assert mutated_media.asked(child, nothing, nothing)[0] == "a crash: exit code -9"
    assert mutated_media.asked(child, nothing, nothing)[0] == "error"
    child.close()
    hasty = ChildProcess("tests.mutated_media", ["--child"], patience=0.0)
    assert mutated_media.asked(hasty, nothing, nothing)[0] == "a hang"
    hasty.close()


@pytest.mark.parametrize("kind", mutated_media.KINDS)
def test_every_kind_spoils(kind):
    data, other = bytes(range(1, 256)) * 100, bytes(25500)
    assert mutated_media.mutate(data, other, kind, np.random.default_rng(0)) != data
