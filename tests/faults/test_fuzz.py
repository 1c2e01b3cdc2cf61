"""A few spoilt copies for every reader, in this process; 10,000 in one that may die: python -m tests.faults.fuzz."""

import pytest

from tests.child_process import ChildProcess
from tests.faults import fuzz
from tests.faults.readers import READERS, Reader

COPIES = 8  # of each reader


@pytest.mark.filterwarnings("ignore")
def test_spoilt_copies_of_everything_that_is_read(tmp_path, capsys):
    bench = fuzz.Bench(tmp_path, seed=1)
    cases = [bench.case(number) for number in range(COPIES * len(READERS))]
    bad = [case for case in cases if not case.good]
    assert not bad, bad
    assert sum(case.verdict == "error" for case in cases) > len(cases) / 2, "most damage is noticed"


def test_the_judge_finds_what_may_not_happen(tmp_path):
    """A reader that swallows damage, raises what it should not, or does not say which file."""
    path = tmp_path / "a.json"

    def verdict(read, **checked):
        return fuzz.verdict(Reader("a", None, read, **checked), tmp_path, path, ((3,), "content"))

    def fails(error):
        raise error

    assert verdict(lambda *_: ((3,), "content")) == "same"
    assert verdict(lambda *_: ((3,), "other")) == "other values"
    assert verdict(lambda *_: ((3,), "other"), checked=True).startswith("a lie")
    assert verdict(lambda *_: ((4,), "content")).startswith("a lie")
    assert verdict(lambda *_: fails(ValueError(f"{path}: damaged"))) == "error"
    assert verdict(lambda *_: fails(ValueError("damaged"))).startswith("an error that does not name")
    assert verdict(lambda *_: fails(KeyError(str(path)))).startswith("another error")


def test_a_child_that_dies_is_reported_and_replaced():
    """Also shows that good files of a reader can be read in a child."""
    cases = fuzz.fuzz(3, seed=0, only=["kept figures"])
    assert next(cases).good
    cases.gi_frame.f_locals["child"]._process.kill()
    assert "exit code -9" in next(cases).verdict
    assert next(cases).good


def test_a_child_that_cannot_begin_is_no_fault_of_the_copies():
    child = ChildProcess("tests.no_such_module", [], patience=fuzz.PATIENCE, greets=True, quiet=True)
    with pytest.raises(RuntimeError, match="no_such_module did not begin: a crash: exit code 1"):
        child.ask(0)


def test_an_unknown_reader_is_named(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fuzz", "--only", "kept figurs"])
    with pytest.raises(SystemExit):
        fuzz.main()
    assert "no reader 'kept figurs'; there are" in capsys.readouterr().err
