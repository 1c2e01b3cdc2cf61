"""What `benchmarks/drift.py` measured: the remedies against the jump after the first window, as a table and as curves.

Nothing is measured here: what is shown stands in the report.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rflav_lib.experiments import SIDES

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#882255", "#999933")


def table(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown, a row a remedy."""
    lines = [
        "| | " + " | ".join(f"{side}: first | last | increase (95 %) | of the paper's" for side in SIDES)
        + " | class seen, first / last | offset (ms), first / last |",
        "|---" * (3 + 4 * len(SIDES)) + "|",
    ]  # fmt: skip
    for name, row in summary.items():
        cells = [name]
        for side in SIDES:
            figure, increase = row[side], row[side]["increase"]
            share = figure.get("increase over the paper's")
            cells += [
                f"{figure['first']:.3f}", f"{figure['last']:.3f}",
                f"{increase['value']:+.3f} ({increase['low']:+.3f} to {increase['high']:+.3f})",
                "" if share is None else f"{share:.0%}",
            ]  # fmt: skip
        ends = [row["trackers"][place] for place in ("first", "last")]
        cells.append(" / ".join(f"{end['asked class seen']:.0%}" for end in ends))
        cells.append(" / ".join(f"{end['median size of A/V offset (ms)']:.0f}" for end in ends))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curves(report: Mapping[str, Any]) -> Figure:
    """Window by window, means over seeds: distances from real clips, way from the first window, class seen.

    Args:
        report: as read from the JSON file.
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
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 5.6), layout="constrained")
    for axis, (title, values) in zip(axes.flat, panels.items(), strict=True):
        for name, of_seeds in runs.items():
            colour, line, width = looks[name]
            mean = np.mean([values(run) for run in of_seeds], axis=0)
            axis.plot(np.arange(1, len(mean) + 1), mean, line, color=colour, lw=width, label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(f"window of {report['setting']['window']} frames", fontsize=8)
        axis.tick_params(labelsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    return figure
