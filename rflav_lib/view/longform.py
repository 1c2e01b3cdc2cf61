"""Figures of what `benchmarks/longform.py` measured: the paper's Fig. 5 (curves), 6 (strips) and 7 (loops).

Each takes the report, as read from the JSON file, and draws into a figure of its own, or into `figure` where one is
given. Nothing is computed here: what is drawn stands in the report.
"""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from rflav_lib.files import whole

Report = dict[str, Any]
LOOKS = {"generated": ("#D55E00", "-"), "real": ("#0072B2", "--")}
FRAME_RATE = 10
COLUMNS = 4  # panels in a line


def curves(report: Report, figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """Fig. 5: each measure window by window, generated and real, with 95 % intervals over clips of this very model."""
    found = {title: each for title, each in report["curves"].items() if "left out" not in each}
    rows = -(-len(found) // COLUMNS)
    figure = figure or plt.figure(figsize=(9.5, 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axis, (title, each) in zip(grid.flat, found.items(), strict=False):
        seconds = np.array(each["starts"]) / FRAME_RATE
        for kind, (colour, line) in LOOKS.items():
            axis.plot(seconds, each[kind]["value"], line, color=colour, label=kind)
            # an end is None, here NaN, where there were too few clips
            low, high = (np.array(each[kind][end], float) for end in ("low", "high"))
            axis.fill_between(seconds, low, high, color=colour, alpha=0.2, lw=0)
        axis.set_title(title.replace(", ", "\n", 1), fontsize=7)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("window begins at (s)", fontsize=8)
    for axis in grid.flat[len(found) :]:
        axis.set_axis_off()
    grid[0, 0].legend(fontsize=7, frameon=False)
    return figure


def strips(report: Report, figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """Fig. 6: a frame of every second of each example, twelve in a line."""
    pictures = [
        (f"{kind} {number}", _picture(each["strip"]))
        for kind in LOOKS
        for number, each in enumerate(report["examples"][kind])
    ]
    lines = [
        (f"{name}, from {12 * line} s" if line else name, row)
        for name, strip in pictures
        for line, row in enumerate(
            np.split(strip, range(12 * len(strip), strip.shape[1], 12 * len(strip)), axis=1)
        )
    ]
    figure = figure or plt.figure(figsize=(9.5, 0.95 * len(lines)), layout="constrained")
    for axis, (name, row) in zip(figure.subplots(len(lines), 1, squeeze=False)[:, 0], lines, strict=True):
        axis.imshow(row)
        axis.set(xlim=(0, 12 * len(row)), xticks=[], yticks=[])
        axis.set_title(name, fontsize=7, loc="left", pad=2)
        axis.spines[:].set_visible(False)
    return figure


def self_similarity(report: Report, figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """Fig. 7 for the first pair of examples: distances of all pairs of frames, r(k), and its spectrum."""
    figure = figure or plt.figure(figsize=(9.5, 4.4), layout="constrained")
    window = report["settings"]["window"]
    for row, kind in zip(figure.subplots(2, 3, width_ratios=(1, 1.6, 1.6)), LOOKS, strict=True):
        each = report["examples"][kind][0]
        row[0].imshow(_picture(each["matrix"]), cmap="cividis")
        row[0].set(ylabel=kind, xlabel="frame")
        mark_loop(row[1], each["r"], each["lag"], each["depth"], window)
        frequencies = np.array(each["frequencies"])
        slow = frequencies < 0.3
        row[2].plot(frequencies[slow], np.array(each["amplitudes"])[slow], "-", color="black")
        row[2].axvline(1 / window, linestyle=":", color="#009E73", label=f"window, {window} frames")
        if each["period"]:
            row[2].plot(
                1 / each["period"],
                each["spectral"],
                "o",
                color="#D55E00",
                label=f"{each['period']:.1f} frames",
            )
        row[2].set(xlabel="frequency (1/frame)", ylabel="share of mean r", ylim=(0, None))
        row[2].legend(fontsize=7, frameon=False)
    return figure


def mark_loop(axis: Axes, r: list[float], lag: float | None, depth: float, window: int) -> None:
    """r(k) with its lag, its median, and the multiples of the window."""
    axis.plot(np.arange(1, len(r) + 1), r, "-", color="black")
    axis.axhline(np.median(r), linestyle="--", color="0.6", lw=0.8)
    for multiple in range(window, len(r) + 1, window):
        axis.axvline(multiple, linestyle=":", color="#009E73", lw=0.8)
    if lag is not None:
        axis.plot(lag, r[round(lag) - 1], "o", color="#D55E00", label=f"lag {lag:.1f}, depth {depth:.2f}")
        axis.legend(fontsize=7, frameon=False)
    axis.set(xlabel="lag k (frames); dotted: the window", ylabel="r(k)", ylim=(0, None))


def loop_scores(
    report: Report, length: str | None = None, figure: Figure | SubFigure | None = None
) -> Figure | SubFigure:
    """Which clips loop, and how long their loops are: depth of every clip, and loops in windows and in beats.

    Args:
        report: of the benchmark.
        length: "240 frames", or another one that the report has; by default the longest.
        figure: where to draw.
    """
    lengths = [name for name, each in report["loops"].items() if isinstance(each, dict)]
    loops = report["loops"][length or lengths[-1]]
    threshold = loops["test"]["depth"]["threshold"]
    window = report["settings"]["window"]
    figure = figure or plt.figure(figsize=(9.5, 2.6), layout="constrained")
    in_time = any(each["beat"] for each in loops["real"]["readings"])  # else the sound has no beat
    scores, windows, *beats = figure.subplots(1, 2 + in_time)
    for kind, (colour, _) in LOOKS.items():
        readings = loops[kind]["readings"]
        scores.hist(
            [each["depth"] for each in readings], np.linspace(0, 1, 21), color=colour, alpha=0.5, label=kind
        )
        deep = [each for each in readings if each["depth"] > threshold]
        bins = np.linspace(0, 6, 49)
        windows.hist([each["lag"] / window for each in deep], bins, color=colour, alpha=0.5)
        for axis in beats:
            in_beats = [each["lag"] / each["beat"] for each in deep if each["beat"]]
            axis.hist(in_beats, np.linspace(0, 12, 49), color=colour, alpha=0.5)
    scores.axvline(threshold, linestyle=":", color="black", label="threshold")
    scores.set(xlabel="depth of the deepest minimum", ylabel="clips")
    scores.legend(fontsize=7, frameon=False)
    windows.set(xlabel=f"loop in windows of {window} frames", xticks=range(7))
    for axis in beats:
        axis.set(xlabel="loop in beats", xticks=range(0, 13, 2))
    return figure


def save_overview(report: Report, path: Path) -> None:
    """Everything on one page, as PNG."""
    count = sum("left out" not in each for each in report["curves"].values())
    sizes = [_picture(each["strip"]).shape for kind in LOOKS for each in report["examples"][kind]]
    lines = sum(-(-width // (12 * height)) for height, width, _ in sizes)
    heights = (2.3 * -(-count // COLUMNS), 0.95 * lines, 4.4, 2.6)
    with plt.rc_context({"figure.autolayout": False}):
        page = plt.figure(figsize=(10, sum(heights)), layout="constrained")
        draw: tuple[Callable[..., object], ...] = (curves, strips, self_similarity, loop_scores)
        places = page.subfigures(4, 1, squeeze=False, height_ratios=heights).flat
        for each, place in zip(draw, places, strict=True):
            each(report, figure=place)
        with whole(path) as draft:
            page.savefig(draft, format="png", dpi=110)
        plt.close(page)


def _picture(text: str) -> np.ndarray:
    """What the report holds as PNG, base64."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
