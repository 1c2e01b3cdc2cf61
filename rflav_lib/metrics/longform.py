"""Long videos, window by window: feature drift and any distance over sliding windows (paper, Fig. 5).

The paper scores 240-frame videos in windows of 16 frames, and measures how far the features of window w have moved
from those of window 0. It leaves open the norm, whether the mean over videos is taken before or after it, and the
stride. Here: the Euclidean norm for each video, then the mean; stride 1 and non-overlapping are both one argument.

Real videos drift too, so a curve means something only beside the same curve of real videos of the same length:
`beyond` takes the difference, with its interval.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from rflav_lib.media import Clip
from rflav_lib.metrics.features import FeatureNetwork, resampled

Features = Callable[[Tensor], Tensor]
"""Clips uint8 (b k h w 3) -> features (b d)."""
Distance = Callable[[Tensor, Tensor], float]
"""Features (n d) of the reference, features (m d) of what is measured -> a number."""
Array = NDArray[np.float64]

WINDOW = 16
"""Frames of a window: what FVD's network looks at."""


@dataclass(frozen=True, eq=False)
class WindowFeatures:
    """Features of every window of every video.

    Attributes:
        starts: first frame of each window w.
        values: (w n d), float64: windows, videos, features.
        size: frames of a window.
    """

    starts: tuple[int, ...]
    values: Tensor
    size: int

    def __repr__(self) -> str:
        windows, videos, width = self.values.shape
        return f"WindowFeatures({windows} windows of {self.size} frames, {videos} videos, {width} features)"


@dataclass(frozen=True, eq=False)
class Curve:
    """A figure for each window, with a 95 % bootstrap interval over videos.

    Attributes:
        starts: first frame of each window w.
        value, low, high: (w,); low and high are NaN where no resamples were asked for.
        resampled: (resamples w), the curve of each set of videos drawn with replacement.
    """

    starts: tuple[int, ...]
    value: Array
    low: Array
    high: Array
    resampled: Array


def window_starts(length: int, size: int = WINDOW, stride: int = 1) -> range:
    """First frames of all windows of `size` frames that fit into `length`; stride = size: non-overlapping.

    Raises:
        ValueError: no window fits, or a stride or size below 1.
    """
    if size < 1 or stride < 1:
        raise ValueError(f"size and stride must be at least 1, got {size} and {stride}")
    if length < size:
        raise ValueError(f"a video of {length} frames has no window of {size}")
    return range(0, length - size + 1, stride)


def window_features(
    videos: Sequence[NDArray[np.uint8]],
    features: Features,
    size: int = WINDOW,
    stride: int = 1,
    batch: int = 32,
    progress: bool = False,
) -> WindowFeatures:
    """Features of every window of every video. Memory holds one batch of windows beside the videos.

    Args:
        videos: uint8 (k h w 3) each, all of one shape.
        features: the network, or a stand-in such as `PixelStatistics`.
        size: frames of a window.
        stride: frames from one window to the next.
        batch: windows at a time.
        progress: show a bar.

    Raises:
        ValueError: no videos, videos of different shapes (naming the first), or features that are not (b d) or not
            finite (naming video and frame).
    """
    _check_videos(videos)

    def cut(video: int, start: int) -> Tensor:
        return torch.from_numpy(videos[video][start : start + size])

    return _everywhere(cut, features, len(videos), len(videos[0]), size, stride, batch, progress)


@torch.no_grad()
def clip_windows(
    clips: Sequence[Clip],
    network: FeatureNetwork,
    size: int = WINDOW,
    stride: int = 1,
    batch: int = 32,
    progress: bool = False,
) -> WindowFeatures:
    """Features of every window of every clip, of its pictures or, for a network that listens, of its sound.

    Args:
        clips: of one length, size and rate.
        network: looks at pictures, or listens at its own `sample_rate`: sound at another is resampled once a clip.
        size: frames of a window.
        stride: frames from one window to the next.
        batch: windows at a time, unless the network fixes it.
        progress: show a bar.

    Raises:
        ValueError: as `window_features` does.
    """
    batch = network.batch_size or batch
    frames = [clip.frames for clip in clips]
    if network.sample_rate is None:
        return window_features(frames, network.features, size, stride, batch, progress)
    _check_videos(frames)
    samples = network.sample_rate / clips[0].frame_rate  # of a frame
    sounds = [torch.from_numpy(resampled(clip, network.sample_rate).waveform) for clip in clips]
    sounds = [F.pad(sound, (0, 2)) for sound in sounds]  # a clip, or resampling it, may lack a sample

    def cut(clip: int, start: int) -> Tensor:
        first = round(start * samples)
        return sounds[clip][first : first + round(size * samples)]

    return _everywhere(cut, network.features, len(clips), len(frames[0]), size, stride, batch, progress)


def _everywhere(
    cut: Callable[[int, int], Tensor],
    features: Features,
    videos: int,
    length: int,
    size: int,
    stride: int,
    batch: int,
    progress: bool,
) -> WindowFeatures:
    """`features` of what `cut(video, first frame)` gives, in batches."""
    starts = window_starts(length, size, stride)
    places = [(video, start) for start in starts for video in range(videos)]
    found = []
    for first in tqdm(range(0, len(places), batch), desc="windows", unit="batch", disable=not progress):
        here = places[first : first + batch]
        values = features(torch.stack([cut(*place) for place in here])).detach().to("cpu", torch.float64)
        if values.ndim != 2 or len(values) != len(here):
            raise ValueError(
                f"features of {len(here)} clips must have shape ({len(here)} d), got {tuple(values.shape)}"
            )
        bad = (~values.isfinite()).any(dim=1).nonzero().flatten().tolist()
        if bad:
            video, start = here[bad[0]]
            raise ValueError(
                f"the features of video {video}, frames {start} to {start + size - 1}, are not finite"
            )
        found.append(values)
    return WindowFeatures(tuple(starts), rearrange(torch.cat(found), "(w n) d -> w n d", n=videos), size)


def drift_curve(windows: WindowFeatures, resamples: int = 1000, seed: int = 0) -> Curve:
    """How far the features of window w are from those of window 0: Euclidean for each video, mean over videos."""
    moved = (windows.values - windows.values[:1]).norm(dim=-1).T.numpy()  # n w
    drawn = [moved[index].mean(axis=0) for index in _draws(len(moved), resamples, seed)]
    return _curve(windows.starts, moved.mean(axis=0), drawn)


def distance_curve(
    windows: WindowFeatures, reference: Tensor, distance: Distance, resamples: int = 0, seed: int = 0
) -> Curve:
    """Any distance between the videos' window w and one reference: the other curves of Fig. 5.

    Videos drawn with replacement lie further from anything, as fewer would. So only the *spread* of the resamples is
    used, about the value.

    Args:
        windows: of the videos that are measured.
        reference: features (n d) of real clips.
        distance: such as `rflav_lib.metrics.distances.frechet`.
        resamples: for the interval; each costs one distance a window.
        seed: of the resamples.

    Raises:
        ValueError: features of another width than the reference's.
    """
    if reference.ndim != 2 or reference.shape[1] != windows.values.shape[2]:
        raise ValueError(
            f"the reference must have shape (n {windows.values.shape[2]}), got {tuple(reference.shape)}"
        )
    reference = reference.double()

    def along(values: Tensor) -> Array:
        return np.array([distance(reference, window) for window in values])

    draws = _draws(windows.values.shape[1], resamples, seed)
    value = along(windows.values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # few videos: the line above has said so already
        drawn = np.array([along(windows.values[:, index]) for index in draws]).reshape(resamples, len(value))
    centred = drawn - drawn.mean(axis=0) + value if resamples else drawn
    return _curve(windows.starts, value, list(centred))


def rise(curve: Curve, first: int, last: int) -> dict[str, float]:
    """How much a curve climbs from the window that begins at frame `first` to the one at `last`, with its interval.

    Raises:
        ValueError: no window begins there.
    """
    for start in (first, last):
        if start not in curve.starts:
            raise ValueError(f"no window begins at frame {start}; windows begin at {curve.starts}")
    a, b = curve.starts.index(first), curve.starts.index(last)
    drawn = curve.resampled[:, b] - curve.resampled[:, a]
    low, high = np.quantile(drawn, (0.025, 0.975)) if len(drawn) else (np.nan, np.nan)
    return {"value": float(curve.value[b] - curve.value[a]), "low": float(low), "high": float(high)}


def beyond(generated: Curve, control: Curve) -> Curve:
    """Generated minus control, for each window, with the interval of the difference of two independent sets.

    Where the interval holds 0, generated videos move no further than real ones do.

    Raises:
        ValueError: windows that do not correspond, or curves without the same number of resamples.
    """
    if generated.starts != control.starts:
        raise ValueError(
            "the two curves have different windows: measure both with one length, size and stride"
        )
    if len(generated.resampled) != len(control.resampled):
        raise ValueError("the two curves need the same number of resamples")
    # the control's draws in another order: draws of one seed would hang together
    drawn = generated.resampled - control.resampled[::-1]
    return _curve(generated.starts, generated.value - control.value, list(drawn))


class PixelStatistics:
    """A stand-in for I3D that needs no weights: means and spreads over time of pixels shrunk to `side` x `side`.

    It sees where colours are and how much they move, and nothing of what is shown: name it wherever it is used.
    """

    def __init__(self, side: int = 4) -> None:
        self.side = side

    def __call__(self, clips: Tensor) -> Tensor:
        """Clips uint8 (b k h w 3) -> (b 2*3*side*side), colours in 0..1."""
        b = len(clips)
        frames = rearrange(clips, "b k h w c -> (b k) c h w").float() / 255
        small = rearrange(F.adaptive_avg_pool2d(frames, self.side), "(b k) c h w -> b k (c h w)", b=b)
        return torch.cat([small.mean(dim=1), small.std(dim=1, correction=0)], dim=1)

    def __repr__(self) -> str:
        return f"PixelStatistics({self.side}x{self.side}; a stand-in)"


def _check_videos(videos: Sequence[NDArray[np.uint8]]) -> None:
    if not len(videos):
        raise ValueError("there are no videos")
    for number, video in enumerate(videos):
        if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3:
            raise ValueError(f"video {number} must be uint8 (k h w 3), got {video.dtype} {video.shape}")
        if video.shape != videos[0].shape:
            raise ValueError(
                f"video {number} has shape {video.shape}, video 0 {videos[0].shape}: "
                "cut all to one length, and to one size"
            )


def _draws(count: int, resamples: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(count, size=(resamples, count))


def _curve(starts: tuple[int, ...], value: Array, drawn: Sequence[Array]) -> Curve:
    resampled = np.array(drawn).reshape(len(drawn), len(value))
    if len(resampled):
        low, high = np.quantile(resampled, (0.025, 0.975), axis=0)
    else:
        low = high = np.full(len(value), np.nan)
    return Curve(starts, value, low, high, resampled)
