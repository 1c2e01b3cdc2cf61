r"""Do long videos stay as good as they begin, and do they loop? The paper's Fig. 5 to 7 for any toy checkpoint.

    python benchmarks/longform.py --clips 70 --threads 1 --out results/longform-toy-landscape.json
    python benchmarks/longform.py --checkpoint checkpoints/toy-dance --world toy-dance --clips 66 --threads 1 \
        --out results/longform-toy-dance.json --figure docs/longform-toy-dance.png
    python benchmarks/longform.py                                             # 4 clips, to try it

Makes long clips (kept in outputs/longform: a run goes on where one was stopped) and measures them beside as many real
clips of the toy world, which drift, loop and are in time to some degree too: features and distances window by window,
loops with a threshold calibrated on clips known to loop or not, how good that test is, and synchrony at both ends.
All real clips, the control and those that distances are measured from, went through the model's codecs, as generated
ones do: what differs is not the codecs'. Intervals are over clips, within their classes, of this very model: how models
differ that are trained alike they do not tell.
Networks and LPIPS are stand-ins, named so, unless weights are given. Notebook 08 draws its figures from the file.
"""

import argparse
import base64
import io
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, nothing needs to be installed

from benchmarks.longform_text import Figures, lines
from rflav_lib import ROOT, experiments
from rflav_lib.allocator import keep_freed_memory
from rflav_lib.data.seeds import CONTROL_SEED, UNSEEN_SEED
from rflav_lib.data.toy import CLASSES
from rflav_lib.files import output_file, write_json
from rflav_lib.media import Clip
from rflav_lib.metrics import long_measures
from rflav_lib.metrics.audioclip import AudioCLIP
from rflav_lib.metrics.features import FeatureNetwork
from rflav_lib.metrics.i3d import I3D
from rflav_lib.metrics.long_clips import LongSettings, label_of, long_clips
from rflav_lib.metrics.loop_table import (
    CALIBRATION_SEED,
    TEST_SEED,
    Distances,
    judge,
    known_clips,
    lengths_found,
    pixel_distances,
)
from rflav_lib.metrics.loops import distance_matrix, read_loops
from rflav_lib.metrics.perceptual import Perceptual
from rflav_lib.metrics.sync_classifier import train_classifier
from rflav_lib.metrics.toy import world_of
from rflav_lib.metrics.toy_classifier import ToyListener, ToyWatcher
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.precision import DTYPES, quick_name
from rflav_lib.provenance import fingerprint, provenance

BUNDLED = ROOT / "checkpoints" / "toy-landscape"
REFERENCE_SEED = CONTROL_SEED  # real clips that distances are measured from; the control is UNSEEN_SEED's
REFERENCE_CLIPS = 40
SHORTEST = 160  # frames: ten windows that do not overlap
SHORT_LOOPS = 120  # frames: the loop test at the 12 s of an average AIST clip, and at the whole length
EXAMPLES = 2  # clips whose strip and matrix are kept


def real_clips(pipe: RFLAVPipeline, world: str, seed: int, count: int, frames: int) -> list[Clip]:
    """Real clips of a world, through codecs and stream; classes take turns, as they do in what is generated."""
    return experiments.coded(experiments.real(world, count, frames, seed), pipe, "real clips", True)


def networks(options: argparse.Namespace) -> list[FeatureNetwork]:
    """What looks and what listens: the published networks where their weights are given, else the stand-ins."""
    return [
        I3D.load(options.i3d) if options.i3d else ToyWatcher.load(),
        AudioCLIP.load(options.audioclip) if options.audioclip else ToyListener.load(),
    ]


def frame_distances(options: argparse.Namespace) -> tuple[str, Distances]:
    """Name and function of the distance of two frames."""
    if options.lpips is None:
        return "stand-in for LPIPS: pixels of 16x16", pixel_distances
    network = Perceptual.load(options.lpips)

    def distances(frames: np.ndarray) -> np.ndarray:
        return distance_matrix(network.rows(frames), squared=True)

    return f"{network.name}, {network.weights}", distances


def loops(
    generated: Sequence[Clip], real: Sequence[Clip], options: argparse.Namespace, window: int
) -> Figures:
    """The loop test at two lengths: how good it is on clips whose truth is known, and what it says about these."""
    name, distances = frame_distances(options)
    found: Figures = {"distance": name, "known clips": options.known}
    for frames in sorted({SHORT_LOOPS, options.frames}):
        calibration, test = (
            known_clips(seed, options.known, frames, distances, progress=True)
            for seed in (CALIBRATION_SEED, TEST_SEED)
        )
        table = judge(calibration, test)
        thresholds = {score: row["threshold"] for score, row in table.items()}
        found[f"{frames} frames"] = {
            "test": table,
            "length of the loop within 3 %": lengths_found(test),
            **{
                kind: long_measures.loop_report(
                    [clip.part(0, frames) for clip in clips],
                    thresholds,
                    window,
                    options.world == "toy-dance",
                    distances,
                )
                for kind, clips in (("generated", generated), ("real", real))
            },
        }
    return found


def example(clip: Clip, distances: Distances) -> Figures:
    """What a figure of one clip needs: a frame of every second, its matrix of distances, r(k) and its spectrum."""
    matrix = distances(clip.frames)
    reading = read_loops(matrix)
    strip = np.concatenate(clip.frames[:: round(clip.frame_rate)], axis=1)
    shades = (255 * matrix / max(matrix.max(), 1e-9)).round().astype(np.uint8)
    return {
        "strip": png(strip),
        "matrix": png(shades),
        "matrix maximum": float(matrix.max()),
        "r": reading.r.tolist(),
        "frequencies": reading.frequencies.tolist(),
        "amplitudes": reading.amplitudes.tolist(),
        **{name: getattr(reading, name) for name in ("depth", "lag", "spectral", "period")},
    }


def png(picture: np.ndarray) -> str:
    """uint8 (h w) or (h w 3) as PNG, base64."""
    held = io.BytesIO()
    Image.fromarray(picture).save(held, "png", optimize=True)
    return base64.b64encode(held.getvalue()).decode()


def measure(pipe: RFLAVPipeline, options: argparse.Namespace) -> Figures:
    """Make what is missing, and measure all."""
    settings = LongSettings(
        fingerprint(pipe), options.frames, options.steps_per_frame, options.dtype, options.seed
    )
    folder = options.folder or (
        ROOT / "outputs" / "longform" / f"{options.checkpoint.name}-{settings.model}-{options.frames}-"
        f"N{options.steps_per_frame}-{options.dtype}-{options.seed}"
    )
    generated = long_clips(pipe, options.clips, settings, folder)
    real = real_clips(pipe, options.world, UNSEEN_SEED, options.clips, options.frames)
    reference = real_clips(pipe, options.world, REFERENCE_SEED, REFERENCE_CLIPS, options.frames)
    window = pipe.transformer.config.window
    labels = [label_of(pipe, number) for number in range(options.clips)]
    used = networks(options)
    _, distances = frame_distances(options)
    return {
        "command": options.command,
        "settings": {
            **asdict(settings),
            **{name: getattr(options, name) for name in ("world", "clips", "stride", "resamples")},
            "checkpoint": options.checkpoint.name,
            "window": window,
            "seed of the real clips": UNSEEN_SEED,
            "real clips": "through the codecs",
            "intervals": "over clips, within classes",
            "networks": {network.name: f"{network.layer}; {network.weights}" for network in used},
        },
        "provenance": provenance(),
        "curves": long_measures.drift_report(
            generated, real, reference, used, options.stride, options.resamples, progress=True, classes=labels
        ),
        "loops": loops(generated, real, options, window),
        "sync": long_measures.sync_report(
            generated, real, train_classifier(options.world, progress=True), pipe.mel, labels
        ),
        "examples": {
            kind: [example(clip, distances) for clip in clips[:EXAMPLES]]
            for kind, clips in (("generated", generated), ("real", real))
        },
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED, help="pipeline folder of a toy model")
    parser.add_argument(
        "--world",
        choices=CLASSES,
        help="of the checkpoint; told by its classes, and needed where it has none",
    )
    parser.add_argument("--clips", type=int, default=4, help="generated, and real (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=240, help="of each (default: %(default)s)")
    parser.add_argument(
        "--steps-per-frame", type=int, default=2, help="N: Euler steps a frame (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default=quick_name("cpu"),
        help="of the sampler's matrix products (default: bfloat16 where the processor has instructions for it; here "
             "%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stride", type=int, default=8, help="from window to window (default: %(default)s)")
    parser.add_argument("--resamples", type=int, default=1000, help="for intervals (default: %(default)s)")
    parser.add_argument(
        "--known", type=int, default=60, help="dances that judge the loop test (default: %(default)s)"
    )
    parser.add_argument("--i3d", type=Path, help="i3d_pretrained_400.pt, instead of the toy watcher")
    parser.add_argument(
        "--audioclip", type=Path, help="AudioCLIP-Full-Training.pt, instead of the toy listener"
    )
    parser.add_argument("--lpips", type=Path, help="torchvision's AlexNet, instead of small pixels")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="where clips are kept (default: in outputs/longform)")
    parser.add_argument("--out", type=output_file, help="JSON file")
    parser.add_argument("--figure", type=output_file, help="PNG file: curves, strips and loops in one")
    options = parser.parse_args(arguments)
    for name in ("steps_per_frame", "stride", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    for name in ("clips", "known", "resamples"):
        if getattr(options, name) < 2:
            parser.error(f"--{name} must be at least 2, not {getattr(options, name)}")
    if options.frames < SHORTEST:
        parser.error(f"--frames must be at least {SHORTEST}, ten windows of 16, not {options.frames}")
    options.command = shlex.join(["python", "benchmarks/longform.py", *arguments])
    return options


def main(arguments: list[str]) -> int:
    """Measure, print, and write if asked to."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    try:
        pipe = RFLAVPipeline.from_pretrained(options.checkpoint)
        pipe.set_progress_bar_config(disable=True)
        options.world = world_of(pipe, options.world)
        report = long_measures.plain(measure(pipe, options))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the clips made so far are kept, and the same command goes on", file=sys.stderr)
        return 130
    print("\n".join(lines(report)))
    if options.out:
        write_json(options.out, report)
    if options.figure:
        from rflav_lib.view.longform import save_overview  # matplotlib is not needed otherwise

        save_overview(report, options.figure)
    return 0


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
