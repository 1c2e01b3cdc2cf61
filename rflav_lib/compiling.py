"""`torch.compile` for a network whose weights and shapes stay as they are."""

import torch
from torch import nn


def compile_for_good(network: nn.Module) -> nn.Module:
    """The network compiled as one graph for each shape, at its first call; to be called without gradients.

    On a CPU its weights become constants, laid out for the kernels. On a GPU it is recorded as CUDA graphs; that has
    not been run yet, for want of a GPU.
    """
    on_cpu = next(network.parameters()).device.type == "cpu"
    options = {"freezing": True} if on_cpu else {"triton.cudagraphs": True}
    return torch.compile(network, dynamic=False, fullgraph=True, options=options)


def check_compiler(device: torch.device) -> None:
    """Raise a RuntimeError if `torch.compile` has nothing to compile with here."""
    if device.type != "cpu":
        return  # for CUDA, triton comes with torch
    from torch._inductor import exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise RuntimeError(
            "compiled=True needs a C++ compiler, and none was found: install g++ (or set CXX), "
            "or leave compiled out, which gives the same numbers more slowly"
        ) from error
