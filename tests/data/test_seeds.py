"""Seeds that are kept stand in one module, and nothing that is trained on a toy world draws their clips."""

import ast

import pytest

from data_scripts.toy import main as toy_main
from rflav_lib import ROOT
from rflav_lib.data import seeds
from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.metrics.toy_classifier import Settings
from rflav_lib.train_config import TrainConfig

NAMED = {name: value for name, value in vars(seeds).items() if name.endswith("_SEED")}


def whole_numbers(source: str) -> set[int]:
    nodes = ast.walk(ast.parse(source))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and type(node.value) is int}


def test_every_named_seed_is_kept_for_something_of_its_own():
    assert len(set(NAMED.values())) == len(NAMED) >= 13
    assert set(seeds.RESERVED) == set(NAMED.values()) and all(seeds.RESERVED.values())
    assert all(seeds.kept_for(seed) == purpose for seed, purpose in seeds.RESERVED.items())


def test_values_that_stored_results_depend_on_stay():
    assert (seeds.UNSEEN_SEED, seeds.CONTROL_SEED, seeds.REFERENCE_SEED) == (2_000_003, 2_000_029, 2_000_033)
    assert [seeds.control_seed(seed) for seed in range(3)] == [2_000_029, 2_001_029, 2_002_029]


def test_control_clips_of_studies_are_kept_and_other_seeds_are_free():
    assert seeds.kept_for(seeds.control_seed(7)) == seeds.RESERVED[seeds.CONTROL_SEED]
    assert seeds.kept_for(seeds.control_seed(seeds.STUDIES)) is None
    free = (0, 1, 2, 1_029, 1_000_029, 2_000_028, 2_000_030, TrainConfig().seed)
    assert [seeds.kept_for(seed) for seed in free] == [None] * len(free)


def test_no_other_module_writes_one_out():
    assert whole_numbers("a = 2_000_003") == {2_000_003}
    folders = ("rflav_lib", "benchmarks", "data_scripts")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 100
    others = [path for path in paths if path != ROOT / "rflav_lib" / "data" / "seeds.py"]
    found = {path.name: whole_numbers(path.read_text(encoding="utf-8")) for path in others}
    assert [name for name, values in found.items() if values & set(seeds.RESERVED)] == []


def test_nothing_makes_clips_to_train_on_from_them(tmp_path, capsys):
    for make in (TrainConfig, LatentsConfig, Settings):
        with pytest.raises(ValueError, match=r"(?s)seed.*unseen clips beside generated ones"):
            make(seed=seeds.UNSEEN_SEED)
    assert LatentsConfig(videos="my/videos", seed=seeds.UNSEEN_SEED).videos, "videos are not made from a seed"
    assert toy_main(["prepare", "--root", str(tmp_path / "toy"), "--seed", str(seeds.UNSEEN_SEED)]) != 0
    assert "--seed 2000003 is kept: unseen clips" in capsys.readouterr().err
    assert not (tmp_path / "toy").exists()
