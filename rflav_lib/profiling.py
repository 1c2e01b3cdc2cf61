"""What the machine can do at most, how near a sampler's matrix products come to it, and where a step's time goes."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._inductor import config as inductor_config
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from rflav_lib.engine import FastSampler
from rflav_lib.fast_layers import FastLinear
from rflav_lib.fast_network import FastNetwork
from rflav_lib.markdown import markdown_table
from rflav_lib.precision import multiplies_bf16
from rflav_lib.sampler import RollingSampler
from rflav_lib.transformer import RFLAVTransformer

ROLLS = 5
KINDS = {
    "matrix products": ("mm", "linear_pointwise", "_mkl_linear", "matmul", "convolution"),
    "attention": ("scaled_dot_product", "softmax"),
    "copies and conversions": ("copy", "clone", "cat", "empty", "fill"),
    "norms, gates and activations": (
        "norm", "addcmul", "add", "mul", "sub", "gelu", "silu", "sum", "mean", "div", "cpp_fused", "triton",
    ),
}  # fmt: skip
"""By parts of the operations' names, the first kind that fits; compiled kernels are named after what they hold."""
GPU_KINDS = {
    "attention": ("flash", "fmha", "sdpa", "cudnn", "softmax"),  # first: some of them are called cutlass too
    "matrix products": ("nvjet", "gemm", "gemv", "cutlass", "splitk", "cublas", "triton_tem"),
    "copies and conversions": ("memcpy", "memset", "direct_copy", "catarray", "fillfunctor"),
    "norms, gates and activations": ("triton_", "elementwise", "reduce", "norm"),
}
"""As `KINDS`, by parts of the names of kernels, in small letters: what they are usually called, not yet seen."""
REST = "all else: Python, views, waiting"


def profiles(
    model: RFLAVTransformer,
    samplers: dict[str, RollingSampler],
    video: Tensor,
    audio: Tensor,
    y: Tensor | None,
) -> dict[str, dict[str, Any]]:
    """Figures of a rolling step for each sampler, from noise (b k c h w), (b k f m) and labels (b,)."""
    peaks = {dtype: peak_flops(dtype, video.device) for dtype in (torch.float32, torch.bfloat16)}
    found = {}
    for name, sampler in samplers.items():
        # what is compiled here shows its kernels
        with inductor_config.patch({"cpp.enable_kernel_profile": True}):
            roll = rolling(sampler, video, audio, y)
        dtype = sampler.network.dtype if isinstance(sampler, FastSampler) else model.dtype
        step = median_seconds(roll, video.device) / sampler.steps_per_frame
        flops = step_flops(sampler, model, video, audio, y)
        found[name] = {
            "step (ms)": 1000 * step,
            "GFLOP of a step": flops / 1e9,
            "GFLOP/s": flops / step / 1e9,
            "peak GFLOP/s": peaks[dtype] / 1e9,
            "at peak a step would take (ms)": 1000 * flops / peaks[dtype],
            "shares of the time": shares(roll, video.device),
        }
    return found


def rolling(sampler: RollingSampler, video: Tensor, audio: Tensor, y: Tensor | None) -> Callable[[], Any]:
    """Makes one further frame each time that it is called; the first one has been made."""
    stream = sampler.stream(video, audio, torch.Generator().manual_seed(0), y)
    next(stream)
    return partial(next, stream)


def median_seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Median time of `work`, after a first go."""
    seconds = []
    for _ in range(2 * ROLLS + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


@torch.no_grad()
def peak_flops(dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations a second of the best of some large matrix products.

    A plain product and a packed layer: on a CPU they come from two libraries, and either may be the faster. Where bf16
    has no instructions, numbers are multiplied one by one, and large products are no faster than small ones.
    """
    slow = dtype is torch.bfloat16 and not multiplies_bf16(device)
    size = 8192 if device.type != "cpu" else 256 if slow else 1024
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    layer = FastLinear(nn.Linear(size, size, device=device), dtype)
    best = float("inf")
    for _ in range(12):
        for product in (one.matmul, layer):
            start = time.perf_counter()
            product(other)
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def step_flops(
    sampler: RollingSampler, model: RFLAVTransformer, video: Tensor, audio: Tensor, y: Tensor | None
) -> float:
    """Operations of the matrix products of one step of rolling, two for each multiply-add: an N-th of a frame's."""
    if isinstance(sampler, FastSampler):
        sampler = FastSampler(model, sampler.schedule, sampler.steps_per_frame)
        # packed products are not counted
        sampler.network.network = FastNetwork(model, model.dtype, packed=False)
    memory = sampler.empty_memory(video, audio)  # full or empty, its slots cost the same
    roll = partial(sampler.roll, video, audio, torch.Generator().manual_seed(0), y, memory)
    roll()  # times that come again are known from their second coming on
    with FlopCounterMode(display=False) as counter:
        roll()
    return counter.get_total_flops() / sampler.steps_per_frame


def shares(roll: Callable[[], Any], device: torch.device) -> dict[str, float]:
    """Shares of the time that each kind of operation takes, on the host, or on the GPU that works for it.

    What a profiler adds is in the rest; with a GPU, so is the time in which it has nothing to do.
    """
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as trace:
        start = time.perf_counter()
        for _ in range(ROLLS):
            roll()
        if on_gpu:
            torch.cuda.synchronize()
        whole = time.perf_counter() - start
    return by_kind(trace.key_averages(), whole, on_gpu)


def by_kind(events: Iterable[Any], whole: float, on_gpu: bool) -> dict[str, float]:
    """Shares of `whole` seconds from a profiler's events: of operations on the host, or of kernels alone on the GPU."""
    spent: Counter[str] = Counter()
    for event in events:
        if on_gpu and (event.device_type != DeviceType.CUDA or event.is_user_annotation):
            continue  # operations of the host tell the time of their kernels once more
        name, kinds = (event.key.lower(), GPU_KINDS) if on_gpu else (event.key, KINDS)
        kind = next((kind for kind, parts in kinds.items() if any(p in name for p in parts)), None)
        if kind:
            spent[kind] += (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
    return {kind: spent[kind] / whole for kind in KINDS} | {REST: max(0.0, 1 - spent.total() / whole)}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown: a row a figure, a column a sampler."""
    keys = [key for key in next(iter(found.values())) if key != "shares of the time"]
    rows = [[key, *(f"{sampler[key]:.1f}" for sampler in found.values())] for key in keys]
    for kind in (*KINDS, REST):
        rows.append([kind, *(f"{sampler['shares of the time'][kind]:.0%}" for sampler in found.values())])
    return markdown_table(["", *found], rows)
