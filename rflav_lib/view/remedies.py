"""What `benchmarks/drift.py` measured: the remedies against drift, summed up, as a table and as curves.

Nothing is measured here. Runs come as remedy -> seed -> figures, as the report holds them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure, SubFigure

from rflav_lib.data.toy import CLASSES
from rflav_lib.experiments import SIDES, labels_in_turn
from rflav_lib.markdown import markdown_table
from rflav_lib.metrics.curves import drawn_sums
from rflav_lib.metrics.intervals import interval
from rflav_lib.metrics.toy import WORLD

MARKS = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", (0, (1, 1))))
"""Colour and line of the remedies of a group."""
GROUPS = {
    "frames to look back at": ("context", "sink", "sink and context", "memory and transition"),
    "other training": ("transition", "history noise", "roll-outs"),
    "other sampling": ("warm", "guidance", "guided sink and context"),
}
PANELS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "picture: distance from real\nwindows (squared Fréchet)": lambda run: run["picture"]["value"],
    "sound: distance from real\nwindows (squared Fréchet)": lambda run: run["sound"]["value"],
    "picture: way from the clip's\nfirst window (features)": lambda run: run["moved"]["value"],
    "share of clips whose\nclass is seen": lambda run: [
        window["asked class seen"]["value"] for window in run["trackers"]
    ],
}
RESAMPLES = 2000
INTERVALS = (
    "Intervals: 95 %, over clips, for these very models; what another training would change is not in them."
)

Figures = dict[str, Any]
Runs = Mapping[str, Mapping[str, Figures]]
"""Remedy -> seed -> figures."""


def summary(runs: Runs) -> dict[str, Figures]:
    """Of each remedy: distances of the first and last window, the increase, and how it stands to the paper's.

    The intervals are over clips within their classes, for these very models: seeds are averaged in every draw. How much
    models differ that are trained alike is not in them; a little of it is told by `by_seed`.

    Runs of reports from before there were `shares` hold draws over all clips, `drawn`: their intervals are over clips
    too, but far too wide, since a draw changed how often each class was there.

    Raises:
        ValueError: runs of both kinds, or of different numbers of clips.
    """
    table = {name: _row(list(seeds.values())) for name, seeds in runs.items()}
    for name, seeds in runs.items():
        common = sorted(seeds.keys() & runs.get("paper", {}).keys())
        ours, papers = [seeds[seed] for seed in common], [runs["paper"][seed] for seed in common]
        for side in SIDES if common else ():
            increase, beside = (float(_mean(of, side, "increase")) for of in (ours, papers))
            # every set is drawn from alike, and clip i is of one class in all of them
            signs = [1] * len(ours) + [-1] * len(papers)
            drawn = increase - beside + _spread([*ours, *papers], side, signs)
            table[name][side]["increase over the paper's"] = increase / beside if beside else None
            table[name][side]["increase minus the paper's"] = interval(increase - beside, drawn)
    return table


def _row(seeds: list[Figures]) -> Figures:
    """The runs of one remedy, averaged."""
    found: Figures = {"seeds": len(seeds)}
    for side in SIDES:
        increase = float(_mean(seeds, side, "increase"))
        values = _mean(seeds, side, "value")
        found[side] = {
            "first": float(values[0]),
            "last": float(values[-1]),
            "increase": interval(increase, increase + _spread(seeds, side, [1] * len(seeds))),
            "by_seed": [run[side]["increase"] for run in seeds],
        }
    found["trackers"] = {
        place: {
            figure: float(
                np.nanmean(np.array([run["trackers"][which][figure]["value"] for run in seeds], float))
            )
            for figure in seeds[0]["trackers"][0]
        }
        for place, which in (("first", 0), ("last", -1))
    }
    return found


def _mean(seeds: Iterable[Figures], side: str, figure: str) -> Any:
    """A figure's mean over seeds, a number or (n,)."""
    return np.mean([run[side][figure] for run in seeds], axis=0)


def _spread(runs: list[Figures], side: str, signs: list[int]) -> Any:
    """Draws (resamples,), about 0, of the mean increase of runs of sign 1, minus that of runs of sign -1."""
    weights = [sign / signs.count(sign) for sign in signs]
    kind = "shares" if "shares" in runs[0][side] else "drawn"
    if len({len(run[side].get(kind, ())) for run in runs}) > 1:
        raise ValueError(
            "the runs hold different kinds or numbers of clips: measure all with one version of benchmarks/drift.py"
        )
    if kind == "drawn":
        parts = [np.array(run[side]["drawn"]) - run[side]["increase"] for run in runs]
        return np.einsum("r,rn->n", weights, parts)
    shares = np.einsum("r,rn->n", weights, [run[side]["shares"] for run in runs])
    classes = labels_in_turn(len(shares), len(CLASSES[WORLD]))
    return drawn_sums(shares[:, None], RESAMPLES, classes=classes)[:, 0]


def title_of(name: str) -> str:
    """What a remedy is called on pages: "paper" trains and samples by the paper's method, but with the theta of its
    start, `configs/toy-landscape.yaml`, 0.4 in place of the paper's 0.2.
    """
    return "no remedy" if name == "paper" else name


def table(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown, a row a remedy, below a line that says what the intervals are over."""
    head, rows = [""], []
    for side in SIDES:
        head += [f"{side}: first", "last", "increase (95 %)", "minus that of no remedy (95 %)"]
    head += ["class seen, first / last", "offset (ms), first / last"]
    for name, row in summary.items():
        cells = [title_of(name)]
        for side in SIDES:
            figure = row[side]
            beside = None if name == "paper" else figure.get("increase minus the paper's")
            cells += [f"{figure['first']:.2f}", f"{figure['last']:.2f}", shown(figure["increase"]),
                      "" if beside is None else shown(beside)]  # fmt: skip
        ends = [row["trackers"][place] for place in ("first", "last")]
        cells.append(" / ".join(f"{end['asked class seen']:.0%}" for end in ends))
        cells.append(" / ".join(f"{end['median size of A/V offset (ms)']:.0f}" for end in ends))
        rows.append(cells)
    return f"{INTERVALS}\n\n{markdown_table(head, rows)}"


def shown(found: Mapping[str, float]) -> str:
    """A difference with its interval."""
    return f"{found['value']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"


def curves(report: Mapping[str, Any], figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """Window by window, means over seeds: distances from real clips, way from the first window, class seen.

    A row a measure, a column a group of remedies; the remedies of the other groups are grey there.

    Args:
        report: as read from the JSON file.
        figure: to draw into; a new one by default.
    """
    runs = {name: list(seeds.values()) for name, seeds in report["runs"].items()}
    groups = grouped(runs)
    figure = figure or plt.figure(figsize=(9.5, 8.0), layout="constrained")
    axes = figure.subplots(len(PANELS), len(groups), sharex=True, sharey="row", squeeze=False)
    for column, (group, members) in zip(axes.T, groups.items(), strict=True):
        looks: dict[str, tuple[str, Any, float]] = dict.fromkeys(runs, ("0.8", "-", 0.8))
        looks |= {name: (colour, line, 1.6) for name, (colour, line) in zip(members, MARKS, strict=False)}
        looks["paper"] = ("black", "-", 2.2)
        if report.get("real"):
            looks["real"] = ("0.35", ":", 1.8)
        for axis, (title, values) in zip(column, PANELS.items(), strict=True):
            for name in sorted(looks, key=lambda each: looks[each][2]):  # what is meant lies on top
                of_seeds = [report["real"]] if name == "real" else runs[name]
                colour, line, width = looks[name]
                mean = np.mean([values(run) for run in of_seeds], axis=0)
                label = title_of(name) if colour != "0.8" else "_other"
                axis.plot(np.arange(1, len(mean) + 1), mean, line, color=colour, lw=width, label=label)
            axis.tick_params(labelsize=7)
            if "share" not in title:
                axis.set_ylim(bottom=0)  # a distance: how small it is beside 0 is the message
        column[0].set_title(group, fontsize=9)
        column[0].legend(fontsize=7, framealpha=0.85, edgecolor="none", loc="upper left")
        column[-1].set_xlabel(f"window of {report['setting']['window']} frames", fontsize=8)
    for axis, title in zip(axes[:, 0], PANELS, strict=True):
        axis.set_ylabel(title.replace(": ", "\n"), fontsize=7)
    return figure


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Group -> the remedies of it that there are; those of no group come last, in one of their own."""
    known = [name for name in names if name != "paper"]
    groups = {group: [name for name in members if name in known] for group, members in GROUPS.items()}
    groups["others"] = [name for name in known if not any(name in members for members in GROUPS.values())]
    return {group: members for group, members in groups.items() if members} or {"": []}
