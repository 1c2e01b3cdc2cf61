"""The gallery: pictures of what the bundled models make and of what was measured on them, by one command.

    python -m rflav_lib.view.gallery                          # everything that can be drawn, to docs/gallery
    python -m rflav_lib.view.gallery --only offsets rain      # some of it

Filmstrips are the first clip of each class from one seed, not picked. Figures are drawn from the JSON files in
results/, where the measurements are kept: nothing is measured here.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image

from rflav_lib import ROOT
from rflav_lib.data.toy import CLASSES
from rflav_lib.files import read_json, whole
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.view import ablations, clip_display, forgetting, longform, remedies, style

LANDSCAPE, DANCE = "toy-landscape", "toy-dance"
OFFSETS, DRIFT, REMEDIES, LOOPS = "offsets", "drift", "remedies", "loops"
ABLATIONS, FORGETTING = "ablations", "forgetting"
FRAMES, STEPS_PER_FRAME, SEED = 40, 4, 0
WIDEST_MS = 60
"""Offsets further out are counted in the last bins."""
BIN_MS = 4

Report = dict[str, Any]


class MissingError(ValueError):
    """What a picture is drawn from is not there."""


def filmstrips(checkpoint: Path, names: tuple[str, ...] = ()) -> Iterator[Clip]:
    """A clip for each class named, or one without a class where none is, from seed `SEED` at N = 4.

    Raises:
        MissingError: no such checkpoint. ValueError: it is damaged, or of another kind.
    """
    if not checkpoint.is_dir():
        train = f"accelerate launch -m rflav_lib.train configs/{checkpoint.name}.yaml"
        raise MissingError(f"{checkpoint} is not there; to train it: {train}")
    pipeline = RFLAVPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    for name in names or (None,):  # each on its own, so that the same seed draws it alone and with others
        generator = torch.Generator().manual_seed(SEED)
        yield pipeline(FRAMES, STEPS_PER_FRAME, name, generator=generator)[0]


def offset_histogram(report: Report) -> Figure:
    """How late the sound is, in generated clips beside real ones: a histogram each, one above the other.

    `report` is what `python -m rflav_lib.metrics.toy --out` wrote.
    """
    sets = {name: report["readings"][name] for name in ("generated", "real")}
    figure = Figure(figsize=(7, 3.2), dpi=100, layout="constrained")
    bins = range(-WIDEST_MS, WIDEST_MS + 1, BIN_MS)
    for axes, (name, readings), colour, hatch in zip(
        figure.subplots(2, 1, sharex=True), sets.items(), style.COLOURS[1:], ("", "//"), strict=False
    ):
        offsets = [reading["offset_ms"] for reading in readings if reading["offset_ms"] is not None]
        inside = [min(max(offset, -WIDEST_MS), WIDEST_MS) for offset in offsets]
        axes.hist(inside, bins, color=colour, edgecolor="white", linewidth=0.5, hatch=hatch)
        axes.axvline(0, color="black", linewidth=0.8, linestyle=":")
        unread = len(readings) - len(offsets)
        label = f"{name}: {len(readings)} clips"
        axes.set_title(label + (f", {unread} without an offset" if unread else ""), loc="left", fontsize=9)
        axes.set_ylabel("clips", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(
        f"sound later than picture (ms), median of a clip's events; beyond {WIDEST_MS} ms in the last bar",
        fontsize=8,
    )
    return figure


def drift_curves(report: Report) -> Figure:
    """Each measure window by window, generated beside real: `benchmarks/longform.py` measured them."""
    panels = sum("left out" not in each for each in report["curves"].values())
    return _titled(report, longform.curves, 2.3 * -(-panels // longform.COLUMNS))


def remedy_curves(report: Report) -> Figure:
    """What helps against drift, window by window: `benchmarks/drift.py` measured it."""
    return _drawn(report, remedies.curves, 5.6)


def ablation_differences(report: Report) -> Figure:
    """Each setting against another one, seed by seed: `benchmarks/ablations.py` measured it."""
    return _drawn(report, ablations.differences, 4.2)


def forgetting_curves(report: Report) -> Figure:
    """How often a colour is remembered, by the time out of sight: `benchmarks/forgetting.py` measured it."""
    return _drawn(report, forgetting.curves, 3.4)


def loop_matrix(report: Report) -> Figure:
    """Distances of all pairs of frames of one generated and one real clip, and what the loop test makes of them."""
    return _titled(report, longform.self_similarity, 4.4)


def _titled(report: Report, draw: Callable[..., Any], height: float) -> Figure:
    """What `draw` draws, under a title that says of which clips."""
    settings = report["settings"]
    figure = _drawn(report, draw, height + 0.3)
    figure.suptitle(
        f"{settings['world']}: {settings['clips']} clips of {settings['frames']} frames, "
        f"N = {settings['steps_per_frame']}",
        fontsize=9,
    )
    return figure


def _drawn(report: Report, draw: Callable[..., Any], height: float) -> Figure:
    """What `draw` draws, on a figure as wide as all."""
    figure = Figure(figsize=(9.5, height), dpi=100, layout="constrained")
    draw(report, figure=figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file with a palette, on white: small, and readable on dark pages too."""
    plain, small = BytesIO(), BytesIO()
    figure.savefig(plain, format="png", facecolor="white")
    Image.open(plain).convert("RGB").quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True
    )
    return small.getvalue()


def read_report(path: Path, command: str) -> Report:
    """A measurement. Raises MissingError where it is not there, ValueError where it is not readable."""
    if not path.is_file():
        raise MissingError(f"{path} is not there; measure it: {command}")
    return read_json(path)


def pictures(root: Path = ROOT) -> dict[str, Callable[[], bytes]]:
    """Name -> how to draw it, as a PNG file; each raises MissingError where its source is not there."""
    drawn: dict[str, Callable[[], bytes]] = {}
    for name in CLASSES[LANDSCAPE]:
        drawn[name] = partial(_strip, root / "checkpoints" / LANDSCAPE, (name,))
    drawn[DANCE] = lambda: _strip(root / "checkpoints" / DANCE)
    measured = root / "results" / f"{LANDSCAPE}.json"
    drawn[OFFSETS] = lambda: png(
        offset_histogram(
            read_report(measured, f"python -m rflav_lib.metrics.toy checkpoints/{LANDSCAPE} --out {measured}")
        )
    )
    drawn[DRIFT] = lambda: png(drift_curves(_long_clips(root, LANDSCAPE)))
    compared: dict[str, tuple[Callable[[Report], Figure], str, str]] = {
        REMEDIES: (remedy_curves, "drift", "python benchmarks/drift.py --seeds 0 --threads 2"),
        ABLATIONS: (ablation_differences, "ablations", "python -m benchmarks.ablations"),
        FORGETTING: (forgetting_curves, "forgetting", "python -m benchmarks.forgetting --seeds 0"),
    }
    for name, (draw, file, command) in compared.items():
        drawn[name] = partial(_comparison, draw, root / "results" / f"{file}.json", command)
    # a landscape has no loop to find; a dance has, if its model was measured
    drawn[LOOPS] = lambda: png(loop_matrix(_long_clips(root, DANCE, LANDSCAPE)))
    return drawn


def _comparison(draw: Callable[[Report], Figure], path: Path, command: str) -> bytes:
    return png(draw(read_report(path, f"{command} --out {path}")))


def _long_clips(root: Path, *worlds: str) -> Report:
    """The measurement of long clips of the first of `worlds` that has one; the last must."""
    paths = [root / "results" / f"longform-{world}.json" for world in worlds]
    path = next((path for path in paths if path.is_file()), paths[-1])
    return read_report(path, f"python benchmarks/longform.py --out {path}")


def _strip(checkpoint: Path, names: tuple[str, ...] = ()) -> bytes:
    (clip,) = filmstrips(checkpoint, names)
    return clip_display.png(clip)


def main(arguments: list[str] | None = None) -> int:
    """Draw what can be drawn; say what was left out, and why."""
    available = pictures()
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.view.gallery", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "gallery", help="folder (default: docs/gallery)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=available, metavar="NAME", help=f"of {', '.join(available)}"
    )
    options = parser.parse_args(arguments)
    for name in options.only or available:
        try:
            picture = available[name]()
        except MissingError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
            if options.only:
                return 2
            continue
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        path = options.out / f"{name}.png"
        with whole(path) as draft:
            draft.write_bytes(picture)
        print(f"{path} ({len(picture) / 1000:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
