"""`torch.compile` for a network whose weights stay as they are, and which sees more or fewer frames."""

import os
import shutil

import torch
from torch import Tensor, nn
from torch._inductor import config as inductor_config


class CompiledNetwork:
    """A network compiled as one graph for all widths of a window from two frames on; without gradients.

    It is compiled at the first call with a batch of a new size. One frame would be a graph of its own: not for here.
    On a CPU its weights become constants, laid out for the kernels, and C++ calls these, not Python. On a GPU it is
    recorded as CUDA graphs; that has not been run yet, for want of a GPU.

    Args:
        network: what is compiled.
        axes: of each input, the axis of frames.
        window: the most frames, those of a memory included.
    """

    def __init__(self, network: nn.Module, axes: tuple[int, ...], window: int) -> None:
        self._on_cpu = next(network.parameters()).device.type == "cpu"
        self._network = torch.compile(
            network, fullgraph=True, options=None if self._on_cpu else {"triton.cudagraphs": True}
        )
        self._axes, self._window = axes, window
        self._known: set[tuple[torch.Size, ...]] = set()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the network makes of the inputs, all of the same number of frames."""
        if inputs[0].shape[self._axes[0]] < self._window:
            # part of a window has the strides of the whole, which would be a graph of its own
            inputs = tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs)
        apart = tuple(tensor.select(axis, 0).shape for tensor, axis in zip(inputs, self._axes, strict=True))
        if apart not in self._known:
            self._compile(inputs)
            self._known.add(apart)
        return self._network(*inputs)

    def _compile(self, inputs: tuple[Tensor, ...]) -> None:
        """Run once with whole windows, for which the kernels are chosen."""
        shapes = [list(tensor.shape) for tensor in inputs]
        for shape, axis in zip(shapes, self._axes, strict=True):
            shape[axis] = self._window
        examples = [tensor.new_zeros(shape) for tensor, shape in zip(inputs, shapes, strict=True)]
        for tensor, axis in zip(examples, self._axes, strict=True):
            torch._dynamo.mark_dynamic(tensor, axis, min=2, max=self._window)
        # not among the options above: whether weights are constants is asked while tracing, before options count
        with inductor_config.patch(freezing=self._on_cpu, cpp_wrapper=self._on_cpu):
            self._network(*examples)


def check_compiler(device: torch.device) -> None:
    """Raise a RuntimeError if `torch.compile` has nothing to compile with here."""
    if device.type != "cpu":
        # triton comes with torch, but builds its launchers with a C compiler, which it looks for in these places
        if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
            raise RuntimeError(_missing("C", "gcc", "CC"))
        return
    from torch._inductor import exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise RuntimeError(_missing("C++", "g++", "CXX")) from error


def _missing(language: str, program: str, variable: str) -> str:
    return (
        f"compiled=True needs a {language} compiler, and none was found: install {program} (or set {variable}), "
        "or leave compiled out, which gives the same numbers more slowly"
    )
