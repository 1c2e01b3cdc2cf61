"""The closest pairs of the memorisation check, as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rflav_lib.files import whole
from rflav_lib.media import Clip

SHOWN = 8  # frames of a strip


@dataclass(frozen=True)
class Pair:
    """A clip, its nearest training window, and their distance in words."""

    title: str
    clip: Clip
    training: Clip


def strip(clip: Clip) -> np.ndarray:
    """Eight frames of a clip side by side."""
    places = np.linspace(0, len(clip) - 1, min(SHOWN, len(clip))).round().astype(int)
    return np.concatenate(list(clip.frames[places]), axis=1)


def draw_pairs(pairs: Sequence[Pair], path: Path) -> Path:
    """Each pair as two strips, the clip above its nearest training window; a PNG, whole or not at all."""
    figure = Figure(figsize=(7.5, 2.3 * len(pairs)), layout="constrained")
    for axes, pair in zip(np.atleast_1d(figure.subplots(len(pairs), 1)), pairs, strict=True):
        above, below = strip(pair.clip), strip(pair.training)
        gap = np.full((4, above.shape[1], 3), 255, np.uint8)
        axes.imshow(np.concatenate([above, gap, below]), interpolation="nearest")
        axes.set_title(pair.title, fontsize=9, loc="left")
        axes.axis("off")
    with whole(path) as draft:
        figure.savefig(draft, dpi=110)
    return path
