"""Long generated clips beside real ones: drift and distances (paper, Fig. 5), loops (Fig. 7), synchrony at both ends.

Every function takes generated and real clips of one length and returns plain numbers, ready for JSON. Real clips go
through the same measure: they drift, loop and are in time to some degree too, and only what differs is the model's.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rflav_lib.data.toy_scenes.dance import BPM
from rflav_lib.data.toy_trackers import av_offset
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.metrics.curves import Classes, Curve, beyond, mean, rise
from rflav_lib.metrics.distances import FAD_SCALE, Distance, frechet, kernel_distance
from rflav_lib.metrics.features import FeatureNetwork
from rflav_lib.metrics.intervals import median_with_interval, share_with_interval
from rflav_lib.metrics.longform import (
    WINDOW,
    PixelStatistics,
    WindowFeatures,
    clip_windows,
    distance_curve,
    drift_curve,
    window_features,
)
from rflav_lib.metrics.loop_table import Distances, pixel_distances
from rflav_lib.metrics.loops import beside, looping_share, read_loops
from rflav_lib.metrics.sync import AgainstChance, av_align, beat_alignment, over_clips, tempo
from rflav_lib.metrics.sync_classifier import SyncClassifier

TENTH = 9 * WINDOW  # where the tenth of the windows that do not overlap begins
REFERENCE = 500  # windows of real clips that distances are measured from
PART = 40  # frames at either end that synchrony is measured on
OTHER_LENGTHS = np.linspace(0.7, 1.4, 29)  # of windows and beats that nobody has: what chance gives
TEMPOS = np.linspace(*BPM, 801)  # of toy-dance, each as likely

Figures = dict[str, Any]


def drift_report(
    generated: Sequence[Clip],
    real: Sequence[Clip],
    reference: Sequence[Clip],
    networks: Sequence[FeatureNetwork],
    stride: int = 8,
    resamples: int = 1000,
    progress: bool = False,
    classes: Classes = None,
) -> dict[str, Figures]:
    """Fig. 5: for each network the drift of its features and its distances to real clips, window by window.

    Args:
        generated: what is measured.
        real: the control, as many clips of the same length.
        reference: further real clips of that length: what distances are measured from.
        networks: those that look and those that listen.
        stride: frames from one window to the next.
        resamples: for the intervals.
        progress: show bars.
        classes: of each clip, in both sets, if they take turns: intervals are over clips within classes.

    Returns:
        Title -> first frames of the windows, three curves ("generated", "real", "beyond": their difference), and what
        each climbs from the first window to the second ("jump") and to the tenth ("rise") of those that do not
        overlap, and to the very last one ("last"); and each curve's mean over all windows ("mean"). Intervals are over
        clips of this one model; they hold nothing of how models differ that are trained alike. A Fréchet distance of
        no more clips than it has features would say nothing: it is left out, and `"left out"` says why.
    """
    found: dict[str, Figures] = {}
    sets = {"generated": generated, "real": real}
    for network in networks:
        windows = {
            name: clip_windows(clips, network, stride=stride, progress=progress)
            for name, clips in sets.items()
        }
        values = clip_windows(reference, network, stride=WINDOW, progress=progress).values.flatten(0, 1)
        drawn = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))[:REFERENCE]
        found |= _distances(windows, values[drawn], network, resamples, classes)
        found[f"drift, {network.name}"] = _pair(
            {
                name: drift_curve(each, resamples, seed, classes)
                for seed, (name, each) in enumerate(windows.items())
            }
        )
    pixels = PixelStatistics()
    found[f"drift, {pixels}"] = _pair(
        {
            name: drift_curve(
                window_features([c.frames for c in clips], pixels, stride=stride), resamples, seed, classes
            )
            for seed, (name, clips) in enumerate(sets.items())
        }
    )
    return found


def _distances(
    windows: dict[str, WindowFeatures],
    reference: torch.Tensor,
    network: FeatureNetwork,
    resamples: int,
    classes: Classes,
) -> dict[str, Figures]:
    """Both distances of one network; the sound's Fréchet distance has the factor that published FADs have."""
    _, videos, width = windows["generated"].values.shape
    scale = 1.0 if network.sample_rate is None else FAD_SCALE
    titles = {
        f"Fréchet distance, {network.name}": frechet,
        f"kernel distance, {network.name}": kernel_distance,
    }
    found: dict[str, Figures] = {}
    for title, distance in titles.items():
        if distance is frechet and min(videos, len(reference)) <= width:
            found[title] = {
                "left out": f"{videos} clips for {width} features; it needs more clips than features"
            }
            continue
        factor = scale if distance is frechet else 1.0
        curves = {
            name: distance_curve(
                each, reference, partial(_scaled, distance, factor), resamples, seed, classes
            )
            for seed, (name, each) in enumerate(windows.items())
        }
        found[title] = _pair(curves)
    return found


def _pair(curves: dict[str, Curve]) -> Figures:
    """Generated, real and their difference; what each climbs from the first window to the second, tenth and last."""
    curves = {**curves, "beyond": beyond(curves["generated"], curves["real"])}
    starts = curves["real"].starts
    found: Figures = {"starts": list(starts)}
    for name, curve in curves.items():
        found[name] = {key: getattr(curve, key).tolist() for key in ("value", "low", "high")}
    for title, last in (("jump", WINDOW), ("rise", TENTH), ("last", starts[-1])):
        if last in starts:
            found[title] = {name: rise(curve, 0, last) for name, curve in curves.items()}
    found["mean"] = {name: mean(curve) for name, curve in curves.items()}
    return found


def loop_report(
    clips: Sequence[Clip],
    thresholds: dict[str, float],
    window: int,
    has_beat: bool,
    distances: Distances = pixel_distances,
) -> Figures:
    """Fig. 7: share of looping clips by each score, and what the loops are long as: beats, or the model's window?

    Args:
        clips: of the length that the thresholds were calibrated on.
        thresholds: score -> threshold.
        window: of the model, in frames.
        has_beat: whether the sound has a beat to compare with; it is read from each clip's sound.
        distances: of frames.

    Returns:
        Shares with Wilson intervals, every reading, and `periods` of the clips that loop by their depth.
    """
    readings = [read_loops(distances(clip.frames)) for clip in clips]
    beats = [
        60 * clip.frame_rate / tempo(clip.waveform, clip.sample_rate) if has_beat else math.nan
        for clip in clips
    ]
    loops = [
        (reading.lag, beat)
        for reading, beat in zip(readings, beats, strict=True)
        if reading.depth > thresholds["depth"]
    ]
    return {
        "clips": len(clips),
        "share": {
            name: looping_share([getattr(reading, name) for reading in readings], threshold)
            for name, threshold in thresholds.items()
        },
        "periods": periods(loops, window),
        "readings": [
            {
                **{name: getattr(reading, name) for name in ("depth", "lag", "spectral", "period")},
                "beat": beat,
            }
            for reading, beat in zip(readings, beats, strict=True)
        ],
    }


def periods(loops: Sequence[tuple[float, float]], window: float) -> Figures:
    """Shares of the loops (length, beat), in frames, that are a whole number of beats, of windows, of both.

    Each stands beside what chance gives it: the same loops beside other beats and windows, 0.7 to 1.4 times as long.
    Loops without a beat (NaN) are compared with the window alone.

    For dances that chance is not enough: their lengths are beats, so they may favour this very window (10 frames are
    two beats at 120 BPM). "on the window, by the dance" is what choreographies of as many beats give at all tempos of
    toy-dance; only what exceeds it comes from the window.
    """
    found: Figures = {"loops": len(loops), "window": window}
    with_beat = [(length, beat) for length, beat in loops if math.isfinite(beat)]

    def on(kind: str, factor: float = 1.0) -> list[bool]:
        if kind == "on_window":
            return [beside(length, length, factor * window).on_window for length, _ in loops]
        return [getattr(beside(length, factor * beat, window), kind) for length, beat in with_beat]

    for name, kind, known in (("window", "on_window", loops), ("beat", "on_beat", with_beat)):
        if known:
            found[f"on the {name}"] = share_with_interval(on(kind))
            found[f"on the {name}, by chance"] = float(
                np.mean([on(kind, factor) for factor in OTHER_LENGTHS])
            )
    if with_beat:
        found["on both"] = share_with_interval(on("confounded"))
        beats = [max(1, round(length / beat)) for length, beat in with_beat]
        alone = {count: by_dance(count, window) for count in set(beats)}
        found["on the window, by the dance"] = float(np.mean([alone[count] for count in beats]))
    return found


def by_dance(beats: int, window: float) -> float:
    """Share of the tempos of toy-dance at which a loop of so many beats is a whole number of windows."""
    return float(np.mean([beside(beats * 600 / bpm, 600 / bpm, window).on_window for bpm in TEMPOS]))


def sync_report(
    generated: Sequence[Clip],
    real: Sequence[Clip],
    classifier: SyncClassifier,
    mel: MelCodec,
    labels: Sequence[int | None],
) -> Figures:
    """Synchrony of the first and of the last four seconds, and over the whole length against chance.

    Args:
        generated: what is measured.
        real: the control.
        classifier: trained on other clips of this world.
        mel: settings that trackers hear with.
        labels: class of each clip, in both sets; None for a dance.

    Returns:
        "classifier": accuracy on aligned, shifted and shuffled pairs. "offset": what the trackers read. "AV-Align" and,
        for dances, "beats": score minus chance, also of each picture with the sound of the next clip.
    """
    sets = {"generated": generated, "real": real}
    found: Figures = {"classifier": {}, "offset": {}}
    for name, ends in {"first": (0, PART), "last": (-PART, None)}.items():
        parts = {kind: [clip.part(*ends) for clip in clips] for kind, clips in sets.items()}
        found["classifier"][name] = {kind: classifier.accuracy(clips) for kind, clips in parts.items()}
        found["offset"][name] = {kind: offsets(clips, mel, labels) for kind, clips in parts.items()}
    sets["generated, shuffled"] = [
        Clip(picture.frames, sound.waveform, picture.frame_rate, picture.sample_rate)
        for picture, sound in zip(generated, [*generated[1:], generated[0]], strict=True)
    ]
    scores: dict[str, Callable[[Clip], AgainstChance]] = {"AV-Align": av_align}
    if labels[0] is None:  # a dance has a beat; the figure of toy-dance is fastest on it
        scores["beats"] = lambda clip: beat_alignment(clip, kind="peaks")
    for title, score in scores.items():
        found[title] = {
            name: asdict(over_clips([score(clip) for clip in clips])) for name, clips in sets.items()
        }
    return found


def offsets(clips: Sequence[Clip], mel: MelCodec, labels: Sequence[int | None]) -> Figures:
    """What the trackers read: median size of the offset, and share of events with their sound within 100 ms."""
    read = [
        av_offset(clip.frames, mel.log_mel(torch.from_numpy(clip.waveform))[0].numpy(), label)
        for clip, label in zip(clips, labels, strict=True)
    ]
    sizes = [1000 * abs(each.seconds) for each in read if math.isfinite(each.seconds)]
    shares = [each.share for each in read if math.isfinite(each.share)]
    return {
        "clips with a measurable offset": share_with_interval(math.isfinite(each.seconds) for each in read),
        "median size (ms)": median_with_interval(sizes),
        "median share of events within 100 ms": median_with_interval(shares),
    }


def plain(value: Any) -> Any:
    """A report ready for JSON: floats to six digits, NaN and infinity as None, which is what JSON knows."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _scaled(distance: Distance, factor: float, x: Tensor, y: Tensor) -> float:
    return factor * distance(x, y)
