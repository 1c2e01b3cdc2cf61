"""What `benchmarks.noise_levels` measured: velocity errors by time as curves, and whose times make the difference."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from rflav_lib.experiments import SIDES
from rflav_lib.markdown import markdown_table
from rflav_lib.view.ablations import by_setting, difference, shown, signed, value
from rflav_lib.view.style import COLOURS

WHOLE = "base", "uniform"
"""The two models, each by itself."""


def times(content: Mapping[str, Any]) -> NDArray[np.float64]:
    """The middles of the bins of time."""
    count = content["setting"]["bins"]
    return (np.arange(count) + 0.5) / count


def ratios(content: Mapping[str, Any], side: str) -> NDArray[np.float64]:
    """Velocity error of `uniform` over that of `base`, (seeds, bins): below 1 the model of `uniform` is better."""
    found = {(run["setting"], run["seed"]): run["errors"][side] for run in content["runs"] if "errors" in run}
    seeds = sorted({seed for _, seed in found if all((name, seed) in found for name in WHOLE)})
    return np.array([np.divide(found["uniform", seed], found["base", seed]) for seed in seeds])


def curves(content: Mapping[str, Any], figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """The ratio of the errors by time, a thin line a seed, their mean thick; the bands shaded by turns.

    Args:
        content: as read from the JSON file.
        figure: to draw into; a new one by default.
    """
    figure = figure or plt.figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots(1, len(SIDES), sharey=True)
    bands = content["setting"]["bands"]
    for axis, side, colour in zip(axes, SIDES, COLOURS[1:], strict=False):
        each = ratios(content, side)
        axis.axvspan(*bands["middle"], color="0.93")
        axis.axhline(1, color="0.5", linestyle=":", linewidth=1)
        for line in each:
            axis.plot(times(content), line, "-", color=colour, alpha=0.4, linewidth=0.8)
        axis.plot(times(content), each.mean(axis=0), "-", color=colour, linewidth=2)
        axis.set_title(side, fontsize=9)
        axis.set_xlabel("time: 0 noise, 1 clean; grey: logit-normal weighs more", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0].set_ylabel("error of uniform / base", fontsize=8)
    return figure


def tables(content: Mapping[str, Any]) -> str:
    """Distances of clips whose frames two models move, by whose times, and what that gains; Markdown."""
    runs, setting = by_setting(content), content["setting"]
    head = ("uniform moves times", "seeds", *(f"{side} distance" for side in SIDES),
            *(f"{side}, minus base" for side in SIDES))  # fmt: skip
    rows = []
    for name, seeds in runs.items():
        first, last = setting["bands"][name]
        label = "none: base" if first == last else f"{first:g} to {last:g}: {name}"
        figures = [f"{side} distance" for side in SIDES]
        cells = [shown([value(each, figure) for each in seeds.values()]) for figure in figures]
        for figure in figures:
            found = None if name == "base" else difference(runs, name, "base", figure)
            cells.append(signed(found) if found else "")
        rows.append([label, str(len(seeds)), *cells])
    said = (
        f"{setting['world']}, {setting['training steps']} training steps, {setting['clips']} clips of "
        f"{setting['frames']} frames, N = {setting['steps per frame']}; Fréchet distances by the stand-in toy watcher "
        "and listener; means over seeds with 95 % t intervals. The model of uniform weighting moves the frames whose "
        "time lies within the band, the model of logit-normal weighting the others."
    )
    return f"{said}\n\n{markdown_table(head, rows)}"
