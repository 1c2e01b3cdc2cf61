"""Are samples copies of training clips? A Fréchet distance to the training set rewards copying, so this is asked apart.

For each sample the nearest of a bank of training windows (`bank.py`), in feature space and in pixel space; the same for
real clips that no training saw. The figure is that of the data-copying test of Meehan, Chaudhuri and Dasgupta (2020):
the chance that a sample lies nearer to training than an unseen real clip does. 0.5 is what a perfect model has, above
that it copies, below that its samples are further off. The unseen clips go through the codecs of the model too: what
those lose moves samples off, whatever the model does (by loudness, copies that went through the bundled model's codecs
lie at 0.044, unseen clips that did not at 0.029).

What copies would have is measured, not assumed to be 1: training windows drawn at random go through the codecs of the
model, as if it had made them, and then the way of the samples. Where its clips are not in the bank, or where what the
codecs lose moves it further than unseen clips lie from training, a copy looks like any other sample, and the check sees
nothing. Of a model that copies in a share s of its samples, and is perfect else, the figure is 0.5 + s (c - 0.5), where
c is that of the copies.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn import functional as F

from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.metrics.features import resampled
from rflav_lib.metrics.jackknife import Clips, alone, jackknife

PIXELS = 16  # of a side, for distances between pictures: a copy with other details stays a copy
MEL = MelCodec(n_mels=64, peak=None)
QUIET = -4.0  # log-mel: what lies below, a vocoder does not give back


@dataclass(frozen=True)
class Nearest:
    """Of each clip: number of its nearest training window, and the distance (n,)."""

    index: Tensor
    distance: Tensor


@dataclass(frozen=True)
class Copying:
    """The chance that a sample is nearer to training than an unseen real clip, with its 95 % interval (jackknife)."""

    chance: float
    low: float
    high: float
    median: float
    median_unseen: float


def _small_frames(clip: Clip) -> Tensor:
    """A clip's frames at 16x16 -> uint8 (k, 3 * 16 * 16): whole grey levels, so that they can be kept."""
    frames = torch.from_numpy(clip.frames).permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(frames, PIXELS).round().byte().flatten(1)


def _bands(clip: Clip) -> Tensor:
    """A clip's sound -> (k, 64): mean natural log-mel of each tenth of a second, with what is quiet made equal."""
    sound = torch.from_numpy(resampled(clip, MEL.config.sample_rate).waveform)
    log_mel = rearrange(MEL.decode(MEL.encode(sound[None])), "1 m (k f) -> k m f", f=MEL.frames_per_segment)
    return log_mel.clamp(min=QUIET).mean(dim=-1)


def _middle(frames: Tensor) -> Tensor:
    """Without the first and the last: what is heard in them depends on where a window was cut out."""
    return frames[..., 1:-1, :] if frames.shape[-2] > 2 else frames


@dataclass(frozen=True)
class RawSpace:
    """A place to compare clips in that takes no network.

    Attributes:
        name: as it stands in tables.
        hears: whether it is of sound; else of pictures.
        of_frames: a clip -> its frames, (k p).
        kept: which of the frames of a window (... k p) are compared.
    """

    name: str
    hears: bool
    of_frames: Callable[[Clip], Tensor]
    kept: Callable[[Tensor], Tensor] = lambda frames: frames

    def points(self, windows: Tensor) -> Tensor:
        """Frames of windows (... k p) -> (... k * p) float32, so scaled that distances are root mean squares."""
        flat = self.kept(windows).float().flatten(-2)
        return flat / flat.shape[-1] ** 0.5

    def of_clips(self, clips: Iterable[Clip]) -> Tensor:
        """Clips -> (n d)."""
        return torch.stack([self.points(self.of_frames(clip)) for clip in clips])


SEEN = RawSpace(f"pixels, {PIXELS}x{PIXELS}", False, _small_frames)
"""Distances in grey levels, 0 to 255."""
HEARD = RawSpace("loudness in 64 bands", True, _bands, _middle)
"""Distances in nepers."""


def nearest(samples: Tensor, bank: Tensor) -> Nearest:
    """Samples (n d) and bank (m d) -> the nearest of the bank for each sample, Euclidean.

    Matrix products find it, which lose the last digits; its distance is then taken without them, so that that of a
    copy is 0.
    """
    half_squares = bank.square().sum(dim=1) / 2
    index = torch.cat([(half_squares - part @ bank.T).argmin(dim=1) for part in samples.split(256)])
    return Nearest(index, (samples - bank[index]).norm(dim=1))


def nearest_of_parts(samples: Tensor, parts: Iterable[Tensor]) -> Nearest:
    """As `nearest`, of a bank that comes in parts (m d), one in memory at a time; numbers count through all of them."""
    index = torch.zeros(len(samples), dtype=torch.long)
    distance = torch.full((len(samples),), torch.inf, dtype=samples.dtype)
    first = 0
    for part in parts:
        found = nearest(samples, part)
        closer = found.distance < distance
        index[closer], distance[closer] = found.index[closer] + first, found.distance[closer]
        first += len(part)
    return Nearest(index, distance)


def copying(
    samples: Nearest, unseen: Nearest, resamples: int, seed: int = 0, clips: tuple[Clips, Clips] | None = None
) -> Copying:
    """Compare distances to training: of samples, and of unseen real clips.

    Args:
        samples: what `nearest` has found for them.
        unseen: and for unseen real clips.
        resamples: parts of the clips, at most, that are left out in turn for the interval; 0 gives none.
        seed: of the share-out of clips.
        clips: that samples and unseen were made for, or cut from; None: each is a clip of its own.
    """
    ours, theirs = (each.distance.double().numpy() for each in (samples, unseen))
    value, low, high = _nearer(ours, theirs), np.nan, np.nan
    if resamples:
        sets = clips or (alone(len(ours), "samples"), alone(len(theirs), "unseen"))
        found = jackknife(lambda x, y: _nearer(ours[x], theirs[y]), sets, resamples, seed)
        low, high = np.clip(found.around(value), 0, 1).tolist()
    return Copying(value, low, high, float(np.median(ours)), float(np.median(theirs)))


def _nearer(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Chance that one of ours is smaller than one of theirs; ties count half."""
    return float(mannwhitneyu(theirs, ours).statistic / (len(ours) * len(theirs)))
