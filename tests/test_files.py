"""Files appear whole or not at all."""

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from rflav_lib.files import whole


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
        with whole(target) as draft:
            draft.mkdir()
            (draft / content).write_text(content)
        assert [path.name for path in target.iterdir()] == [content]
    with pytest.raises(RuntimeError), whole(target) as draft:  # noqa: PT012 - as above
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
        with whole(tmp_path / "step") as draft:
            (draft / "deep").mkdir(parents=True)
            save_file({"x": torch.zeros(1)}, draft / "deep" / "model.safetensors")
            (draft / "run.sh").touch(mode=0o700)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {"features.safetensors": mode, "model.safetensors": mode, "run.sh": 0o700}, (
        "and what was meant to be otherwise stays so; nothing is left beside them"
    )
