"""The bank of all training windows of a toy world: numbers, windows, clips and points belong together."""

import pytest
import torch

from rflav_lib.evaluation import bank as module
from rflav_lib.evaluation.bank import SPACES, TrainingBank
from rflav_lib.evaluation.sources import ToyPart
from rflav_lib.evaluation.treatment import Treatment

PARTS = [ToyPart(0, 5, 6), ToyPart(3, 2, 7)]


@pytest.fixture
def bank(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 2)
    found = TrainingBank("toy-landscape", PARTS, 4, Treatment(), tmp_path)
    for shard in found.missing():
        found.write(shard)
    return found


def test_every_window_of_every_clip_is_there_once(bank):
    assert len(bank) == 5 * 3 + 2 * 4
    windows = [bank.window(number) for number in range(len(bank))]
    expected = {
        (f"{part.seed}/{index}", start)
        for part in PARTS
        for index in range(part.clips)
        for start in range(part.clip_frames - 3)
    }
    assert len(windows) == len(expected) and {(w.clip, w.start) for w in windows} == expected


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_the_points_are_those_of_the_windows_with_the_same_numbers(bank, space):
    found = torch.cat(list(bank.parts(space)))
    torch.testing.assert_close(found, space.of_clips(bank.clip(number) for number in range(len(bank))))


def test_shards_of_another_recipe_are_not_taken(bank, tmp_path):
    assert bank.missing() == []
    smaller = TrainingBank("toy-landscape", PARTS, 4, Treatment(size=32), tmp_path)
    assert len(smaller.missing()) == len(smaller.shards()) == 4
    shorter = TrainingBank("toy-landscape", PARTS, 3, Treatment(), tmp_path)
    assert shorter.missing() == [], "frames are kept, windows are cut when they are read"
