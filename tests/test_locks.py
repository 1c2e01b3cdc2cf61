"""Locks: those who come second, and file systems that have none."""

import errno

import pytest

from rflav_lib.locks import held, only_writer


def test_a_file_system_without_locks_is_told_and_no_other_lock_is_taken(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    for lock in (held(tmp_path / "lock"), held(tmp_path / "lock", lambda: "taken")):
        with pytest.raises(OSError, match=f"Function not implemented: '{tmp_path / 'lock'}'"), lock:
            pytest.fail("the block ran")
    with pytest.raises(OSError, match="not implemented"), only_writer(tmp_path / "toy.json"):
        pytest.fail("the block ran")


def test_a_thread_does_not_wait_for_itself(tmp_path):
    with held(tmp_path / "lock"):
        with pytest.raises(RuntimeError, match="already held"), held(tmp_path / "lock"):
            pytest.fail("the block ran")
        with pytest.raises(ValueError, match="^taken$"), held(tmp_path / "lock", lambda: "taken"):
            pytest.fail("the block ran")
    with held(tmp_path / "lock"):
        pass


def test_a_lock_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(IsADirectoryError, match=f"'{tmp_path / 'lock'}'"), held(tmp_path / "lock"):
        pytest.fail("the block ran")
