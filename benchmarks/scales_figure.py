"""The figure of what `scales.py` measured: class, synchrony and likeness against the scale.

python benchmarks/scales_figure.py results/conditions.json results/class_guidance.json --out docs/scales.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # a file, no window
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rflav_lib.files import output_file, read_json, whole

MEASURES = {
    "seen as heard": "picture and sound of one class",
    "events within 100 ms": "events with their sound within 100 ms",
    "picture as usual": "picture: features as in real clips",
    "sound as usual": "sound: features as in real clips",
}
SWAPPED = "with the given side of another clip of the class"
COLOURS = {"a2v": "#1f77b4", "v2a": "#d95f02", "both": "#444444", "video": "#1f77b4", "audio": "#d95f02"}
NAMES = {
    "a2v": "audio to video", "v2a": "video to audio", "both": "guidance of both", "video": "of the video alone",
    "audio": "of the sound alone",
}  # fmt: skip


def curves(sets: dict[str, Any]) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """Kind -> its sets by scale; "real" and "joint" have no scale and are not among them."""
    found: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for name, measured in sets.items():
        kind, _, scale = name.partition(" ")
        if scale and "diverged" not in measured:
            found.setdefault(kind, []).append((float(scale), measured))
    if "both" in found:  # scale 1 is the same whichever side is guided
        plain = [entry for entry in found["both"] if entry[0] == 1]
        for kind in found.keys() & {"video", "audio"}:
            found[kind] += plain
    return {kind: sorted(entries, key=lambda entry: entry[0]) for kind, entries in found.items()}


def draw(axes: Axes, sets: dict[str, Any], measure: str) -> None:
    """One panel: a line with its 95 % interval for each kind; dashed, the same with the given sides swapped."""
    for kind, entries in curves(sets).items():
        scales, measured = zip(*entries, strict=True)
        for values, style in (
            ([m[measure] for m in measured], "-"),
            ([m[SWAPPED][measure] for m in measured if SWAPPED in m], ":"),
        ):
            if values:
                middle, low, high = ([value[end] for value in values] for end in ("value", "low", "high"))
                label = NAMES[kind] + (", sides swapped within the class" if style == ":" else "")
                axes.plot(scales, middle, style, marker="o", ms=3, color=COLOURS[kind], label=label)
                if style == "-":
                    axes.fill_between(scales, low, high, color=COLOURS[kind], alpha=0.15, lw=0)
    for name, style in (("real", "--"), ("joint", "-.")):
        if name in sets:
            axes.axhline(sets[name][measure]["value"], ls=style, lw=1, color="#2a9d5c", label=f"{name} clips")
    measured = sorted({scale for entries in curves(sets).values() for scale, _ in entries})
    if measured[-1] > 100:
        axes.set_xscale("symlog", linthresh=1000)
    axes.set_xticks(measured, [f"{scale:g}" for scale in measured], minor=False)
    axes.minorticks_off()
    axes.set(title=MEASURES[measure], xlabel="scale", ylim=(-0.03, 1.03))


def main(arguments: list[str]) -> int:
    """A row of panels for each file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="what scales.py wrote")
    parser.add_argument("--out", type=output_file, required=True, help="PNG file")
    options = parser.parse_args(arguments)
    try:
        figure = drawn(options.files)
        with whole(options.out) as draft:
            figure.savefig(draft, format="png", dpi=110)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def drawn(files: Sequence[Path]) -> Figure:
    """A row of panels for each file.

    Raises:
        OSError: a file that is not there.
        ValueError: one that `scales.py` has not written; names it.
    """
    reports = [read_json(path) for path in files]
    size = (3.6 * len(MEASURES), 3.4 * len(reports))
    figure, grid = plt.subplots(
        len(reports), len(MEASURES), figsize=size, squeeze=False, layout="constrained"
    )
    for row, report, path in zip(grid, reports, files, strict=True):
        try:
            for axes, measure in zip(row, MEASURES, strict=True):
                draw(axes, report["sets"], measure)
            row[0].legend(fontsize=7)
            settings = report["settings"]
            row[0].set_ylabel(f"{settings['clips']} clips, N = {settings['steps_per_frame']}")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: not what benchmarks/scales.py writes ({error!r})") from error
    return figure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
