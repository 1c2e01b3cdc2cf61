"""A GPU that is not there: tensors that say they are on one, while the CPU computes them.

Most mistakes of code that has only run on a CPU are about where a tensor is: one made on the CPU meets the model's, is
read number by number so that the host waits at every step, or is drawn with a generator of another device. None of
that needs a GPU to be found. Inside `pretend_gpu`, `.to("cuda")` gives an `OnGPU`, whose `device` is cuda:0; what is
computed from it is one too; and what torch refuses on a GPU raises here as it does there. Branches for GPUs run, and
their numbers can be compared with the CPU's.

What it cannot show: kernels of GPUs, their rounding, speed and workspaces, autocast, `torch.compile` and CUDA graphs.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

GPU = torch.device("cuda", 0)
READS = {
    getattr(Tensor, name)
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__", "numpy")
}
WAITS = {
    torch.equal,
    torch.nonzero,
    torch.unique,
    torch.allclose,
    Tensor.equal,
    Tensor.nonzero,
    Tensor.unique,
}
# what may have tensors of both devices: copies and the like, and an index of the CPU, which torch moves, and waits
MIXING = {Tensor.copy_, torch._has_compatible_shallow_copy_type}
INDEXING = {Tensor.__getitem__, Tensor.__setitem__, Tensor.index_put_}


class OnGPU(Tensor):
    """A CPU tensor that says it is on a GPU."""

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def get_device(self) -> int:
        """The number of the GPU."""
        return 0


@dataclass
class Seen:
    """What the host waited for: names of functions, in the order of their calls.

    Copies to the GPU are among them, but for those that are `non_blocking` and from pinned memory.
    """

    waits: list[str] = field(default_factory=list)


class Pretending(TorchFunctionMode):
    """Marks what is on the GPU, and refuses what torch refuses there."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function of torch where its tensors, or the device that it is told, are."""
        kwargs = dict(kwargs or {})
        there = [tensor for tensor in tensors_in((args, kwargs)) if isinstance(tensor, OnGPU)]
        if function in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(function, args, kwargs)
        if function is Tensor.numpy and there:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if there and (function in READS or function in WAITS):
            self.seen.waits.append(function.__name__)
        on_gpu = bool(there)
        if kwargs.get("device") is not None:
            on_gpu = torch.device(kwargs["device"]).type == "cuda"
            kwargs["device"] = "cpu"
        if on_gpu:
            self._check(function, args, kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **kwargs)
        if function in READS:
            return result
        mark = marked if on_gpu else unmarked
        return mark(result) if isinstance(result, Tensor) else tree_map_only(Tensor, mark, result)

    def _moved(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        tensor, *rest = args
        copy, non_blocking, layout = kwargs.pop("copy", False), kwargs.get("non_blocking", False), None
        others = [each for each in (*rest, *kwargs.values()) if isinstance(each, Tensor)]
        if function is not Tensor.to:
            device, dtype = torch.device("cuda" if function is Tensor.cuda else "cpu"), None
        elif others:
            device, dtype = others[0].device, others[0].dtype
        else:
            device, dtype, non_blocking, layout = torch._C._nn._parse_to(*rest, **kwargs)
        device = device or tensor.device
        crosses = device.type != tensor.device.type
        if crosses and device.type == "cpu":
            self.seen.waits.append("to cpu")
        elif crosses and not (getattr(tensor, "pinned", False) and non_blocking):
            self.seen.waits.append("to cuda")
        with torch._C.DisableTorchFunctionSubclass():
            moved = tensor.to(dtype or tensor.dtype, copy=copy or crosses, memory_format=layout)
        return marked(moved) if device.type == "cuda" else unmarked(moved)

    def _check(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        """Raise the RuntimeError that a call gets on a GPU for tensors and generators of the CPU."""
        name = getattr(function, "__name__", str(function))
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type == "cpu":
            raise RuntimeError(f"{name}: expected a 'cuda' device type for generator but found 'cpu'")
        if name == "__set__" or function in MIXING:
            return
        here = [each for each in tensors_in((args, kwargs)) if not isinstance(each, OnGPU) and each.ndim]
        if here and function in INDEXING:
            self.seen.waits.append(f"{name} by a CPU tensor")
        elif here:
            raise RuntimeError(
                f"{name}: expected all tensors to be on the same device, but found at least two, cuda:0 and cpu: "
                f"{[tuple(each.shape) for each in here]}"
            )


def tensors_in(values: Any) -> Iterator[Tensor]:
    """All tensors of nested lists, tuples and dictionaries; torch's own `tree_iter` is slow for each call of torch."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple | dict):
        for value in values.values() if isinstance(values, dict) else values:
            yield from tensors_in(value)


def marked(tensor: Tensor) -> Tensor:
    """The same tensor, on the GPU."""
    return tensor if isinstance(tensor, OnGPU) else tensor.as_subclass(OnGPU)


def unmarked(tensor: Tensor) -> Tensor:
    """The same tensor, on the CPU."""
    return tensor.as_subclass(Tensor) if isinstance(tensor, OnGPU) else tensor


def pinned(tensor: Tensor) -> Tensor:
    """In place of `Tensor.pin_memory`, in threads too, where there is no mode."""
    if isinstance(tensor, OnGPU):
        raise RuntimeError("cannot pin a tensor of a GPU: only dense CPU tensors can be pinned")
    copy = tensor.clone()
    copy.pinned = True  # type: ignore[attr-defined]
    return copy


@contextmanager
def pretend_gpu() -> Iterator[Seen]:
    """Inside, torch has one GPU. Yields what the host waits for."""
    seen = Seen()
    load, save, group = torch.load, torch.save, torch._C._group_tensors_by_device_and_dtype

    def loaded(file: Any, map_location: Any = None, **options: Any) -> Any:
        values = load(file, map_location="cpu", **options)
        there = map_location is not None and torch.device(map_location).type == "cuda"
        return tree_map_only(Tensor, marked, values) if there else values

    def saved(values: Any, file: Any, **options: Any) -> None:
        save(tree_map_only(Tensor, unmarked, values), file, **options)

    def grouped(lists: list, *options: Any) -> dict:
        return {(lists[0][0].device, dtype): found for (_, dtype), found in group(lists, *options).items()}

    properties = SimpleNamespace(name="none", major=9, minor=0, total_memory=2**37, multi_processor_count=132)
    replaced = {
        "torch.load": loaded,
        "torch.save": saved,
        "torch._C._group_tensors_by_device_and_dtype": grouped,
        "torch.Tensor.pin_memory": pinned,
        "torch.cuda._lazy_init": lambda: None,
        "torch.accelerator.is_available": lambda check_available=False: True,
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.device_count": lambda: 1,
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.set_device": lambda device: None,
        "torch.cuda.get_device_name": lambda device=None: "a GPU that is not there",
        "torch.cuda.get_device_properties": lambda device=None: properties,
        "torch.cuda.get_device_capability": lambda device=None: (9, 0),
        "torch.cuda.is_bf16_supported": lambda *_, **__: True,
        "torch.cuda.mem_get_info": lambda device=None: (2**37, 2**37),
        "torch.cuda.is_current_stream_capturing": lambda: False,
        "torch.cuda.manual_seed": lambda seed: None,
        "torch.cuda.manual_seed_all": lambda seed: None,
        **{
            f"torch.cuda.{name}": lambda device=None: 0
            for name in (
                "synchronize", "empty_cache", "reset_peak_memory_stats", "memory_allocated", "memory_reserved",
                "max_memory_allocated", "max_memory_reserved",
            )
        },
    }  # fmt: skip
    swapping = torch.__future__.get_swap_module_params_on_conversion()
    with ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(mock.patch(name, value))
        # a parameter becomes another object there, as setting its data would leave it a tensor of the CPU
        torch.__future__.set_swap_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swapping)
        # Accelerate keeps the device that it once found for as long as the process lives
        stack.callback(AcceleratorState._reset_state, True)
        AcceleratorState._reset_state(True)
        stack.enter_context(Pretending(seen))
        yield seen
