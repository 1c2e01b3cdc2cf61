"""Which networks an evaluation measures with, and which distances belong to each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rflav_lib.metrics.audioclip import AudioCLIP
from rflav_lib.metrics.comparison import METRICS
from rflav_lib.metrics.features import FeatureNetwork
from rflav_lib.metrics.i3d import I3D
from rflav_lib.metrics.stand_ins import MobileNetStandIn, YamnetStandIn
from rflav_lib.metrics.toy_classifier import ToyListener, ToyWatcher


@dataclass(frozen=True)
class Measure:
    """A network, and which distances are taken of its features: those that see, or those that hear.

    Attributes:
        key: names its features' files.
        load: opens the network.
        hears: whether its features are of sound.
        only: the single distance that it is for; "" for all.
        without: a distance that another network is for.
    """

    key: str
    load: Callable[[], FeatureNetwork]
    hears: bool
    only: str = ""
    without: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of `comparison.METRICS`."""
        names = (name for name, metric in METRICS.items() if metric.hears == self.hears)
        return tuple(name for name in names if name != self.without and self.only in ("", name))


KINDS: dict[str, tuple[Measure, ...]] = {
    "published": (
        Measure("i3d", I3D.load, hears=False),
        Measure("audioclip", AudioCLIP.load, hears=True, without="fad_mmd"),
        Measure("audioclip-mmd", partial(AudioCLIP.load, mode="mm_diffusion"), hears=True, only="fad_mmd"),
    ),
    # batch statistics, MM-Diffusion's other habit, belong to AudioCLIP: of stand-ins `fad_mmd` has its eps rule alone
    "stand-ins": (
        Measure("mobilenet", MobileNetStandIn.load, hears=False),
        Measure("yamnet", YamnetStandIn.load, hears=True),
    ),
    "toy": (
        Measure("watcher", ToyWatcher.load, hears=False),
        Measure("listener", ToyListener.load, hears=True),
    ),
}

HEARD = {"joint": (False, True), "a2v": (False,), "v2a": (True,), "real": (False, True)}
"""What of a row's clips was made, and so is measured: seen (False), heard (True)."""


def measures(kind: str, task: str = "real") -> list[Measure]:
    """The measures of one of `KINDS` for what a task makes: a given side is not measured."""
    return [measure for measure in KINDS[kind] if measure.hears in HEARD[task]]
