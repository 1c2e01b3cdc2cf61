"""Files appear whole or not at all."""

import json
import math
import os
import stat
from argparse import ArgumentParser
from pathlib import Path

import html_site
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rflav_lib import ROOT, train_codec
from rflav_lib.data.toy import make_clip
from rflav_lib.files import json_digest, output_file, whole, whole_folder, write_json
from rflav_lib.metrics import toy_classifier
from rflav_lib.tensor_files import write_tensors
from tests.tiny import tiny_pipeline


def test_a_file_appears_when_it_is_done(tmp_path):
    target = tmp_path / "deep" / "clip.mp4"
    with whole(target) as draft:
        assert draft.suffix == ".mp4" and draft.parent == target.parent
        draft.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_failure_keeps_what_was_there(tmp_path):
    target = tmp_path / "clip.mp4"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole(target) as draft:  # noqa: PT012 - the block is the thing under test
        draft.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folders_are_replaced_whole(tmp_path):
    target = tmp_path / "pipeline"
    for content in ("one", "two"):
        with whole_folder(target, "one") as draft:
            draft.mkdir()
            (draft / content).write_text(content)
        assert [path.name for path in target.iterdir()] == [content]
    with pytest.raises(RuntimeError), whole_folder(target, "two") as draft:  # noqa: PT012 - as above
        draft.mkdir()
        (draft / "three").write_text("3")
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name != "posix", reason="permissions are of Unix")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_weights_may_be_read_by_whom_the_umask_says(tmp_path, umask, mode):
    """As checkpoints, pipelines and features are written: alone, and in a folder with others."""
    before = os.umask(umask)
    try:
        with whole(tmp_path / "features.safetensors") as draft:
            save_file({"x": torch.zeros(1)}, draft)
        with whole_folder(tmp_path / "step") as draft:
            (draft / "deep").mkdir(parents=True)
            save_file({"x": torch.zeros(1)}, draft / "deep" / "model.safetensors")
            (draft / "run.sh").touch(mode=0o700)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {"features.safetensors": mode, "model.safetensors": mode, "run.sh": 0o700}, (
        "and what was meant to be otherwise stays so; nothing is left beside them"
    )


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def precious(tmp_path):
    """A folder that somebody has filled, under a name that anything may be written to."""
    folder = tmp_path / "take.mp4"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "notes").write_text("of years")
    return folder


def clip():
    return make_clip("toy-landscape", 0, 0, 2, 0).clip


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize(
    "write",
    [
        lambda path: clip().save(path),
        lambda path: clip().to_wav(path.rename(path.with_suffix(".wav"))),
        lambda path: write_json(path, {}),
        lambda path: write_tensors(path, {"x": torch.zeros(1)}),
    ],
)
def test_a_file_never_takes_the_place_of_a_folder(precious, write, link):
    if link:
        real = precious.rename(precious.with_name("real"))
        precious.symlink_to(real)
    with pytest.raises((OSError, ValueError), match=r"take\.|real") as error:
        write(precious)
    assert "is a folder, and a file is to be written here" in str(error.value)
    names = {path.name for path in precious.parent.iterdir()}
    kept = precious if precious.exists() else precious.with_suffix(".wav")
    assert contents(kept) == {"deep/notes": "of years"} and names == {kept.name} | (
        {"real"} if link else set()
    )


def test_a_folder_where_a_file_should_be_is_told_before_the_work(precious):
    with pytest.raises(IsADirectoryError), whole(precious):
        pytest.fail("the block ran")
    with pytest.raises(FileExistsError), whole_folder(precious, "config.json"):
        pytest.fail("the block ran")


def test_a_folder_that_comes_during_the_work_is_kept(tmp_path):
    target = tmp_path / "late"
    for context in (whole(target), whole_folder(target)):
        with pytest.raises(FileExistsError if target.exists() else IsADirectoryError), context as draft:  # noqa: PT012
            draft.write_text("new")
            target.mkdir(exist_ok=True)
            (target / "notes").write_text("of years")
        assert contents(tmp_path) == {"late/notes": "of years"}


def test_a_pipeline_takes_the_place_of_a_pipeline_and_of_nothing_else(precious, tmp_path):
    pipeline = tiny_pipeline()
    with pytest.raises(
        FileExistsError, match=r"holds other things and no model_index\.json, so it is not repl"
    ):
        pipeline.save_whole(precious)
    (tmp_path / "file").write_text("text")
    with pytest.raises(FileExistsError, match="is a file, and a folder is to be written here"):
        pipeline.save_whole(tmp_path / "file")
    assert contents(tmp_path) == {"take.mp4/deep/notes": "of years", "file": "text"}
    (tmp_path / "empty").mkdir()
    pipeline.save_whole(tmp_path / "empty")
    (tmp_path / "empty" / "vae" / "config.json").write_text("old")
    pipeline.save_whole(tmp_path / "empty")
    assert (tmp_path / "empty" / "vae" / "config.json").read_text() != "old"


def test_commands_that_write_folders_refuse_others_before_the_work(precious, monkeypatch, capsys):
    nothing = pytest.fail
    monkeypatch.setattr(train_codec, "_train", nothing)
    monkeypatch.setattr(toy_classifier, "draw", nothing)
    monkeypatch.setattr(html_site, "read_pages", nothing)
    assert train_codec.main(["--out", str(precious)]) == 2
    assert toy_classifier.main(["--out", str(precious)]) == 2
    with pytest.raises(FileExistsError):
        html_site.build(precious.parent, precious)
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all("take.mp4" in line and "not replaced" in line for line in errors)
    assert contents(precious) == {"deep/notes": "of years"}


def test_an_option_for_a_file_refuses_a_folder(precious, capsys):
    parser = ArgumentParser()
    parser.add_argument("--out", type=output_file)
    assert parser.parse_args(["--out", "results/new.json"]).out == Path("results/new.json")
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", str(precious)])
    assert "argument --out: " in (told := capsys.readouterr().err) and "take.mp4: is a folder" in told


def test_links_are_written_through(tmp_path):
    (tmp_path / "disk").mkdir()
    for name, target in (("there", "disk/a.json"), ("not yet", "disk/b.json")):
        link = tmp_path / name
        link.symlink_to(target)
        write_json(link, name)
        assert link.is_symlink() and (tmp_path / target).read_text() == f'"{name}"\n'
    pipeline = tmp_path / "pipeline"
    (tmp_path / "disk" / "pipeline").mkdir()
    pipeline.symlink_to("disk/pipeline")
    with whole_folder(pipeline) as draft:
        draft.mkdir()
        (draft / "one").write_text("1")
    assert pipeline.is_symlink() and (tmp_path / "disk" / "pipeline" / "one").read_text() == "1"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="a link that leads to itself"):
        write_json(tmp_path / "round", 1)
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["a.json", "b.json", "pipeline"]


@pytest.mark.parametrize(
    "name", [250 * "a" + ".mp4", 125 * "é" + ".mp", 14 * "in a sentence. " + "the end.mp4"]
)
def test_names_as_long_as_the_file_system_allows(tmp_path, name):
    write_json(tmp_path / name, 1)
    with whole_folder(tmp_path / (name + "x")) as draft:
        draft.mkdir()
    assert {path.name for path in tmp_path.iterdir()} == {name, name + "x"}
    with pytest.raises(OSError, match="too long") as error, whole(tmp_path / (300 * "a")):
        pass
    assert error.value.filename == str(tmp_path / (300 * "a"))


def test_a_name_with_a_colon_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(type(clip()).read(clip().save("12:30.mp4"))) == 2


def test_a_digest_is_of_the_value_whatever_the_order_of_its_keys():
    assert json_digest({"b": None, "a": (1, "x")}) == "8401963c"
    assert json_digest({"a": [1, "x"], "b": None}, 16) == "8401963c5b51c522"
    assert json_digest({"a": [1, "y"], "b": None}) != "8401963c"


def test_what_could_not_be_measured_is_null_and_what_is_infinite_is_refused(tmp_path):
    path = tmp_path / "out.json"
    write_json(path, {"figures": [{"value": math.nan}, (1.5, np.float64("nan"), None)], "of": 3})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "figures": [{"value": None}, [1.5, None, None]],
        "of": 3,
    }
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"out.json: figures: 1: is -inf, which JSON cannot hold"):
        write_json(path, {"figures": [1.0, -math.inf]})
    assert path.read_bytes() == before


def test_results_are_json_for_every_reader():
    files = sorted((ROOT / "results").glob("*.json"))
    assert len(files) > 20
    for path in files:
        json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=lambda word, path=path: pytest.fail(f"{path}: {word}"),
        )
