"""What `benchmarks.forgetting` measured: how often a ball comes back in its colour, as tables and as curves.

Nothing is measured here. A reading is what became of one ball, see `benchmarks.forgetting.read`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure, SubFigure
from scipy.stats import binom

from rflav_lib.data.toy_tracking.hiding import CHANCE
from rflav_lib.markdown import markdown_table
from rflav_lib.view.style import COLOURS

SINK = "+sink"
"""Ends the names of settings with an attention sink."""
Reading = Mapping[str, int | None]
Runs = Sequence[Mapping[str, Any]]
FIGURES: dict[str, Callable[[Reading], bool]] = {
    "sounds like its colour soon after": lambda r: r["heard"] == r["hue"],
    "has its colour soon after": lambda r: r["later"] == r["hue"],
    "comes back in its colour": lambda r: r["after"] == r["hue"],
    "comes back": lambda r: r["late"] is not None,
}

SHOWN = ("sounds like its colour soon after", "has its colour soon after", "comes back")
"""Figures that are drawn, the last one without a guess to compare it with."""


def hits(runs: Runs, setting: str, figure: str, hidden: int) -> list[list[bool]]:
    """Seed by seed, clip by clip: whether a figure held for balls that were out of sight for `hidden` frames."""
    readings = [run["readings"][str(hidden)] for run in runs if run["setting"] == setting]
    return [[FIGURES[figure](reading) for reading in seed] for seed in readings]


def hidden_frames(runs: Runs) -> list[int]:
    """The times out of sight that were tried, in frames."""
    return [int(hidden) for hidden in runs[0]["readings"]]


def recall(runs: Runs, setting: str, figure: str) -> dict[int, list[float]]:
    """Frames out of sight -> share of the clips for which a figure held, seed by seed.

    All seeds are tested on the same clips, so they are never counted together: what their shares have in common is
    the setting's, how far they lie apart is what a training does.
    """
    return {
        hidden: [float(np.mean(seed)) for seed in hits(runs, setting, figure, hidden)]
        for hidden in hidden_frames(runs)
    }


def more_than_a_guess(hits: Sequence[bool]) -> bool:
    """Whether so many right answers of one model would come by guessing in less than one of 40 cases (exact)."""
    return float(binom.sf(sum(hits) - 1, len(hits), CHANCE)) < 0.025


def table(runs: Runs, figure: str) -> str:
    """Share of clips for each setting and time out of sight: the mean over seeds, and in brackets each seed's."""
    rows = []
    for name in dict.fromkeys(run["setting"] for run in runs):
        cells = [
            f"{100 * float(np.mean(shares)):.0f} ({', '.join(f'{100 * share:.0f}' for share in shares)})"
            for shares in recall(runs, name, figure).values()
        ]
        rows.append([name, *cells])
    return markdown_table([f"{figure} (%)", *(f"{n} frames" for n in hidden_frames(runs))], rows)


def tables(content: Mapping[str, Any]) -> str:
    """All tables, Markdown."""
    setting = content["setting"]
    said = (
        f"{setting['world']}: {setting['clips']} unseen clips for each time out of sight, the same for each seed, "
        f"{setting['training steps']} training steps, N = {setting['steps per frame']}. The mean over seeds, in "
        f"brackets each. A guessed colour is right in {CHANCE:.1%}; a ball that does not come back counts as forgotten."
    )
    return "\n\n".join([said, *(table(content["runs"], figure) for figure in FIGURES)])


def curves(content: Mapping[str, Any], figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """Share of balls whose sound and whose picture have their colour once they are back, and of those that come back at
    all, against the frames out of sight: a colour a window, a line style for with and without a sink; a dot a seed.

    Args:
        content: as read from the JSON file.
        figure: to draw into; a new one by default.
    """
    runs = content["runs"]
    names = list(dict.fromkeys(run["setting"] for run in runs))
    windows = list(dict.fromkeys(name.removesuffix(SINK) for name in names))
    figure = figure or plt.figure(figsize=(9.5, 3.4), layout="constrained")
    axes = figure.subplots(1, len(SHOWN), sharey=True)
    for axis, title in zip(axes, SHOWN, strict=True):
        for name in names:
            window = name.removesuffix(SINK)
            colour = COLOURS[1 + windows.index(window)]
            found = recall(runs, name, title)
            places = [hidden * 1.02 ** names.index(name) for hidden in found]  # beside, not over each other
            means = [100 * float(np.mean(shares)) for shares in found.values()]
            axis.plot(places, means, color=colour, linestyle="--" if name == window else "-", label=name)
            for of_seed in zip(*found.values(), strict=True):
                axis.plot(places, 100 * np.array(of_seed), ".", color=colour, markersize=5)
        axis.set_xscale("log")
        axis.set_xticks(hidden_frames(runs), map(str, hidden_frames(runs)))
        axis.minorticks_off()
        axis.set(xlabel="frames out of sight", ylim=(-4, 104))
        axis.set_title(title, fontsize=9)
    for axis in axes[:2]:
        axis.axhline(100 * CHANCE, color="0.5", linestyle=":", linewidth=1, label="a guess")
    axes[0].set_ylabel("clips (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure
