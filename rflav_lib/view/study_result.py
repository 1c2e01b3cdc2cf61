"""What the answers to a user study come to: shares with intervals, and what stands against believing them.

The answers of a rater hang together by taste. With 10 raters, 10 pairs and nothing to prefer, a binomial test of all
100 answers finds a preference in 3, 12 and 24 % of all studies, if the raters' own shares spread by 0, 0.15 and 0.25.
So raters are what is counted here: the p value flips the sign of each rater's net wins, and the interval is as wide as
raters differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, t

from rflav_lib.markdown import markdown_table
from rflav_lib.view.study_answers import QUESTIONS, Answers, Study

MINIMUM = 93  # answers from which on a 95 % interval is narrower than +-10 points, whatever the share
MINIMUM_RATERS = 5


@dataclass(frozen=True)
class Share:
    """How often the first kind was preferred: wins of n, with a 95 % interval and a p value, both over raters.

    Of one rater the interval is for that person alone, and p is NaN.
    """

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
                "–" if math.isnan(each.p) else f"{each.p:.2g}",
            ]
            for each in self.shares
        ]
        notes = [f"{self.raters} raters.", *(f"Warning: {text}." for text in self.warnings)]
        return "\n".join([markdown_table(head, rows), "", *notes])

    __repr__ = __str__


def evaluate(answers: Answers, study: Study) -> Result:
    """Shares of the first kind, with intervals and warnings.

    Raters count as a sample of all raters; the pairs are taken as they are: with few of them, or a remarkable one,
    another study's pairs might say something else.

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
    shares = []
    for question in QUESTIONS:
        answered: dict[str, list[bool]] = {}
        for row in rows:
            answered.setdefault(row["rater"], []).append(row[row[question]] == study.names[0])
        counts = [(sum(each), len(each)) for each in answered.values()]
        shares.append(share_of(question, counts))
    return Result(study.names, raters, tuple(shares), tuple(_warnings(rows, raters, broken)))


def share_of(question: str, raters: Sequence[tuple[int, int]]) -> Share:
    """From each rater's wins and answers."""
    wins, n = (sum(column) for column in zip(*raters, strict=True))
    low, high = _interval(raters)
    return Share(question, wins, n, wins / n, low, high, _flipped_signs(raters))


def _interval(raters: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Wilson's, of as many answers as those of raters who differ so much are worth, by Student's t."""
    counts = np.array(raters, dtype=np.float64)
    (wins, n), number = counts.sum(axis=0), len(counts)
    share, z, worth = wins / n, float(t.ppf(0.975, number - 1 if number > 1 else np.inf)), n
    if number > 1 and 0 < wins < n:
        apart = counts[:, 0] - share * counts[:, 1]
        worth = n / max(1.0, number / (number - 1) * (apart**2).sum() / (n * share * (1 - share)))
    middle = (share + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z * math.sqrt(share * (1 - share) / worth + z * z / (4 * worth**2)) / (1 + z * z / worth)
    return max(0.0, middle - half), min(1.0, middle + half)


def _flipped_signs(raters: Sequence[tuple[int, int]]) -> float:
    """Exact p: how often net wins add up to as much, if each rater's might as well be net losses; NaN of one rater."""
    if len(raters) < 2:
        return math.nan
    net = [2 * wins - n for wins, n in raters]
    chances = np.ones(1)  # of each sum, from -k to k for the raters so far
    for each in map(abs, net):
        longer = np.zeros(len(chances) + 2 * each)
        longer[: len(chances)] += chances / 2
        longer[2 * each :] += chances / 2
        chances = longer
    sums = np.arange(len(chances)) - len(chances) // 2
    return float(min(1.0, chances[np.abs(sums) >= abs(sum(net))].sum()))


def _warnings(rows: Sequence[dict[str, str]], raters: int, broken: Sequence[int]) -> list[str]:
    found = []
    if len(rows) < MINIMUM:
        found.append(f"{len(rows)} answers; {MINIMUM} are needed for an interval of +-10 points")
    if raters == 1:
        found.append("one rater; intervals are for this person alone, and p cannot be had")
    elif raters < MINIMUM_RATERS:
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
