"""What a model made, looked at before it is decoded: guidance that is too strong drives it beyond all numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor


def check_made(
    video: Tensor,
    audio: Tensor,
    guidance_scale: float | Sequence[float] = 1.0,
    condition_scale: float = 0.0,
) -> None:
    """Refuse latents or mel segments that are NaN or infinite, and say which guidance could be weaker.

    Args:
        video: latents, of any shape.
        audio: mel segments, of any shape.
        guidance_scale: of classifier-free guidance, one number or (video, audio). From 0 to 1 it exaggerates nothing.
        condition_scale: of the guidance by what was given; 0 is none.

    Raises:
        ValueError: they are. It names the scales that can be the cause; without one, the weights.
    """
    if torch.isfinite(video).all() and torch.isfinite(audio).all():
        return
    milder = [
        *_milder("guidance_scale", guidance_scale, most=1),
        *_milder("condition_scale", condition_scale, most=0),
    ]
    advice = f"try {' or '.join(milder)}" if milder else "its weights are damaged, or its training diverged"
    raise ValueError(f"what the model made is NaN or infinite: {advice}")


def _milder(name: str, scale: float | Sequence[float], most: float) -> list[str]:
    """What to try in the place of this scale; nothing where it lies in [0, most], and is not the cause."""
    each = scale if isinstance(scale, Sequence) else [scale]
    if all(0 <= one <= most for one in each):
        return []
    return [f"a {name} {'below' if max(each) > most else 'above'} {scale!r}"]
