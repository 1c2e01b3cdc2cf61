"""Features travel with their origin: into the cache and out again, and never mixed."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from rflav_lib.metrics.feature_set import FeatureSet, Origin, differences, joined, library_versions

ORIGIN = Origin("real", 5, 7, "I3D, git a867b87a", "400 logits", "64x64", "none", library_versions())


def features(rows=5, **changes):
    values = torch.arange(rows * 3.0).reshape(rows, 3)
    return FeatureSet(values, replace(ORIGIN, samples=rows, **changes))


def test_saved_and_read_again(tmp_path):
    path = features().save(tmp_path / "cache" / "real.safetensors")
    again = FeatureSet.load(path, expected=ORIGIN)
    assert again.origin == ORIGIN and torch.equal(again.values, features().values)
    assert again.values.dtype == torch.float64 and len(again) == 5
    assert FeatureSet.load(path).origin == ORIGIN
    assert [entry.name for entry in path.parent.iterdir()] == ["real.safetensors"]


@pytest.mark.parametrize(
    "changed",
    [{"data": "made"}, {"samples": 9}, {"seed": 8}, {"codec": "mp4"}, {"versions": (("torch", "2.0"),)}],
)
def test_a_cache_of_another_origin_is_refused_by_what_differs(tmp_path, changed):
    path = features().save(tmp_path / "real.safetensors")
    (name,) = changed
    with pytest.raises(ValueError, match=f"real.safetensors holds features of another origin .{name}: "):
        FeatureSet.load(path, expected=replace(ORIGIN, **changed))


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError, match="no cached features"):
        FeatureSet.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="x.safetensors: not a file of features"):
        FeatureSet.load(path)
    save_file({"values": torch.zeros(5, 3)}, path)
    with pytest.raises(ValueError, match="x.safetensors: not the origin"):
        FeatureSet.load(path)
    save_file({"values": torch.zeros(5, 3)}, path, {"facts": '{"origin": "{\\"data\\": 1}"}'})
    with pytest.raises(ValueError, match="x.safetensors: not the origin"):
        FeatureSet.load(path)


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="'real' should hold 5 samples, but 4 came"):
        FeatureSet(torch.zeros(4, 3), ORIGIN)
    with pytest.raises(ValueError, match=r"must be \(n d\)"):
        FeatureSet(torch.zeros(5), ORIGIN)
    values = torch.zeros(5, 3)
    values[3, 0] = torch.inf
    with pytest.raises(ValueError, match="the first is row 3"):
        FeatureSet(values, ORIGIN)


def test_parts_join_if_they_are_of_one_origin():
    whole = joined([features(3), features(2), features(4)])
    assert len(whole) == whole.origin.samples == 9
    assert torch.equal(whole.values[3:5], features(2).values)
    assert replace(whole.origin, samples=5) == ORIGIN
    for changed in ({"codec": "mp4"}, {"network": "other"}, {"data": "made"}, {"seed": 1}):
        with pytest.raises(ValueError, match="cannot join"):
            joined([features(3), features(2, **changed)])
    with pytest.raises(ValueError, match="no features"):
        joined([])


def test_differences_are_of_the_path_alone():
    assert differences(ORIGIN, replace(ORIGIN, data="made", samples=3, seed=None)) == []
    (told,) = differences(ORIGIN, replace(ORIGIN, data="made", codec="mp4"))
    assert told == "codec is 'none' for 'real', 'mp4' for 'made'"


def test_the_versions_name_what_matters():
    names = dict(library_versions())
    assert {"python", "torch", "torchvision", "av"} <= names.keys()
