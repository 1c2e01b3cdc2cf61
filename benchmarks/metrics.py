"""What FVD, KVD and FAD cost: the distances once features exist, and the features one clip at a time against batches.

    python benchmarks/metrics.py                       # 2048 samples, 16 clips: some minutes on one CPU core
    python benchmarks/metrics.py --clips 0             # the distances alone: half a minute

Networks have random weights: they cost what the published ones cost. See benchmarks/README.md.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.files import output_file, write_json
from rflav_lib.metrics.audioclip import SAMPLE_RATE, AudioCLIP
from rflav_lib.metrics.comparison import METRICS, compare
from rflav_lib.metrics.feature_set import FeatureSet, Origin, library_versions
from rflav_lib.metrics.features import FeatureNetwork, extract, resampled
from rflav_lib.metrics.i3d import I3D
from rflav_lib.provenance import provenance

WIDTHS = {"fvd": I3D.width, "kvd": I3D.width, "fad_exact": AudioCLIP.width, "fad_mmd": AudioCLIP.width}
RESAMPLES = 3  # timed, for the cost of one


def made_up(samples: int, width: int, seed: int) -> FeatureSet:
    """Features with a spectrum that falls from 1 to 1e-6, as learned features have it."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(samples, width, generator=generator, dtype=torch.float64)
    values *= torch.logspace(0, -3, width, dtype=torch.float64)
    return FeatureSet(
        values,
        Origin("made up", samples, seed, "none", f"{width} numbers", "none", "none", library_versions()),
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def distance_seconds(samples: int) -> dict[str, dict[str, float]]:
    """Seconds of each distance, and of one draw of its interval."""
    seconds = {}
    for metric, width in WIDTHS.items():
        first, second = made_up(samples, width, 1), made_up(samples, width, 2)
        value = timed(partial(compare, first, second, metric, resamples=0))
        drawn = timed(partial(compare, first, second, metric, resamples=RESAMPLES))
        seconds[metric] = {"value": value, "resample": max(0.0, drawn - value) / RESAMPLES}
    return seconds


def feature_seconds(clips: int, batch: int, device: str) -> dict[str, dict[str, float]]:
    """Seconds a clip of each network, one clip at a time and in batches."""
    toys = [make_clip("toy-landscape", 0, index, 16).clip for index in range(clips)]
    networks: dict[str, tuple[FeatureNetwork, Sequence[Any]]] = {
        "I3D": (I3D(), toys),
        "AudioCLIP": (AudioCLIP("exact"), [resampled(clip, SAMPLE_RATE) for clip in toys]),
    }
    seconds = {}
    for name, (network, source) in networks.items():
        network.to(device)

        def run(
            size: int, count: int, network: FeatureNetwork = network, source: Sequence[Any] = source
        ) -> None:
            extract(
                network, source, count, data="toy", seed=0, resize="none", codec="none",
                batch_size=size, allow_silence=True, progress=False,
            )  # fmt: skip

        run(2, 2)  # warm-up
        single, batched = timed(partial(run, 1, clips)), timed(partial(run, batch, clips))
        seconds[name] = {"one at a time": single / clips, "batched": batched / clips}
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2048, help="N of the distances")
    parser.add_argument("--clips", type=int, default=16, help="clips through each network; 0 leaves that out")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--out", type=output_file, help="write JSON")
    options = parser.parse_args(arguments)
    for name, least in (("samples", 2), ("clips", 0), ("batch", 1), ("threads", 1)):
        if (value := getattr(options, name)) is not None and value < least:
            parser.error(f"--{name} must be at least {least}, not {value}")
    if options.clips == 1:
        parser.error("--clips must be at least 2, or 0 to leave that out, not 1")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here")
    if options.threads:
        torch.set_num_threads(options.threads)

    distances = distance_seconds(options.samples)
    print(f"distances of {options.samples} and {options.samples} samples, features at hand")
    for metric, seconds in distances.items():
        print(
            f"  {METRICS[metric].title:24}{WIDTHS[metric]:6} wide {seconds['value']:8.2f} s"
            f"   each draw of the interval {seconds['resample']:6.2f} s"
        )
    print(f"  together {sum(seconds['value'] for seconds in distances.values()):.2f} s")
    features = feature_seconds(options.clips, options.batch, options.device) if options.clips else {}
    for name, seconds in features.items():
        ratio = seconds["one at a time"] / seconds["batched"]
        print(
            f"{name}: {seconds['batched']:.3f} s a clip in batches of {options.batch}, "
            f"{ratio:.2f} times as fast as one by one"
        )
    if options.out:
        command = shlex.join(["python", "benchmarks/metrics.py", *(arguments or sys.argv[1:])])
        facts = {"command": command, "samples": options.samples, "distances": distances, "features": features}
        write_json(options.out, {**facts, "provenance": provenance(options.device)})


if __name__ == "__main__":
    main()
