"""Which form of attention is the fastest? The library's and the one that is written out, with their products.

A layer of attention as the fast network has it (`FastAttention`), at the shapes of a model and a batch. Eager with each
of the library's kernels, and compiled in both forms, where sequences are short. What is found here is to decide
`rflav_lib.fast_layers.written_out`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rflav_lib.attention import SelfAttention
from rflav_lib.fast_layers import FastAttention, written_out
from rflav_lib.profiling import median_seconds

KERNELS: dict[str, Callable[[], AbstractContextManager]] = {
    "library": nullcontext,
    "library, flash": partial(sdpa_kernel, SDPBackend.FLASH_ATTENTION),
    "library, efficient": partial(sdpa_kernel, SDPBackend.EFFICIENT_ATTENTION),
    "library, cudnn": partial(sdpa_kernel, SDPBackend.CUDNN_ATTENTION),
}


Shape = tuple[tuple[int, int, int], int, bool, int]


def shapes(config: Any, batch: int) -> dict[str, Shape]:
    """By kind of attention: tokens (u v d), axis along which it goes, whether it is causal, length of a sequence."""
    side = config.latent_size // config.patch_size
    frames, d = config.window + config.sink_frames + config.context_frames, config.hidden_size
    mel = frames * config.mel_frames
    return {
        "temporal": ((frames, batch * side**2, d), 0, config.causal, frames),
        "spatial": ((frames * batch, side**2, d), 1, False, side**2),
        "audio": ((batch, mel, d), 1, config.causal, mel),
    }


@torch.no_grad()
def forms(
    config: Any, batch: int, device: str, found: dict[str, dict[str, Any]], write: Callable[[], None]
) -> None:
    """Fill `found` with the milliseconds of each form, in bf16; a form that there is not has its error instead."""
    torch.manual_seed(0)
    for kind, (shape, along, causal, length) in shapes(config, batch).items():
        attention = SelfAttention(config.hidden_size, config.num_heads).to(device)
        tokens = torch.randn(shape, device=device).bfloat16()
        row = found[kind] = {"tokens": list(shape), "sequence": length}
        layer = FastAttention(attention, torch.bfloat16, packed=False)
        for name, kernel in KERNELS.items():
            with kernel():
                row[name] = _milliseconds(partial(layer, tokens, along, causal), device)
        for name, longest in {"compiled library": None, "compiled, written out": length}.items():
            if longest is None or written_out(longest):
                torch._dynamo.reset()  # else the second form is a recompilation of the first
                made = FastAttention(attention, torch.bfloat16, packed=False, longest=longest)
                compiled = torch.compile(made, fullgraph=True)
                row[name] = _milliseconds(partial(compiled, tokens, along, causal), device)
        cells = [f"{name} {row[name]:.3f} ms" if isinstance(row.get(name), float) else f"{name} -"
                 for name in row if name not in ("tokens", "sequence")]  # fmt: skip
        print(f"{kind} attention, {length} tokens: " + ", ".join(cells), flush=True)
        write()


def _milliseconds(work: Callable[[], Any], device: str) -> float | str:
    try:
        return 1000 * median_seconds(work, torch.device(device))
    # a kernel that this device has not, or no compiler: which errors, it does not say
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
