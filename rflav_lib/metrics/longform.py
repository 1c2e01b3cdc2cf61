"""Long videos, window by window: feature drift and any distance over sliding windows (paper, Fig. 5).

The paper scores 240-frame videos in windows of 16 frames, and measures how far the features of window w have moved
from those of window 0. It leaves open the norm, whether the mean over videos is taken before or after it, and the
stride. Here: the Euclidean norm for each video, then the mean; stride 1 and non-overlapping are both one argument.

Real videos drift too, so a curve means something only beside the same curve of real videos of the same length:
`curves.beyond` takes the difference, with its interval.
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
from rflav_lib.metrics.curves import Array, Classes, Curve, with_interval, within_classes
from rflav_lib.metrics.features import FeatureNetwork, resampled

Features = Callable[[Tensor], Tensor]
"""Clips uint8 (b k h w 3) -> features (b d)."""
Distance = Callable[[Tensor, Tensor], float]
"""Features (n d) of the reference, features (m d) of what is measured -> a number."""

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
    stride: int = 1,
    batch: int = 32,
    progress: bool = False,
) -> WindowFeatures:
    """Features of every window (`WINDOW` frames) of every clip, of its pictures or, for a network that listens, of its
    sound.

    Args:
        clips: of one length, size and rate.
        network: looks at pictures, or listens at its own `sample_rate`: sound at another is resampled once a clip.
        stride: frames from one window to the next.
        batch: windows at a time, unless the network fixes it.
        progress: show a bar.

    Raises:
        ValueError: as `window_features` does.
    """
    batch = network.batch_size or batch
    frames = [clip.frames for clip in clips]
    if network.sample_rate is None:
        return window_features(frames, network.features, WINDOW, stride, batch, progress)
    _check_videos(frames)
    samples = network.sample_rate / clips[0].frame_rate  # of a frame
    sounds = [torch.from_numpy(resampled(clip, network.sample_rate).waveform) for clip in clips]
    sounds = [F.pad(sound, (0, 2)) for sound in sounds]  # a clip, or resampling it, may lack a sample

    def cut(clip: int, start: int) -> Tensor:
        first = round(start * samples)
        return sounds[clip][first : first + round(WINDOW * samples)]

    return _everywhere(cut, network.features, len(clips), len(frames[0]), WINDOW, stride, batch, progress)


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


def drift_curve(
    windows: WindowFeatures, resamples: int = 1000, seed: int = 0, classes: Classes = None
) -> Curve:
    """How far the features of window w are from those of window 0: Euclidean for each video, mean over videos.

    Args:
        windows: of the videos that are measured.
        resamples: for the interval; 0: none.
        seed: of the resamples.
        classes: of each video, if classes take turns; see `rflav_lib.metrics.curves`.
    """
    moved = (windows.values - windows.values[:1]).norm(dim=-1).T.numpy()  # n w
    shares = within_classes(moved / len(moved), classes)
    return with_interval(windows.starts, moved.mean(axis=0), shares, resamples, seed, classes)


def distance_curve(
    windows: WindowFeatures,
    reference: Tensor,
    distance: Distance,
    resamples: int = 0,
    seed: int = 0,
    classes: Classes = None,
) -> Curve:
    """Any distance between the videos' window w and one reference: the other curves of Fig. 5.

    A set in which classes take turns has fewer pairs of one class than independent draws would have, so a kernel
    distance comes out a little low: alike in all windows, and in generated and real sets of one size.

    Args:
        windows: of the videos that are measured.
        reference: features (n d) of real clips.
        distance: such as `rflav_lib.metrics.distances.frechet`.
        resamples: for the interval, which costs one distance for each video and window; 0: none. Less than 3 videos
            have none either: it is NaN.
        seed: of the resamples.
        classes: of each video, if classes take turns; see `rflav_lib.metrics.curves`.

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

    value = along(windows.values)
    count = windows.values.shape[1]
    shares = np.full((count, len(value)), np.nan)
    if resamples and count > 2:
        everyone = torch.arange(count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # few videos: the line above has said so already
            without = np.array([along(windows.values[:, everyone != video]) for video in everyone])
        shares = within_classes(-(count - 1) / count * without, classes)
    return with_interval(windows.starts, value, shares, resamples, seed, classes)


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
