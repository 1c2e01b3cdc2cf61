"""Which networks an evaluation measures with, and which distances belong to each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rflav_lib.metrics.audioclip import AudioCLIP
from rflav_lib.metrics.features import FeatureNetwork
from rflav_lib.metrics.i3d import I3D
from rflav_lib.metrics.stand_ins import MobileNetStandIn, YamnetStandIn
from rflav_lib.metrics.toy_classifier import ToyListener, ToyWatcher


@dataclass(frozen=True)
class Measure:
    """A network and the metrics (names of `comparison.METRICS`) of its features."""

    key: str
    load: Callable[[], FeatureNetwork]
    metrics: tuple[str, ...]
    hears: bool


KINDS: dict[str, tuple[Measure, ...]] = {
    "published": (
        Measure("i3d", I3D.load, ("fvd", "kvd"), hears=False),
        Measure("audioclip", AudioCLIP.load, ("fad_exact",), hears=True),
        Measure("audioclip-mmd", partial(AudioCLIP.load, mode="mm_diffusion"), ("fad_mmd",), hears=True),
    ),
    # batch statistics, MM-Diffusion's other habit, belong to AudioCLIP: of stand-ins `fad_mmd` has its eps rule alone
    "stand-ins": (
        Measure("mobilenet", MobileNetStandIn.load, ("fvd", "kvd"), hears=False),
        Measure("yamnet", YamnetStandIn.load, ("fad_exact", "fad_mmd"), hears=True),
    ),
    "toy": (
        Measure("watcher", ToyWatcher.load, ("fvd", "kvd"), hears=False),
        Measure("listener", ToyListener.load, ("fad_exact", "fad_mmd"), hears=True),
    ),
}

HEARD = {"joint": (False, True), "a2v": (False,), "v2a": (True,), "real": (False, True)}
"""What of a row's clips was made, and so is measured: seen (False), heard (True)."""


def measures(kind: str, task: str = "real") -> list[Measure]:
    """The measures of one of `KINDS` for what a task makes: a given side is not measured."""
    return [measure for measure in KINDS[kind] if measure.hears in HEARD[task]]
