"""What the answers to a user study come to: shares with intervals, and what stands against believing them."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from rflav_lib.markdown import markdown_table
from rflav_lib.metrics.intervals import wilson
from rflav_lib.view.study_answers import QUESTIONS, Answers, Study

MINIMUM = 93  # answers from which on a 95 % interval is narrower than +-10 points, whatever the share
MINIMUM_RATERS = 5


@dataclass(frozen=True)
class Share:
    """How often the first kind was preferred: wins of n, with the 95 % Wilson interval and the exact binomial p."""

    question: str
    wins: int
    n: int
    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Result:
    """What the raters said, and what stands against believing it."""

    names: tuple[str, str]
    raters: int
    shares: tuple[Share, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        first, second = self.names
        head = [f"{first} preferred to {second}", "share (95 % interval)", "of", "p (against 1 in 2)"]
        rows = [
            [
                each.question,
                f"{100 * each.value:.0f} % ({100 * each.low:.0f}-{100 * each.high:.0f})",
                str(each.n),
                f"{each.p:.2g}",
            ]
            for each in self.shares
        ]
        notes = [f"{self.raters} raters.", *(f"Warning: {text}." for text in self.warnings)]
        return "\n".join([markdown_table(head, rows), "", *notes])

    __repr__ = __str__


def evaluate(answers: Answers, study: Study) -> Result:
    """Shares of the first kind, with intervals and warnings.

    Intervals take answers as independent. Answers of one rater are not quite, nor those to one pair: with few of
    either, the truth is less certain than they say.

    Raises:
        ValueError: no answers to this study.
    """
    every, broken = answers.rows()
    rows = [row for row in every if row["study"] == study.key]
    if not rows:
        others = len({row["study"] for row in every})
        raise ValueError(
            f"{answers.path}: no answers to this study" + (f", but to {others} others" if others else "")
        )
    raters = len({row["rater"] for row in rows})
    shares = [_share(q, sum(row[row[q]] == study.names[0] for row in rows), len(rows)) for q in QUESTIONS]
    return Result(study.names, raters, tuple(shares), tuple(_warnings(rows, raters, broken)))


def _share(question: str, wins: int, n: int) -> Share:
    return Share(question, wins, n, **wilson(wins, n), p=float(binomtest(wins, n).pvalue))


def _warnings(rows: Sequence[dict[str, str]], raters: int, broken: Sequence[int]) -> list[str]:
    found = []
    if len(rows) < MINIMUM:
        found.append(f"{len(rows)} answers; {MINIMUM} are needed for an interval of +-10 points")
    if raters < MINIMUM_RATERS:
        found.append(f"{raters} raters; their taste may decide, {MINIMUM_RATERS} are the least to ask")
    for question in QUESTIONS:
        left = sum(row[question] == "left" for row in rows)
        if binomtest(left, len(rows), 0.5).pvalue < 0.01:
            found.append(
                f"{question}: the left side was chosen {left} of {len(rows)} times, whatever it showed"
            )
    if broken:
        found.append(f"lines {', '.join(map(str, broken))} of the file are broken and were left out")
    return found
