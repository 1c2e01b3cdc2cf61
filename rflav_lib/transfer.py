"""Small tensors on their way from the CPU to where the work is done, without a wait for it."""

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`; shape and type stay.

    A copy from ordinary memory to a GPU waits for all work that the GPU still has to do, one from pinned memory does
    not. The host may go on at once: torch keeps the pinned memory until it has been read.
    """
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)
