"""What a run's figures say in words: can its samples be told from real clips, and are they copies of training clips?"""

import math
from typing import Any

from rflav_lib.evaluation.differs import JACKKNIFE
from rflav_lib.metrics.comparison import METRICS

Run = dict[str, Any]
CHANCE = 0.5  # to lie nearer to training than an unseen real clip does: of other real clips
POWER = 0.75  # of copies, from where on a clean bill for samples is worth something: half of them would show


def told_from_real(run: Run) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: how much further each row is from the reference than real clips are.

    Runs that were written before these differences were taken have none.
    """
    lines = []
    for row in run["rows"]:
        for metric in METRICS:
            further = row["figures"].get(metric, {}).get("over_real")
            if further is not None:
                lines.append([
                    row["name"], row["figures"][metric]["title"], _with_interval(further, "value", "+.4g"),
                    _told(further),
                ])  # fmt: skip
    return ["", "distance", "row minus real against real", "from real clips"], lines


def _told(further: dict[str, float | None]) -> str:
    if further["low"] is None or further["high"] is None:
        return "–"
    if further["low"] > 0:
        return "told: further from the reference"
    if further["high"] < 0:
        return "told: nearer to the reference"
    return "cannot be told"


def told_text(run: Run) -> str:
    """What stands above the table of `told_from_real`."""
    if run.get("intervals") == JACKKNIFE:
        sides = [
            figure["over_real"]
            for row in run["rows"]
            for figure in row["figures"].values()
            if "over_real" in figure
        ]
        how = (
            f"minus that of as many other real windows, without the bias of few clips: {sides[0]['windows']} windows "
            f"on either side, of {sides[0]['clips'][0]} and of {sides[0]['clips'][1]} clips, none of them on both"
        )
        wide = "; the intervals are up to 1.7 times wider than need be, so small differences go untold"
    else:
        how = "minus that of as many real clips, from one reference, all three sets drawn anew together"
        wide = "; the intervals are 1.2 to 1.7 times too wide"
    return (
        f"**Told from real clips?** Each row's distance {how}. Where the interval holds 0, this distance cannot tell "
        f"the row from real clips at this N{wide}. Whether the intervals above overlap is no test of that."
    )


def memorised(run: Run) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: each row's samples, and copies of training clips, against unseen real clips."""
    lines = [
        [
            row["name"], space, _with_interval(found, "chance", ".2f"), f"{found['median']:.4g}",
            f"{found['median_unseen']:.4g}", _chance(found.get("copies")),
            _copied(found, found.get("copies"), like_with_like=run.get("intervals") == JACKKNIFE),
        ]
        for row in run["rows"]
        for space, found in row.get("memorisation", {}).items()
    ]  # fmt: skip
    head = [
        "", "distance", "chance to lie nearer to training than an unseen real clip", "median to the nearest",
        "of unseen real clips", "chance of copies", "",
    ]  # fmt: skip
    return head, lines


def _chance(copies: dict[str, float] | None) -> str:
    return "–" if copies is None else _with_interval(copies, "chance", ".2f")


def _copied(found: dict[str, float], copies: dict[str, float] | None, like_with_like: bool) -> str:
    """What an interval says; None of bad samples: one that lies below chance is of samples that are no real clips.

    In earlier runs unseen clips did not go through the codecs: where those alone move a copy further off than unseen
    clips are, samples that lie further off say nothing of the model.
    """
    if found["low"] is None or math.isnan(found["low"]):
        return "–"
    if found["low"] > CHANCE:
        return "nearer to training than unseen clips are"
    if not like_with_like and copies is not None and copies["median"] > found["median_unseen"]:
        return "no verdict: through the codecs copies lie further off than unseen clips that were spared them"
    if found["high"] < CHANCE:
        return "further from training than real clips are: told from real clips"
    if copies is None or not copies["chance"] >= POWER:
        return "as unseen clips; but copies would hardly be noticed"
    return "as unseen clips"


def memorisation_text(run: Run) -> str:
    """What stands above the table."""
    text = (
        f"**Memorisation**: the nearest of {_bank(run)} for each sample, and for {_unseen(run)}. "
        "0.5: no nearer than those; above: copies; below: further from training than real clips are, so that they "
        "can be told from real ones."
    )
    if "bank" in run:
        text += (
            " Chance of copies: what N training windows have, drawn at random from all that training saw and sent "
            "through the model's codecs, then measured as the samples are; the check sees no more than that. A model "
            "with a share s of copies has 0.5 + s (that - 0.5)."
        )
    if any(row["task"] != "joint" for row in run["rows"]):
        text += (
            " A2V and V2A are given one side of a training clip: where that decides the other side, a sample "
            "lies near to that clip without being a copy."
        )
    return text


def _unseen(run: Run) -> str:
    if run.get("intervals") != JACKKNIFE:
        return "N real clips that no training saw, which did not go through the model's codecs"
    windows, clips = (run[each]["held_out"] for each in ("windows", "clips"))
    return f"{windows} windows of {clips} clips that no training saw, sent through the model's codecs"


def _bank(run: Run) -> str:
    bank = run.get("bank")
    if bank is None:
        return "2 N training windows"
    drawn = "" if run["config"].get("training") else " drawn"
    return f"{bank['windows']:,} windows{drawn} from {bank['of']}"


def _with_interval(found: dict[str, Any], key: str, form: str) -> str:
    text = f"{found[key]:{form}}"
    # as JSON has it, or fresh: no resamples were asked for
    if found["low"] is None or math.isnan(found["low"]):
        return text
    plain = form.lstrip("+")
    return f"{text} ({found['low']:{plain}} to {found['high']:{plain}})"
