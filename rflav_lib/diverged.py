"""What a model made, looked at before it is decoded: guidance that is too strong drives it beyond all numbers."""

from typing import Any

import torch
from torch import Tensor


def check_made(video: Tensor, audio: Tensor, **strengths: Any) -> None:
    """Refuse latents or mel segments that are NaN or infinite.

    Args:
        video: latents.
        audio: mel segments.
        strengths: scales of guidance by name; the error says which could be lowered. 1, or 1 for both, is none.

    Raises:
        ValueError: they are.
    """
    if torch.isfinite(video).all() and torch.isfinite(audio).all():
        return
    strong = [
        f"{name} below {scale!r}" for name, scale in strengths.items() if scale not in (1, (1, 1), [1, 1])
    ]
    advice = (
        f"try a {' or a '.join(strong)}" if strong else "its weights are damaged, or its training diverged"
    )
    raise ValueError(f"what the model made is NaN or infinite: {advice}")
