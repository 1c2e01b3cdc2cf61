"""Two measurements of models of one world, clip by clip: which is right where the other is wrong?

    python -m rflav_lib.metrics.toy.compare outputs/first.json outputs/second.json

The clips of both have the same labels and the same noise, so they are pairs, and shares of the one set and the other
say less than the pairs that differ: if neither model is better, each of these falls to either with one half (exact
two-sided sign test, McNemar 1947). The test is over clips, not over trainings.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binomtest

from rflav_lib.markdown import markdown_table
from rflav_lib.metrics.toy.figures import VERDICTS
from rflav_lib.metrics.toy.reading import Reading
from rflav_lib.metrics.toy.report import GENERATED, Measurement

PAIRED = ("world", "frames", "seed", "batch")
"""Settings that decide label and noise of a clip by its number."""


@dataclass(frozen=True)
class Paired:
    """One verdict over pairs of clips.

    Attributes:
        clips: pairs judged.
        first, second: right in either set.
        only_first, only_second: right there, and wrong in the other.
    """

    clips: int
    first: int
    second: int
    only_first: int
    only_second: int

    @property
    def p(self) -> float:
        """Of the exact two-sided sign test; 1 where no pair differs."""
        differ = self.only_first + self.only_second
        return float(binomtest(self.only_first, differ).pvalue) if differ else 1.0


def compare(first: Sequence[Reading], second: Sequence[Reading]) -> dict[str, Paired]:
    """Every verdict on pairs of readings of one world; one that applies to no clip is left out.

    Raises:
        ValueError: no readings, or pairs that were asked for different classes.
    """
    pairs = list(zip(first, second, strict=True))
    if not pairs:
        raise ValueError("no readings: there is nothing to compare")
    for number, (one, other) in enumerate(pairs):
        if one.asked != other.asked:
            raise ValueError(
                f"clip {number} was asked for class {one.asked} in one and {other.asked} in the other"
            )
    return {
        name: paired(
            [(verdict.right(one), verdict.right(other)) for one, other in pairs if verdict.applies(one.asked)]
        )
        for name, verdict in VERDICTS.items()
        if any(verdict.applies(one.asked) for one, _ in pairs)
    }


def paired(right: Sequence[tuple[bool, bool]]) -> Paired:
    """Count pairs of verdicts."""
    return Paired(
        clips=len(right),
        first=sum(one for one, _ in right),
        second=sum(other for _, other in right),
        only_first=sum(one and not other for one, other in right),
        only_second=sum(other and not one for one, other in right),
    )


def table(found: dict[str, Paired]) -> str:
    """Markdown: a row a verdict."""
    rows = [
        [name, *map(str, (of.clips, of.first, of.second, of.only_first, of.only_second)), f"{of.p:.2g}"]
        for name, of in found.items()
    ]
    return markdown_table(["", "clips", "first", "second", "only first", "only second", "p"], rows)


def stored(paths: Sequence[Path]) -> list[Measurement]:
    """Two measurements of the same clips.

    Raises:
        ValueError: a file that is none, or one whose clips are others than the other's.
    """
    measurements = [Measurement.stored(path) for path in paths]
    for path, measurement in zip(paths, measurements, strict=True):
        if GENERATED not in measurement.readings:
            raise ValueError(f"{path}: holds no {GENERATED} clips, only {', '.join(measurement.readings)}")
    for name in PAIRED:
        one, other = (measurement.settings.get(name) for measurement in measurements)
        if one != other:
            raise ValueError(
                f"{paths[0]} was measured with {name} {one} and {paths[1]} with {other}: their clips are no pairs"
            )
    return measurements


def differences(first: dict[str, object], second: dict[str, object]) -> str:
    """The settings in which two measurements differ, for a line above the table."""
    return ", ".join(
        f"{name} {first.get(name)} and {second.get(name)}"
        for name in first
        if first.get(name) != second.get(name)
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the table, of as many clips as both files have."""
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.metrics.toy.compare",
        description="Which of two models of a world is right where the other is wrong, with exact sign tests.",
    )
    parser.add_argument(
        "files", nargs=2, type=Path, help="JSON files of python -m rflav_lib.metrics.toy --out"
    )
    options = parser.parse_args(arguments)
    try:
        first, second = stored(options.files)
        clips = min(len(each.readings[GENERATED]) for each in (first, second))
        found = compare(*(each.readings[GENERATED][:clips] for each in (first, second)))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"first {options.files[0]}, second {options.files[1]}: {clips} pairs", end=", ")
    print(differences(first.settings, second.settings) or "the same settings and weights")
    print(f"\n{table(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
