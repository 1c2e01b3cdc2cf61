"""What `benchmarks/drift.py` measured: the remedies against the jump after the first window, as a table and as curves.

Nothing is measured here: what is shown stands in the report.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure, SubFigure

from rflav_lib.experiments import SIDES

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#882255", "#999933", "#332288")


def table(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown, a row a remedy."""
    lines = [
        "| | " + " | ".join(f"{side}: first | last | increase (95 %) | minus the paper's (95 %)" for side in SIDES)
        + " | class seen, first / last | offset (ms), first / last |",
        "|---" * (3 + 4 * len(SIDES)) + "|",
    ]  # fmt: skip
    for name, row in summary.items():
        cells = [name]
        for side in SIDES:
            figure = row[side]
            beside = None if name == "paper" else figure.get("increase minus the paper's")
            cells += [f"{figure['first']:.2f}", f"{figure['last']:.2f}", shown(figure["increase"]),
                      "" if beside is None else shown(beside)]  # fmt: skip
        ends = [row["trackers"][place] for place in ("first", "last")]
        cells.append(" / ".join(f"{end['asked class seen']:.0%}" for end in ends))
        cells.append(" / ".join(f"{end['median size of A/V offset (ms)']:.0f}" for end in ends))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(found: Mapping[str, float]) -> str:
    """A difference with its interval."""
    return f"{found['value']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"


def curves(report: Mapping[str, Any], figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """Window by window, means over seeds: distances from real clips, way from the first window, class seen.

    Args:
        report: as read from the JSON file.
        figure: to draw into; a new one by default.
    """
    panels = {
        "picture: distance from real windows": lambda run: run["picture"]["value"],
        "sound: distance from real windows": lambda run: run["sound"]["value"],
        "picture: way from the clip's first window": lambda run: run["moved"]["value"],
        "share of clips whose class is seen": lambda run: [
            window["asked class seen"]["value"] for window in run["trackers"]
        ],
    }
    others = [name for name in report["runs"] if name != "paper"]
    looks = {"paper": ("black", "-", 2.2)} | {
        name: (COLOURS[n % len(COLOURS)], "-", 1.2) for n, name in enumerate(others)
    }
    runs = {name: list(seeds.values()) for name, seeds in report["runs"].items()}
    if report.get("real"):
        runs["real"], looks["real"] = [report["real"]], ("0.5", "--", 1.5)
    figure = figure or plt.figure(figsize=(9.5, 5.6), layout="constrained")
    axes = figure.subplots(2, 2)
    for axis, (title, values) in zip(axes.flat, panels.items(), strict=True):
        for name, of_seeds in runs.items():
            colour, line, width = looks[name]
            mean = np.mean([values(run) for run in of_seeds], axis=0)
            axis.plot(np.arange(1, len(mean) + 1), mean, line, color=colour, lw=width, label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(f"window of {report['setting']['window']} frames", fontsize=8)
        axis.tick_params(labelsize=8)
        if "share" not in title:
            axis.set_ylim(bottom=0)  # a distance: how small it is beside 0 is the message
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure
