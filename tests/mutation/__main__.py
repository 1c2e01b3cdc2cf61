"""Mutation run: does any test notice each small mistake in a module?

    python -m tests.mutation flow schedule fusion mel

pytest collects the module's own tests once. Each mutant is then tried in a fork of that process: its code replaces
the module's, and the tests run, the quickest first, up to the first that fails. A mutant that none notices must
stand in the table of README.md with the reason why it may; else the run fails. Linux or macOS.
"""

import argparse
import os
import pickle
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
TESTS = {
    "flow": ["tests/test_flow.py"],
    "schedule": ["tests/test_schedule.py"],
    "fusion": ["tests/test_fusion.py"],
    "mel": ["tests/test_mel.py"],
}


class MutationRun:
    """A plugin of pytest that runs the collected tests once for each mutant, and not otherwise.

    Args:
        module: of rflav_lib.
        only: tries mutants whose name holds this text.
    """

    def __init__(self, module: str, only: str) -> None:
        self.name, self.path = f"rflav_lib.{module}", ROOT / "rflav_lib" / f"{module}.py"
        self.only = only
        self.tried = 0
        self.survivors: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests here."""
        source = self.path.read_text(encoding="utf-8")
        chosen = [mutant for mutant in mutants(source, str(self.path)) if self.only in mutant.name]
        same = Mutant("no mistake", 0, compile(source, str(self.path), "exec"))
        seconds = _order(session, lambda: self._replace(same.code))
        limit = int(5 * sum(seconds.values())) + 10
        if not self._survives(session, same, limit):
            pytest.exit(f"{self.name}: its tests fail without any mistake put in: mend that first", 2)
        print(
            f"{self.name}: {len(chosen)} mutants, {len(session.items)} tests in {sum(seconds.values()):.1f} s"
        )
        for mutant in chosen:
            self.tried += 1
            if self._survives(session, mutant, limit):
                self.survivors.append(f"{self.name.removeprefix('rflav_lib.')}.{mutant.name}")
                print(f"  line {mutant.line}: {self.survivors[-1]}", flush=True)
        return True

    def _survives(self, session: pytest.Session, mutant: Mutant, limit: int) -> bool:
        def all_pass() -> int:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))  # some mutants never end
            self._replace(mutant.code)
            for item in session.items:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if session.testsfailed:
                    return 1
            return 0

        return _forked(all_pass) == 0

    def _replace(self, code: CodeType) -> None:
        """Run the module's code anew, and put what it defines wherever the old one had been imported."""
        module = sys.modules[self.name]
        old = {id(value): name for name, value in vars(module).items() if not name.startswith("__")}
        exec(code, vars(module))  # noqa: S102 - code of this repository
        for name, other in list(sys.modules.items()):
            if name.startswith(("rflav_lib.", "tests.", "test_")) and other is not module:
                for key, value in list(vars(other).items()):
                    if id(value) in old and not isinstance(value, int | float | str | None):
                        setattr(other, key, getattr(module, old[id(value)]))


def _forked(work: Callable[[], int]) -> int:
    """The status of `work` in a fork of this process, silent; not 0 if it raised or was stopped."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            status = work()
        finally:
            os._exit(status)  # not sys.exit: a fork must not tidy up what is its parent's
    return os.waitpid(child, 0)[1]


def _order(session: pytest.Session, prepare: Callable[[], None]) -> dict[str, float]:
    """Put the quickest tests first. Returns the seconds of each."""
    reading, writing = os.pipe()

    def measure() -> int:
        prepare()
        seconds = {}
        for item in session.items:
            began = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            seconds[item.nodeid] = time.process_time() - began
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(seconds, pipe)
        return 0

    status = _forked(measure)
    os.close(writing)
    if status:
        pytest.exit("the tests cannot be measured: they end the process", 2)
    with os.fdopen(reading, "rb") as pipe:
        seconds: dict[str, float] = pickle.load(pipe)  # noqa: S301 - from our own fork
    session.items.sort(key=lambda item: seconds[item.nodeid])
    return seconds


def explained() -> set[str]:
    """The mutants in README.md's table."""
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    return {name.replace("\\|", "|") for name in re.findall(r"^\| `(.+?)` \|", text, re.MULTILINE)}


def main(words: list[str] | None = None) -> int:
    """Run what the command line names. Returns 0 if every survivor is explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TESTS)}; all where none is named")
    parser.add_argument("--only", default="", help="mutants whose name holds this text")
    arguments = parser.parse_args(words)
    if unknown := set(arguments.modules) - set(TESTS):
        parser.error(
            f"no tests are named here for {', '.join(sorted(unknown))}; there are: {', '.join(TESTS)}"
        )
    os.chdir(ROOT)
    known, tried, survivors = explained(), 0, []
    options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--no-header", "--no-summary"]
    for module in arguments.modules or TESTS:
        run = MutationRun(module, arguments.only)
        status = pytest.main([*options, *TESTS[module]], plugins=[run])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) or not run.tried:
            return int(status) or 1
        tried, survivors = tried + run.tried, survivors + run.survivors
    unexplained = [name for name in survivors if name not in known]
    print(
        f"{tried} mutants: {tried - len(survivors)} noticed, {len(survivors)} not, {len(unexplained)} unexplained"
    )
    for name in unexplained:
        print(f"  {name}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
