"""One small interface for all feature networks, and the loop that runs one over many clips.

A network says what it is (`name`, `layer`, `width`, `weights`) and has one method: `features(batch) -> (b d)`.
Video comes as uint8 `(b k h w 3)`, sound as float32 `(b s)` in [-1, 1] at the network's `sample_rate`.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn
from tqdm.auto import tqdm

from rflav_lib.media import Clip
from rflav_lib.metrics.feature_set import FeatureSet, Origin, library_versions


class FeatureNetwork(nn.Module):
    """A network whose outputs are compared.

    Attributes:
        name: what it is, as it stands in tables; a stand-in says so here.
        layer: which output.
        width: d, numbers a clip.
        weights: a checksum of its weights, short.
        sample_rate: of the sound it takes, in Hz; None for a network that looks at pictures.
        batch_size: clips at a time; fixed where a clip's features depend on those beside it, else None.
    """

    name: str
    layer: str
    width: int
    weights: str
    sample_rate: int | None = None
    batch_size: int | None = None

    @abstractmethod
    def features(self, batch: Tensor) -> Tensor:
        """uint8 frames (b k h w 3), or sound (b s) -> (b d), float32.

        Raises:
            ValueError: a batch of another shape or kind than this network takes.
        """


def resampled(clip: Clip, sample_rate: int) -> Clip:
    """The clip with its sound at another rate, by torchaudio's filter; the same clip if it has that rate."""
    if clip.sample_rate == sample_rate:
        return clip
    sound = torchaudio.functional.resample(torch.from_numpy(clip.waveform), clip.sample_rate, sample_rate)
    return Clip(clip.frames, sound.numpy(), clip.frame_rate, sample_rate)


def check_frames(batch: Tensor, at_least: int = 1) -> None:
    """Refuse what is no batch of clips of at least so many frames.

    Raises:
        ValueError: not uint8 (b k h w 3), or shorter.
    """
    if batch.ndim != 5 or batch.shape[-1] != 3 or batch.dtype != torch.uint8:
        raise ValueError(f"frames must be uint8 (b k h w 3), got {batch.dtype} {tuple(batch.shape)}")
    if batch.shape[1] < at_least:
        raise ValueError(f"clips of {batch.shape[1]} frames; this network needs at least {at_least}")


def check_sound(batch: Tensor) -> None:
    """Refuse what is no batch of sounds.

    Raises:
        ValueError: not floating point (b s), or NaN.
    """
    if batch.ndim != 2 or not batch.is_floating_point():
        raise ValueError(f"sound must be floating point (b s), got {batch.dtype} {tuple(batch.shape)}")
    if not batch.isfinite().all():
        raise ValueError("sound holds NaN or infinite values")


def origin_of(
    network: FeatureNetwork, *, data: str, samples: int, seed: int | None, resize: str, codec: str
) -> Origin:
    """What features of this network will say of themselves: see `Origin` and `extract`."""
    name = f"{network.name}, {network.weights}"
    return Origin(data, samples, seed, name, network.layer, resize, codec, library_versions())


@torch.no_grad()
def extract(
    network: FeatureNetwork,
    clips: Iterable[Clip],
    samples: int,
    *,
    data: str,
    seed: int | None,
    resize: str,
    codec: str,
    frames: int = 16,
    batch_size: int = 8,
    allow_silence: bool = False,
    first_number: int = 0,
    progress: bool = True,
) -> FeatureSet:
    """Features of the first `samples` clips, with their origin. Holds one batch of clips at a time.

    Args:
        network: what computes them; it runs where its weights are.
        clips: clips of `frames` frames, all of one size and rate.
        samples: N. Fewer clips are an error: none is ever counted twice.
        data: what is measured, in words; this and the next three go into the origin, see `Origin`.
        seed: of the draw.
        resize: how frames or sound came to their size or rate.
        codec: what the clips went through.
        frames: frames of each clip.
        batch_size: clips at a time, unless the network fixes it.
        allow_silence: let clips without any sound pass; to a network that listens they are an error else.
        first_number: what messages call the first clip, where these are a part of more.
        progress: show a progress bar.

    Raises:
        ValueError: fewer clips than asked, clips of another length, size or rate, silent clips, or features that
            are not finite: each names the clip by its number.
    """
    origin = origin_of(network, data=data, samples=samples, seed=seed, resize=resize, codec=codec)
    size = network.batch_size or batch_size
    if network.batch_size and samples % size:
        raise ValueError(
            f"{network.name} sees {size} clips at a time and its features depend on that: "
            f"take a multiple of {size} samples, not {samples}"
        )
    weight = next(network.parameters(), None)
    device = "cpu" if weight is None else weight.device
    source, first = iter(clips), None
    found: list[Tensor] = []
    with tqdm(total=samples, desc=network.name, unit="clip", disable=not progress) as bar:
        while (done := sum(map(len, found))) < samples:
            batch = list(islice(source, min(size, samples - done)))
            if not batch:
                raise ValueError(f"{data!r}: {samples} samples were asked for, but only {done} clips came")
            first = first or batch[0]
            for number, clip in enumerate(batch, start=first_number + done):
                try:
                    _check(clip, first, number, frames, network, allow_silence)
                except ValueError as error:
                    raise ValueError(f"{data!r}: {error}") from None
            found.append(network.features(_stack(batch, network).to(device)).cpu())
            if not found[-1].isfinite().all():
                row = int((~found[-1].isfinite().all(dim=1)).nonzero()[0])
                number = first_number + done + row
                raise ValueError(f"{data!r}: the features of clip {number} are not finite")
            bar.update(len(batch))
    return FeatureSet(torch.cat(found), origin)


def _check(clip: Clip, first: Clip, number: int, frames: int, network: FeatureNetwork, silence: bool) -> None:
    if len(clip) != frames:
        raise ValueError(f"clip {number} has {len(clip)} frames, {frames} are asked for")
    facts = (clip.frames.shape[1:3], clip.frame_rate, clip.sample_rate, len(clip.waveform))
    expected = (first.frames.shape[1:3], first.frame_rate, first.sample_rate, len(first.waveform))
    names = ("frame size", "frame rate", "sample rate", "number of samples")
    for name, mine, theirs in zip(names, facts, expected, strict=True):
        if mine != theirs:
            raise ValueError(f"clip {number} differs from the first one in its {name}: {mine}, not {theirs}")
    if network.sample_rate is None:
        return
    if clip.sample_rate != network.sample_rate:
        raise ValueError(
            f"clip {number} has {clip.sample_rate} Hz, {network.name} needs {network.sample_rate}: "
            f"use resampled(clip, {network.sample_rate}), and say so in `resize`"
        )
    if not silence and not np.any(clip.waveform):
        raise ValueError(f"clip {number} is silent; leave it out, or pass allow_silence=True and say so")


def _stack(clips: Sequence[Clip], network: FeatureNetwork) -> Tensor:
    if network.sample_rate is None:
        return torch.from_numpy(np.stack([clip.frames for clip in clips]))
    return torch.from_numpy(np.stack([clip.waveform for clip in clips])).float()
