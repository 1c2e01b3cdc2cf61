"""What one further frame costs with each setting of `benchmarks.ablations`: operations, memory, time.

A further frame is N steps of the plain float32 sampler for one clip, once the window is rolling; with a given side
each step also goes back through the network. Weights are random: none of the figures depends on them.
"""

import itertools
import statistics
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from rflav_lib import experiments, peak_memory
from rflav_lib.sampler import RollingSampler
from rflav_lib.schedule import RollingSchedule
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_run import MODEL_KEYS
from rflav_lib.transformer import RFLAVTransformer

GIVEN_FRAMES = 200  # of a given side: more than are ever asked for
LATENT, MEL_FRAMES, CLASSES = (4, 8, 8), 10, 5
WARM_UPS = 1
Frames = Iterator[Any]


def model(train: Mapping[str, Any]) -> RFLAVTransformer:
    """The model that a setting trains, with random weights."""
    config = TrainConfig.from_yaml(experiments.BASE, **{**experiments.SMALL, **train})
    torch.manual_seed(0)
    return RFLAVTransformer(
        latent_size=LATENT[-1], in_channels=LATENT[0], mel_frames=MEL_FRAMES, num_classes=CLASSES,
        **{key: getattr(config, key) for key in MODEL_KEYS},
    ).eval()  # fmt: skip


def frames(network: RFLAVTransformer, steps: int, source: str) -> Frames:
    """An iterator each of whose frames costs what a further frame costs; the first one, pre-rolling, is past."""
    config, generator = network.config, torch.Generator().manual_seed(0)
    sampler = RollingSampler(network, RollingSchedule(config.window), steps)
    y = torch.zeros(1, dtype=torch.long)
    video, audio = (torch.randn(1, GIVEN_FRAMES, *shape, generator=generator) for shape in
                    (LATENT, (config.mel_frames, config.n_mels)))  # fmt: skip
    noise = video[:, : config.window], audio[:, : config.window]
    if source == "a2v":
        stream = sampler.audio_to_video(audio, noise[0], generator=generator, y=y)
    elif source == "v2a":
        stream = sampler.video_to_audio(video, noise[1], generator=generator, y=y)
    else:
        stream = sampler.stream(*noise, generator, y)
    next(stream)
    return stream


class OperationCounter(TorchDispatchMode):
    """Adds up operations by torch's own formulas. torch's `FlopCounterMode` refuses `torch.autograd.grad`."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation, and count it."""
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def operations(stream: Frames) -> int:
    """Of matrix products and convolutions of one further frame, two for each multiply-add; what a causal mask hides
    is counted.
    """
    with OperationCounter() as counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernel is not seen
        next(stream)
    return counter.total


def costs(settings: Mapping[str, Any], repeats: int = 5) -> dict[str, dict[str, Any]]:
    """Parameters, operations, bytes and median seconds by setting; the settings take turns at being timed."""
    networks = {
        name: model(setting.train) for name, setting in settings.items() if setting.train or name == "base"
    }
    streams, found = {}, {}
    for name, setting in settings.items():
        if setting.source not in ("joint", "a2v", "v2a"):
            continue
        network = networks.get(name, networks["base"])
        stream = streams[name] = frames(network, setting.steps, setting.source)
        found[name] = {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "operations": operations(stream),
            "bytes": sum(part.nbytes for part in (*network.parameters(), *network.buffers()))
            + peak_memory.working_bytes(partial(next, stream), "cpu"),
        }
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    for repeat, (name, stream) in itertools.product(range(-WARM_UPS, repeats), streams.items()):
        began = time.perf_counter()
        next(stream)
        if repeat >= 0:
            seconds[name].append(time.perf_counter() - began)
    return {name: {**cost, "seconds": statistics.median(seconds[name])} for name, cost in found.items()}
