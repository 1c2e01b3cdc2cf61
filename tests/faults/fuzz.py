"""Spoilt copies of everything that is read here, each read in a process that may die: 10,000 in some minutes.

    python -m tests.faults.fuzz --count 10000             # a few minutes; the test suite reads some hundred
    python -m tests.faults.fuzz --only "YAML config" --count 500 --first 20

Copy number n of a seed is the same whoever makes it, so what is found can be looked at again. What may come out: what
the good file holds; an error of the reader's documented types that names the file; or, where a format has no
checksum, other values of the same form. Not: a crash, a hang, another error, another form, or code run from data.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from tests.child_process import ChildProcess, Died
from tests.mutated_media import KINDS, mutate

WORDS = (
    b"null", b"-1", b"0", b"1e999", b"NaN", b"1" * 5000, b"99999999999999999999", b'"', b"[", b"{}", b"[" * 3000,
    b"\xff\xfe", b"\x00", b"!!python/object/apply:os.system [true]", b"!!int ''", b"&a [*a, *a]", b"true", b'"\\ud800"',
    b"2026-99-99", b"\n\n", b": ",
)  # fmt: skip
TEXT = {".json", ".yaml", ".csv", ".jsonl"}
TEXT_KINDS = ("word for a value", "line twice", "line out", "lines exchanged")
CPU_LIMIT = 20.0  # s of the processor for one file
PATIENCE = 600.0  # s on the clock, for machines that do other things too
MEMORY = 4 << 30  # bytes of address space beyond what the libraries take


def spoilt(path: Path, others: list[Path], rng: np.random.Generator) -> tuple[str, bytes]:
    """The kind of damage, and the bytes with it."""
    data = path.read_bytes()
    kinds = KINDS + TEXT_KINDS * 2 if path.suffix in TEXT else KINDS
    kind = kinds[int(rng.integers(len(kinds)))]
    if kind in TEXT_KINDS:
        return kind, _spoilt_text(data, kind, rng)
    other = others[int(rng.integers(len(others)))].read_bytes()
    return kind, mutate(data, other, kind, rng) if len(data) > 1 and other else data + b"!"


def _spoilt_text(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    at = int(rng.integers(len(lines)))
    if kind == "line twice":
        lines.insert(at, lines[at])
    elif kind == "line out":
        del lines[at]
    elif kind == "lines exchanged":
        other = int(rng.integers(len(lines)))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        # a number, a word in quotes, or what follows a colon gives way to something that nobody expects there
        marks = [i for i, byte in enumerate(data) if byte in b":,[ "]
        start = marks[int(rng.integers(len(marks)))] + 1 if marks else 0
        end = min(
            (i for i in (data.find(c, start) for c in (b",", b"\n", b"}", b"]")) if i >= 0), default=len(data)
        )
        return data[:start] + b" " + WORDS[int(rng.integers(len(WORDS)))] + data[end:]
    return b"\n".join(lines)


# ------------------------------------------------------------------ in the child


class Bench:
    """Good files of every reader in a folder, and spoilt copies of them, by number."""

    def __init__(self, folder: Path, seed: int, only: Sequence[str] = ()) -> None:
        from tests.faults.readers import READERS

        self._folder, self._seed = folder, seed
        self._readers = [reader for reader in READERS if not only or reader.name in only]
        self._files, self._truth = {}, {}
        for reader in self._readers:
            own = folder / reader.name
            own.mkdir(parents=True)
            self._files[reader.name] = reader.make(own)
            for path in self._files[reader.name]:
                self._truth[path] = reader.read(own, path)

    def case(self, number: int) -> "Case":
        """Spoil a copy, read it, judge."""
        reader = self._readers[number % len(self._readers)]
        files, own = self._files[reader.name], self._folder / reader.name
        path = files[number // len(self._readers) % len(files)]
        kind, data = spoilt(path, files, np.random.default_rng((self._seed, number)))
        work = self._folder / f"{number} spoilt"
        shutil.copytree(own, work)
        copy = work / path.relative_to(own)
        copy.write_bytes(data)
        began = time.process_time()
        said = verdict(reader, work, copy, self._truth[path])
        seconds = time.process_time() - began
        shutil.rmtree(work)
        return Case(number, reader.name, kind, said, seconds)


def answer_requests(seed: int, only: list[str]) -> None:
    """Answer each number on stdin with a case as a line of JSON."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what readers print does not get between the answers
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), seed, only)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        print(json.dumps("ready"), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(astuple(bench.case(int(line)))), file=answers, flush=True)


def verdict(reader: "object", folder: Path, path: Path, truth: tuple) -> str:
    """What reading a spoilt copy gave: "error", "same", "other values", or else what is wrong with it."""
    try:
        found = reader.read(folder, path)
    except reader.errors as error:
        # a folder that is opened as one may be named for a file in it
        places = [path.relative_to(folder), path, *(each for each in path.parents if folder in each.parents)]
        named = any(str(place) in str(error) for place in places)
        return (
            "error"
            if named
            else f"an error that does not name the file: {type(error).__name__}: {error}"[:400]
        )
    except BaseException as error:
        return f"another error: {error!r}"[:400]
    if found == truth:
        return "same"
    if found[0] != truth[0] or reader.checked:
        return f"a lie: {str(found[0])[:200]}"
    return "other values"


# ------------------------------------------------------------------ in the parent


@dataclass(frozen=True)
class Case:
    """One spoilt copy, and what came of it."""

    number: int
    reader: str
    kind: str
    verdict: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether this may happen."""
        return self.verdict in ("error", "same", "other values") and self.seconds < CPU_LIMIT


def fuzz(count: int, seed: int, first: int = 0, only: list[str] | None = None) -> Iterator[Case]:
    """Cases `first` to `first + count - 1`."""
    arguments = ["--child", "--seed", str(seed), *(["--only", *only] if only else [])]
    offline = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    child = ChildProcess(
        "tests.faults.fuzz", arguments, PATIENCE, greets=True, environment=offline, quiet=True
    )
    try:
        for number in range(first, first + count):
            try:
                yield Case(*child.ask(number))
            except Died as death:
                yield Case(number, "?", "?", str(death), PATIENCE)
    finally:
        child.close()


def table(cases: list[Case]) -> str:
    """A line for each reader, as Markdown."""
    columns = ("error", "same", "other values")
    lines = [
        "| reader | copies | one error | the good form | other values | not held |",
        "|---|" + "---:|" * 5,
    ]
    for name in sorted({case.reader for case in cases}):
        tally = Counter(case.verdict if case.good else "bad" for case in cases if case.reader == name)
        cells = [sum(tally.values()), *(tally[column] for column in columns), tally["bad"]]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> int:
    """Run, tell what is wrong at once, print a table; 1 where something happened that may not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="spoilt copies (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first copy")
    parser.add_argument("--only", nargs="+", default=[], help="readers, by name")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        answer_requests(options.seed, options.only)
        return 0
    from tests.faults.readers import READERS

    names = [reader.name for reader in READERS]
    for name in options.only:
        if name not in names:
            parser.error(f"no reader {name!r}; there are {', '.join(names)}")
    cases = []
    for case in fuzz(options.count, options.seed, options.first, options.only):
        cases.append(case)
        if not case.good:
            print(case, flush=True)
    print(table(cases))
    print(f"longest: {max(case.seconds for case in cases):.1f} s of processor")
    return int(not all(case.good for case in cases))


if __name__ == "__main__":
    sys.exit(main())
