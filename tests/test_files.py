"""Files appear whole or not at all."""

import pytest

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
