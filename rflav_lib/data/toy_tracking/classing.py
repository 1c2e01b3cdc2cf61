"""Telling the classes of toy-landscape apart, by picture alone and by sound alone.

A linear discriminant on a few hand-made features of what moves or sounds, never of the background. It is
fitted in closed form on freshly made real clips with a fixed seed, half of them blurred and noisy, their colours
wandering, so that imperfect generated clips are not foreign to it, and kept in memory: nothing is stored and
nothing depends on a trained network.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from rflav_lib.data.seeds import CLASSING_SEED
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.data.toy_scenes.canvas import SIZE
from rflav_lib.data.toy_tracking import hearing, seeing
from rflav_lib.data.toy_tracking.fits import Array
from rflav_lib.mel import MelCodec

WORLD = "toy-landscape"
FIT_CLIPS = 12
"""Clips of each class they are fitted on."""
SOUND_BANDS = 16


@dataclass(frozen=True)
class Discriminant:
    """Linear discriminant: the class with the largest features @ weight + bias."""

    weight: Array
    bias: Array

    def __call__(self, features: Array) -> int:
        """Class of one feature vector (n,)."""
        return int(np.argmax(features @ self.weight + self.bias))


def fit_discriminant(features: Array, labels: NDArray[np.intp]) -> Discriminant:
    """Fit to features (clips n) and labels (clips,): class means and one covariance shrunk towards its
    diagonal.
    """
    classes = np.unique(labels)
    means = np.stack([features[labels == c].mean(axis=0) for c in classes])
    centred = features - means[np.searchsorted(classes, labels)]
    covariance = centred.T @ centred / (len(features) - len(classes))
    diagonal = np.diag(np.diag(covariance) + 1e-6)
    weight = np.linalg.solve(0.95 * covariance + 0.05 * diagonal, means.T)
    return Discriminant(weight, -0.5 * (means.T * weight).sum(axis=0))


def picture_features(frames: NDArray[np.uint8]) -> Array | None:
    """What moves in frames (k h w 3): how much, how big, where to, how steadily; None if nothing stands out
    or moves.
    """
    colour, light = seeing.chroma(frames), seeing.excess(frames)
    change = np.abs(np.diff(seeing.brightness(frames), axis=0))
    strong = colour > seeing.MIN_CHROMA
    if len(frames) < 4 or max(colour.max(), light.max()) < 25 or change.max() < 15:
        return None
    saturated = strong.mean(axis=(1, 2))
    features = [*np.sqrt(np.quantile(saturated, (0.1, 0.5, 0.9)))]
    lasting = np.quantile(colour, (0.1, 0.3, 0.5), axis=0)  # together: each alone would sort anew
    features += [np.sqrt((part > seeing.MIN_CHROMA).mean()) for part in lasting]
    for field, floor in ((colour, 40.0), (light, 12.0)):
        mass = np.maximum(0.0, field - floor)
        total = mass.sum(axis=(1, 2))
        seen = total > 0
        features += [np.log1p(total.mean() / 100), np.log1p(total.std() / 100), seen.mean()]
        features += _travel(mass[seen], total[seen])
    upper, lower = change[:, :48], change[:, 50:]
    features += [np.log1p(part.mean() * 10) for part in (upper, lower)]
    features += [np.log1p(np.quantile(part.mean(axis=(1, 2)), 0.9) * 10) for part in (upper, lower)]
    return np.asarray(features, dtype=np.float64)


def _travel(mass: Array, total: Array) -> list[float]:
    """Six numbers on how the centre of mass (k h w) travels in x and y and how far the mass is spread."""
    if len(mass) < 2:
        return [0.0] * 6
    rows, columns = np.arange(mass.shape[1]) / 64, np.arange(mass.shape[2]) / 64
    down, across = mass.sum(axis=2) / total[:, None], mass.sum(axis=1) / total[:, None]
    y, x = down @ rows, across @ columns
    spread_y = np.sqrt(np.maximum(0, down @ rows**2 - y**2)).mean()
    spread_x = np.sqrt(np.maximum(0, across @ columns**2 - x**2)).mean()
    return [x.std(), y.std(), np.abs(np.diff(x)).mean(), np.abs(np.diff(y)).mean(), spread_x, spread_y]


def sound_features(log_mel: Array) -> Array | None:
    """What sounds in a log-mel (m n): per band its mean, variation and restlessness; None in silence."""
    if log_mel.shape[1] < 20 or float(np.max(log_mel)) < hearing.SILENCE:
        return None
    bands = np.stack([part.mean(axis=0) for part in np.array_split(log_mel.astype(np.float64), SOUND_BANDS)])
    bands = np.maximum(bands, -9.0)  # below that, a generated clip's silence is not a real clip's
    loudest = log_mel.max(axis=0)
    peakiness = loudest - log_mel.mean(axis=0)
    pitch = np.argmax(log_mel, axis=0) / len(log_mel)
    steps = np.abs(np.diff(pitch))
    whole = [peakiness.mean(), peakiness.std(), pitch.std(), steps.mean(), np.median(steps), loudest.std()]
    return np.concatenate(
        (bands.mean(axis=1), bands.std(axis=1), np.abs(np.diff(bands, axis=1)).mean(axis=1), whole)
    )


@functools.cache
def picture_model() -> Discriminant:
    """The classifier of `picture_features`, fitted at the first call (a few seconds)."""
    rng, features, labels = np.random.default_rng(CLASSING_SEED), [], []
    for index, label, frames, _ in _fit_clips():
        if index % 2:
            frames = _worse_picture(frames, rng)
        for part in (frames, frames[:16], frames[16:32]):
            features.append(picture_features(part))
            labels.append(label)
    return _fit(features, labels)


@functools.cache
def sound_model(m: int) -> Discriminant:
    """The classifier of `sound_features` for `m` mel bins, fitted at the first call (a few seconds)."""
    codec, rng, features, labels = MelCodec(n_mels=m), np.random.default_rng(CLASSING_SEED), [], []
    for index, label, _, waveform in _fit_clips():
        log_mel = codec.log_mel(torch.from_numpy(waveform))[0].numpy()
        if index % 2:
            log_mel = ndimage.gaussian_filter(log_mel, (0.6, 1.0)) + rng.normal(0, 0.3, log_mel.shape)
        for part in (log_mel, log_mel[:, :160], log_mel[:, 160:320]):
            features.append(sound_features(part))
            labels.append(label)
    return _fit(features, labels)


def _fit_clips() -> Iterator[tuple[int, int, NDArray[np.uint8], NDArray[np.float32]]]:
    for label in range(len(CLASSES[WORLD])):
        for index in range(FIT_CLIPS):
            clip = make_clip(WORLD, CLASSING_SEED, index, label=label).clip
            yield index, label, clip.frames, clip.waveform


def _worse_picture(frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A blurred and noisy version of frames, whose colours wander and fade: what they are of is still to be seen."""
    wandering = recoloured(frames, *_wandering_colours(len(frames), rng)).astype(np.float32)
    blurred = ndimage.gaussian_filter(wandering, (0.2, 0.8, 0.8, 0))
    return np.clip(blurred + soft_noise(len(frames), 16, 5, rng) + 0.5, 0, 255).astype(np.uint8)


def soft_noise(count: int, cells: int, strength: float, rng: np.random.Generator) -> Array:
    """Noise (k 64 64 3) of `cells` x `cells` patches with soft borders; `strength` is its standard deviation at their
    centres, in steps of a uint8.
    """
    noise = rearrange(
        torch.from_numpy(rng.normal(0, strength, (count, cells, cells, 3))), "k h w c -> k c h w"
    )
    # a thirtieth of the time of scipy's zoom, and the same to the last digits
    smooth = functional.interpolate(noise, size=(SIZE, SIZE), mode="bilinear", align_corners=True)
    return rearrange(smooth, "k c h w -> k h w c").numpy()


def _wandering_colours(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Turns of the hue (k,), and shares of the colour that are left (k,)."""
    turns = rng.normal(0, 0.03, count).cumsum()
    fading = ndimage.gaussian_filter1d(rng.normal(0, 1, count), 1.5, mode="wrap")
    return turns, 1 - 0.5 * np.clip(np.abs(fading), 0, 1)


def recoloured(frames: NDArray[np.uint8], turns: Array, left: Array) -> NDArray[np.uint8]:
    """Frames (k h w 3), their hues turned by `turns` (k,) of a circle, and `left` (k,) of their colour left."""
    cosine, sine = left * np.cos(2 * np.pi * turns), left * np.sin(2 * np.pi * turns) / np.sqrt(3)
    own, before, after = (1 + 2 * cosine) / 3, (1 - cosine) / 3 - sine, (1 - cosine) / 3 + sine
    rows = [[own, before, after], [after, own, before], [before, after, own]]  # a turn about the greys
    turns_of_rows = rearrange(np.array(rows), "i j k -> k 1 j i")
    turned = frames.astype(np.float32) @ turns_of_rows
    return np.clip(turned + 0.5, 0, 255).astype(np.uint8)


def _fit(features: list[Array | None], labels: list[int]) -> Discriminant:
    known = [(vector, label) for vector, label in zip(features, labels, strict=True) if vector is not None]
    vectors, kinds = zip(*known, strict=True)
    return fit_discriminant(np.stack(vectors), np.asarray(kinds))
