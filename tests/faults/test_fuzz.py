"""A few spoilt copies for every reader, in this process; 10,000 in one that may die: python -m tests.faults.fuzz."""

import pytest

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


def test_a_child_that_dies_is_reported_and_replaced(monkeypatch):
    """Also shows that good files of a reader can be read in a child."""
    reader = fuzz.Child(0, ["kept figures"])
    assert reader.read(0).good
    reader._process.kill()
    reader._process.wait()
    assert "exit code -9" in reader.read(1).verdict
    reader.close()
