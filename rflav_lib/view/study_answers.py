"""The user study without its page: which pairs, in which order and on which side, and the answers' file.

The paper's Table 4 asks which of two videos is better, in quality and in how sound and picture align, 10 pairs a form.
"""

import csv
import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from rflav_lib.files import append_whole
from rflav_lib.locks import held

QUESTIONS: dict[str, str] = {
    "quality": "Which video has the better overall quality?",
    "alignment": "In which video do sound and picture fit together better?",
}
SIDES = ("left", "right")
FIELDS = ("time", "study", "rater", "trial", "pair", "left", "right", *QUESTIONS, "plays_left", "plays_right")
VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".avi")


@dataclass(frozen=True)
class Pair:
    """Two videos to be compared, one of each kind. name says which, for the file of answers."""

    name: str
    files: tuple[Path, Path]


@dataclass(frozen=True)
class Trial:
    """A pair as one rater sees it. left, right: the index (0 or 1) of the kind that is shown there."""

    number: int
    pair: Pair
    left: int

    @property
    def right(self) -> int:
        """The other one."""
        return 1 - self.left


@dataclass(frozen=True)
class Study:
    """Pairs of videos of two kinds.

    Attributes:
        names: of the two kinds, such as ("ours", "theirs"); raters do not see them.
        pairs: what is compared.
        seed: of orders and sides.
    """

    names: tuple[str, str]
    pairs: tuple[Pair, ...]
    seed: int

    @cached_property
    def key(self) -> str:
        """A short name that changes with anything that is compared, so that two studies are never added up.

        The files are read once, when it is first asked for; where they lie does not count.
        """
        pairs = [text for pair in self.pairs for text in (pair.name, *map(_content, pair.files))]
        content = "\n".join([*self.names, str(self.seed), *pairs])
        return hashlib.sha256(content.encode()).hexdigest()[:10]

    def trials(self, rater: str) -> list[Trial]:
        """The rater's own order, each kind as often on the left as on the right (give or take one)."""
        digest = hashlib.sha256(f"{self.seed}\n{rater}".encode()).digest()
        rng = np.random.default_rng(list(digest))
        sides = rng.permutation(np.arange(len(self.pairs)) % 2)
        if len(self.pairs) % 2 and rng.integers(2):
            sides = 1 - sides
        order = rng.permutation(len(self.pairs))
        return [
            Trial(number, self.pairs[index], int(side))
            for number, (index, side) in enumerate(zip(order, sides, strict=True), start=1)
        ]


def make_study(
    first: str | Path,
    second: str | Path,
    pairs: int = 10,
    seed: int = 0,
    names: tuple[str, str] | None = None,
) -> Study:
    """Pairs from any two folders of videos.

    Files of the same name in both belong together. Where no name is in both, files are paired at random.

    Args:
        first: folder of one kind.
        second: folder of the other.
        pairs: how many; the paper asks 10 a form. No file is used twice.
        seed: of the draw, of orders and sides.
        names: of the two kinds; the folders' names, unless told.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: too few videos, equal names, or two videos of a folder that differ in their endings alone.
    """
    folders = Path(first), Path(second)
    names = names or (folders[0].name, folders[1].name)
    if len(set(names)) < 2 or not all(names):
        raise ValueError(f"the two kinds need different names, got {names}: pass names=(..., ...)")
    found = [_videos(folder) for folder in folders]
    rng = np.random.default_rng(seed)
    shared = sorted(found[0].keys() & found[1].keys())
    if shared:
        drawn = [(name, name) for name in rng.permutation(shared).tolist()]
    else:
        drawn = list(zip(*(rng.permutation(sorted(each)).tolist() for each in found), strict=False))
    if pairs < 1 or len(drawn) < pairs:
        kind = "of the same name in both folders" if shared else "in the smaller folder"
        raise ValueError(
            f"{pairs} pairs were asked for, but there are {len(drawn)} videos {kind} ({folders[0]}, {folders[1]})"
        )
    made = [Pair(a if a == b else f"{a} | {b}", (found[0][a], found[1][b])) for a, b in sorted(drawn[:pairs])]
    return Study(names, tuple(made), seed)


def _videos(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    # hidden files are half written ones
    shown = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    found: dict[str, Path] = {}
    for path in (path for path in shown if path.suffix.lower() in VIDEOS):
        if other := found.get(path.stem):
            raise ValueError(f"{folder}: {other.name} and {path.name} have the same name: keep one of them")
        found[path.stem] = path
    return found


def _content(path: Path) -> str:
    """A checksum of what a file holds; the same word for all that are not there."""
    if not path.is_file():
        return "no file"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Answers:
    """A CSV file of answers. Any number of pages and processes may append to it at the same time.

    A line is written in one piece under a lock, and is on the disk before the page goes on.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = self.path.with_name(f"{self.path.name}.lock")

    def append(
        self, study: Study, trial: Trial, rater: str, chosen: dict[str, str], plays: tuple[int, int] = (0, 0)
    ) -> bool:
        """Store one answer. False, and nothing is stored, if this rater has answered this pair before.

        Args:
            study: what is asked.
            trial: the pair, and its sides.
            rater: who answers.
            chosen: question -> "left" or "right".
            plays: how often each side was played.

        Raises:
            ValueError: an answer that is none, no rater, or a file that holds something else.
            OSError: the file cannot be written; nothing is stored.
        """
        if not rater.strip():
            raise ValueError("an answer needs the rater's name, or any word that stands for it")
        if set("\r\n") & set("".join([rater, trial.pair.name, *study.names])):
            raise ValueError(f"a name with a line break cannot be stored: {rater!r}, {trial.pair.name!r}")
        if set(chosen) != set(QUESTIONS) or not set(chosen.values()) <= set(SIDES):
            raise ValueError(f"an answer is left or right to each of {', '.join(QUESTIONS)}, got {chosen}")
        row = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"), "study": study.key, "rater": rater,
            "trial": trial.number, "pair": trial.pair.name,
            "left": study.names[trial.left], "right": study.names[trial.right],
            **chosen, "plays_left": plays[0], "plays_right": plays[1],
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with held(self._lock):
            rows, _ = self._read()
            if any((r["study"], r["rater"], r["pair"]) == (study.key, rater, trial.pair.name) for r in rows):
                return False
            self._write(row)
        return True

    def answered(self, study: Study, rater: str) -> set[str]:
        """Names of the pairs that the rater has answered."""
        return {row["pair"] for row in self.rows()[0] if (row["study"], row["rater"]) == (study.key, rater)}

    def rows(self) -> tuple[list[dict[str, str]], list[int]]:
        """All answers, and the numbers of the lines that are broken (cut off when a machine went down).

        Raises:
            ValueError: the file holds something else.
        """
        if not self.path.exists():
            return [], []
        with held(self._lock):
            return self._read()

    def _read(self) -> tuple[list[dict[str, str]], list[int]]:
        if not self.path.exists() or not self.path.stat().st_size:
            return [], []
        # a line at a time: a quotation mark that damage has put into one must not swallow those behind it
        header, *lines = self.path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        if _values(header) != list(FIELDS):
            raise ValueError(
                f"{self.path}: not a file of answers of this version; its first line is {header[:200]!r}"
            )
        rows, broken = [], []
        for number, line in enumerate(lines, 2):
            values = _values(line)
            row = dict(zip(FIELDS, values, strict=False))
            good = len(values) == len(FIELDS) and all(row[question] in SIDES for question in QUESTIONS)
            if good:
                rows.append(row)
            elif line:
                broken.append(number)
        return rows, broken

    def _write(self, row: dict[str, object]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
        data = self.path.read_bytes() if self.path.exists() else b""
        if not data:
            writer.writeheader()
        elif not data.endswith(b"\n"):
            text.write("\n")  # the line before was cut off; it stays, broken, and this one is whole
        writer.writerow(row)
        append_whole(self.path, text.getvalue())


def _values(line: str) -> list[str]:
    """The fields of a line; none of one that is damaged."""
    try:
        line.encode()  # surrogates stand for bytes that are no text
        return next(csv.reader([line.removesuffix("\r")], strict=True), [])
    except (csv.Error, UnicodeEncodeError):
        return []
