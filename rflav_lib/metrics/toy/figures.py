"""Readings of many clips into figures with 95 % intervals, and those into a table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rflav_lib.data.toy import CLASSES
from rflav_lib.data.toy_trackers import PENDULUM, Tally
from rflav_lib.markdown import markdown_table
from rflav_lib.metrics.intervals import (
    Figure,
    median_with_interval,
    pooled_with_interval,
    share_with_interval,
)
from rflav_lib.metrics.toy.clips import WORLD
from rflav_lib.metrics.toy.reading import Reading

IN_SYNC = 0.9
"""A clip is in sync when this share of its events has its sound within 100 ms; it has its pitches likewise."""
ALL_RIGHT = 0.95
"""A clip has the right number of objects when this share of its moments has: 38 of 40 frames."""
TEMPO_TOLERANCE = 0.03
TEMPO_RANGE = (90.0, 130.0)
"""Beats a minute of toy-dance."""


def has_class(label: int | None) -> bool:
    """Whether clips of this label have a class; those of toy-dance have none."""
    return label is not None


def has_law(label: int | None) -> bool:
    """Whether pictures of this label decide the pitch, by colour, place or angle; a pendulum's and a dance's do not."""
    return label not in (None, PENDULUM)


def summarise(readings: Sequence[Reading]) -> dict[str, Figure]:
    """The figures of a set of clips of one world, each with its 95 % interval; see `Reading` for what is read.

    A clip in which there is nothing to judge counts as wrong in "clips ..." and is left out of "events ...".

    Raises:
        ValueError: no readings.
    """
    if not readings:
        raise ValueError("no readings: there is nothing to summarise")
    if has_class(readings[0].asked):
        return _classes(readings) | _shared(readings) | _law(readings)
    return _dance(readings) | _shared(readings)


def _classes(readings: Sequence[Reading]) -> dict[str, Figure]:
    return _clips(readings, "asked class seen", "asked class heard")


def _shared(readings: Sequence[Reading]) -> dict[str, Figure]:
    return {
        **_clips(readings, "clips with the right number of objects"),
        "moments with the right number of objects": pooled_with_interval(r.objects for r in readings),
        **_clips(readings, "clips with a measurable offset"),
        "median size of A/V offset (ms)": median_with_interval(
            [abs(r.offset_ms) for r in readings if r.offset_ms is not None]
        ),
        **_clips(readings, "clips in sync"),
        "events within 100 ms": pooled_with_interval(r.close for r in readings),
    }


def _law(readings: Sequence[Reading]) -> dict[str, Figure]:
    return {
        **_clips(readings, "clips with the pitch of the picture"),
        "events with the pitch of the picture": pooled_with_interval(
            reading.pitch for reading in readings if has_law(reading.asked)
        ),
    }


def _dance(readings: Sequence[Reading]) -> dict[str, Figure]:
    """Tempo and regularity. Spreads are in shares of a beat: 3 % means that of the beat's length."""
    return {
        **_clips(readings, "tempo found"),
        "median spread of beats heard": median_with_interval(
            [r.tempo_heard.spread for r in readings if r.tempo_heard]
        ),
        "median spread of beats seen": median_with_interval(
            [r.tempo_seen.spread for r in readings if r.tempo_seen]
        ),
    }


def _clips(readings: Sequence[Reading], *names: str) -> dict[str, Figure]:
    """The share of clips of each verdict."""
    return {
        name: share_with_interval(
            VERDICTS[name].right(r) for r in readings if VERDICTS[name].applies(r.asked)
        )
        for name in names
    }


def _tempo_found(reading: Reading) -> bool:
    """Whether the clip is heard at a tempo of this world, and seen at the same."""
    if reading.tempo_heard is None or reading.tempo_seen is None:
        return False
    heard, slack = reading.tempo_heard.bpm, 1 + TEMPO_TOLERANCE
    return (
        TEMPO_RANGE[0] / slack <= heard <= TEMPO_RANGE[1] * slack
        and 1 / slack <= reading.tempo_seen.bpm / heard <= slack
    )


def _mostly(tally: Tally, least: float) -> bool:
    return tally.of > 0 and tally.share >= least


@dataclass(frozen=True)
class Verdict:
    """What is right or wrong about a clip as a whole. A clip in which there is nothing to judge is wrong.

    Attributes:
        right: of a clip's reading.
        applies: whether it can be asked of a clip of this label at all.
    """

    right: Callable[[Reading], bool]
    applies: Callable[[int | None], bool] = lambda label: True


VERDICTS = {
    "asked class seen": Verdict(lambda reading: reading.seen == reading.asked, has_class),
    "asked class heard": Verdict(lambda reading: reading.heard == reading.asked, has_class),
    "clips with the right number of objects": Verdict(lambda reading: _mostly(reading.objects, ALL_RIGHT)),
    "clips with a measurable offset": Verdict(lambda reading: reading.offset_ms is not None),
    "clips in sync": Verdict(lambda reading: _mostly(reading.close, IN_SYNC)),
    "clips with the pitch of the picture": Verdict(lambda reading: _mostly(reading.pitch, IN_SYNC), has_law),
    "tempo found": Verdict(_tempo_found, lambda label: not has_class(label)),
}


def per_class(readings: Sequence[Reading]) -> dict[str, dict[str, Figure]]:
    """`summarise` for each class of toy-landscape on its own; classes without a clip are left out."""
    grouped = {name: [r for r in readings if r.asked == label] for label, name in enumerate(CLASSES[WORLD])}
    return {name: summarise(of) for name, of in grouped.items() if of}


def table(summaries: dict[str, dict[str, Figure]]) -> str:
    """Markdown: a row a figure, a column a set; a dash where there was nothing to measure."""
    rows = []
    for figure in next(iter(summaries.values())):
        unit, scale = ("", 1) if "ms)" in figure else (" %", 100)
        rows.append([figure, *(_cell(summary[figure], unit, scale) for summary in summaries.values())])
    return markdown_table(["", *summaries], rows)


def _cell(figure: Figure, unit: str, scale: int) -> str:
    if figure["value"] is None or math.isnan(figure["value"]):  # as JSON has it, or fresh
        return "–"
    return f"{scale * figure['value']:.1f}{unit} ({scale * figure['low']:.1f}-{scale * figure['high']:.1f})"
