"""One look for every figure of the notebooks: small files, readable in grey and by colour-blind readers."""

import matplotlib
import matplotlib.pyplot as plt
from cycler import cycler

COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7")
"""From the Okabe-Ito palette: they stay apart under every common colour blindness."""

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def use() -> None:
    """Set matplotlib's rcParams for a notebook: call it once, in the cell with the imports.

    Each line of a plot differs from the others in colour and in line style: no figure needs colour alone.
    """
    plt.rcParams.update(matplotlib.rcParamsDefault | {"backend": plt.rcParams["backend"]})
    plt.rcParams.update(
        {
            "figure.figsize": (7, 3),
            "figure.dpi": 90,
            "savefig.dpi": 90,
            "figure.autolayout": True,
            "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=LINES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.labelsize": 9,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "lines.linewidth": 1.5,
            "image.cmap": "cividis",
            "image.interpolation": "nearest",
        }
    )
