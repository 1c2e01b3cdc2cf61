"""`torch.compile` for a network whose weights and shapes stay as they are."""

import torch
from torch import Tensor, nn
from torch._inductor import config as inductor_config


class CompiledNetwork:
    """A network compiled as one graph for each shape of its inputs, at the first call with it; without gradients.

    On a CPU its weights become constants, laid out for the kernels. On a GPU it is recorded as CUDA graphs; that has
    not been run yet, for want of a GPU.
    """

    def __init__(self, network: nn.Module) -> None:
        self._on_cpu = next(network.parameters()).device.type == "cpu"
        options = None if self._on_cpu else {"triton.cudagraphs": True}
        self._network = torch.compile(network, dynamic=False, fullgraph=True, options=options)
        self._known: set[tuple[torch.Size, ...]] = set()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the network makes of the inputs."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes in self._known:
            return self._network(*inputs)
        # not among the options above: whether weights are constants is asked while tracing, before options count
        with inductor_config.patch(freezing=self._on_cpu):
            result = self._network(*inputs)
        self._known.add(shapes)
        return result


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
