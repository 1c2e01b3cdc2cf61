"""The stages stop at the first failure, and their sum is right."""

import pytest
from run_stages import CHANGED, STAGES, counts, run_stages

pytestmark = pytest.mark.usefixtures("no_plugins")
QUICK = ["-p", "no:cacheprovider", "--rootdir=/", "-q", "-c/dev/null"]


@pytest.fixture
def no_plugins(monkeypatch):
    """The stages' own runs of pytest start in half the time without them."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("3 passed, 1 skipped in 0.12s", {"passed": 3, "skipped": 1}),
        (
            "=== 1 failed, 20 passed, 2 errors in 75.00s (0:01:15) ===",
            {"failed": 1, "passed": 20, "errors": 2},
        ),
        ("1 error in 0.1s", {"errors": 1}),
        ("all 3 passed", {}),
    ],
)
def test_counts(line, expected):
    assert counts(line) == expected


def test_stops_at_the_first_failure_and_sums_up(tmp_path, capfd):
    good, bad = tmp_path / "test_good.py", tmp_path / "test_bad.py"
    good.write_text("def test_a(): pass\ndef test_b(): pass\n")
    bad.write_text("def test_c(): assert False\n")
    run = lambda path: ["pytest", str(path), *QUICK]  # noqa: E731 - shorter than the three lists it makes
    stages = {"good": [run(good)], "bad": [run(bad), run(good)], "never": [run(good)]}
    assert run_stages(["good"], stages) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "2 passed, 0 failed, 0 skipped"
    assert run_stages(["good", "bad", "never"], stages) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "2 passed, 1 failed, 0 skipped"
    assert "== never" not in lines
    assert any(line.startswith("bad failed: pytest") for line in lines)


def test_no_tests_at_all_is_a_failure(tmp_path):
    assert run_stages(["empty"], {"empty": [["pytest", str(tmp_path), *QUICK]]}) == 5


def test_slow_tests_alone_are_left_to_the_whole_run(tmp_path, capfd):
    slow = tmp_path / "test_slow.py"
    slow.write_text("import pytest\n@pytest.mark.slow\ndef test_a(): assert False\n")
    stages = {CHANGED: [["pytest", str(slow), *QUICK, "-m", "not slow"]]}
    assert run_stages([CHANGED], stages) == 0
    assert "all of them are slow" in capfd.readouterr().out
    assert run_stages([CHANGED], {CHANGED: [["pytest", str(slow), *QUICK]]}) == 1


def test_the_stages_cover_tests_and_notebooks():
    (tests,), (nbval,) = STAGES["tests"], STAGES["nbval"]
    assert tests[:2] == ["pytest", "tests"]
    assert nbval[:3] == ["pytest", "notebooks", "--nbval"], "pytest looks into notebooks/solutions by itself"
