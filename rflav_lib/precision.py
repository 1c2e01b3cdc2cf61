"""bf16 where it pays.

Matrix products in bf16 are quick on devices that have instructions for them: GPUs from NVIDIA's Ampere on, CPUs with
AVX512-BF16 or AMX, ARM with BF16. Elsewhere torch computes them all the same, but on a CPU that has AVX2 alone, as many
laptops do, eighty times as slowly as in float32. So `auto` takes bf16 only where it is quick, and whoever asks for
it elsewhere is warned.
"""

import torch

from rflav_lib.warn import warn

AUTO, BF16, FLOAT32 = "auto", "bf16", "no"
PRECISIONS = (AUTO, BF16, FLOAT32)
"""Of autocast, in Accelerate's names; "no" is float32."""
AUTOCAST = {BF16: torch.bfloat16, FLOAT32: torch.float32}
"""Of matrix products under autocast."""
DTYPES = {"float32": None, "bfloat16": torch.bfloat16}
"""Names of commands' `--dtype`, and what pipeline and samplers take for them."""
CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # the last one is ARM's


def multiplies_bf16(device: torch.device | str) -> bool:
    """Whether a device has instructions for matrix products in bf16."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        return any(torch.cpu.get_capabilities().get(name) for name in CPU_INSTRUCTIONS)
    return True  # other accelerators say themselves what they cannot do


def quick_name(device: torch.device | str) -> str:
    """The name in `DTYPES` of what a device is quick in."""
    return "bfloat16" if multiplies_bf16(device) else "float32"


def quick_dtype(device: torch.device | str) -> torch.dtype | None:
    """For `dtype=` of samplers and pipeline: bf16 where the device is quick in it, else None, the model's own."""
    return DTYPES[quick_name(device)]


def chosen(precision: str, device: torch.device | str) -> str:
    """What a `precision` of `PRECISIONS` comes to on a device: "bf16" or "no". Asked for where it is slow, it warns."""
    if precision == AUTO:
        return BF16 if multiplies_bf16(device) else FLOAT32
    if precision == BF16:
        warn_if_slow(torch.bfloat16, device)
    return precision


def told(precision: str) -> str:
    """What a chosen precision is, in words."""
    return "bf16 autocast" if precision == BF16 else "float32"


def warn_if_slow(dtype: torch.dtype | None, device: torch.device | str) -> None:
    """Warn of matrix products in bf16 on a device without instructions for them."""
    if dtype == torch.bfloat16 and not multiplies_bf16(device):
        warn(
            f"this {torch.device(device).type} device has no instructions for bf16: matrix products will take many "
            "times as long as in float32"
        )
