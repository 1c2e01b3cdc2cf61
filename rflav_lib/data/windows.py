"""Windows of encoded clips: what training asks of its data, and how it draws."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

Window = tuple[Tensor, Tensor, int | None]
"""Clean video (k c h w) and audio (k f m), float32, and the label of their clip, or None."""


class TrainingClips(Protocol):
    """Encoded clips to train on; len() is their number."""

    def __len__(self) -> int: ...

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of a frame's latents."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels, in order; empty where clips have no class."""
        ...

    def draw_window(self, generator: torch.Generator, frames: int) -> Window:
        """A random window of `frames` frames; all that is random comes from `generator`."""
        ...


def draw_place(
    lengths: Sequence[int] | np.ndarray, window: int, generator: torch.Generator
) -> tuple[int, int]:
    """Draw a clip and the first frame of a window in it: every window of every clip is equally likely.

    So a clip of a minute counts for more than one of two seconds, as in MM-Diffusion's data, where each
    window is a sample. A place is drawn as if all clips were as long as the longest, and again if it lies
    beyond its clip's end; with clips of equal length the first draw counts.

    Args:
        lengths: frames of each clip.
        window: frames of a window.
        generator: the only source of randomness.

    Raises:
        ValueError: not even the longest clip holds a window.
    """
    longest = int(np.max(lengths))
    places = longest - window + 1
    if places < 1:
        raise ValueError(f"a window of {window} frames does not fit into clips of {longest} frames")
    while True:
        clip = int(torch.randint(len(lengths), (), generator=generator))
        start = int(torch.randint(places, (), generator=generator))
        if start + window <= lengths[clip]:
            return clip, start
