"""Do sound and picture happen together? AV-Align and beat alignment, always beside chance.

At 10 frames a second AV-Align's tolerance of one frame makes chance agree by a fifth to a half, and truly synchronous
clips are often below it. So no function here gives a bare score: `AgainstChance` holds the score, what the same clip
scores with its sound shifted in a circle, the difference, and how many standard deviations of the shifts it is.

AV-Align (Yariv et al., TempoTokens, with the one-to-one rule of its correction of 2025-02) compares onsets of the
sound with peaks of the motion. Here the energy of frame differences takes the place of optical flow: on real clips the
two curves correlate 0.7 to 0.98 and give the same scores. Beat alignment comes in two kinds that are not
interchangeable: AIST++ averages over beats of the motion, Bailando over beats of the music.

On the toy worlds the true offset is known: `rflav_lib.data.toy_trackers.av_offset` reads it, to 20 ms.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.metrics.intervals import middle
from rflav_lib.numbers_given import finite_number

Array = NDArray[np.float64]
Beat = Literal["peaks", "rests"]
Over = Literal["motion", "music"]
Score = Callable[[Array, Array], float]

ONSET_RATE = 100  # values a second of an onset curve
ONSET_LAG = 1.5  # columns: half of one, and one because a rise shows before the window's middle reaches it
MEL_BINS = 40
BASS_HZ = 250.0
DYNAMIC_RANGE = math.log(1e4)  # 80 dB: what is softer than this below the loudest counts as silence
SHIFTS = 40
TEMPO_RANGE = (70.0, 150.0)  # beats a minute; a factor of two would leave the octave open
BPM_RANGE = (20.0, 1000.0)  # of a tempo that is told; onset curves have 100 values a second
BEAT_SIGMA = 0.05  # s: 3 frames at the 60 fps of AIST++, as both papers have it; half a frame at 10 fps
TIGHTNESS = 100.0  # how much a beat tracker prefers an even beat to a strong onset, as in librosa


@dataclass(frozen=True)
class AgainstChance:
    """A score of one clip beside what chance gives it.

    Attributes:
        score: as defined; alone it says nothing.
        chance: mean score with the sound shifted in a circle.
        excess: score - chance.
        z: excess in standard deviations of the shifted scores; NaN where all shifts score the same.
        spread: the standard deviation of the shifted scores.
    """

    score: float
    chance: float
    excess: float
    z: float
    spread: float


@dataclass(frozen=True)
class OverClips:
    """The excess over chance of a set of clips.

    Attributes:
        excess, low, high: mean over clips and its 95 % bootstrap interval.
        z: the mean in units of its standard error by chance alone, from the clips' shifts.
        clips: how many counted. skipped: how many had nothing to compare (no onset, or no motion).
    """

    excess: float
    low: float
    high: float
    z: float
    clips: int
    skipped: int


def onset_curve(waveform: NDArray[np.float32], sample_rate: int, bass: bool = False) -> Array:
    """Onset strength (100 a second): mean rise of the log-mel from one column to the next.

    A sudden sound peaks at its first sample, to 5 ms, when value i is taken to be at (i + 1.5) / 100 s.

    Args:
        waveform: mono.
        sample_rate: a multiple of 100.
        bass: add what lies below 250 Hz with a weight of its own: drums that carry a beat do.

    Raises:
        ValueError: a sample rate that is no multiple of 100, or sound that is too short for a spectrum.
    """
    hop, rest = divmod(sample_rate, ONSET_RATE)
    if rest:
        raise ValueError(
            f"sample_rate must be a multiple of {ONSET_RATE}, got {sample_rate}: resample the sound"
        )
    size = (5 if hop % 2 else 4) * hop
    codec = _codec(sample_rate, size, hop)
    log_mel = codec.log_mel(torch.from_numpy(waveform))[0].double()
    rise = (
        log_mel.clamp(min=float(log_mel.max()) - DYNAMIC_RANGE)
        .diff(dim=1, prepend=log_mel[:, :1])
        .clamp(min=0)
    )
    whole = rise.mean(dim=0).numpy()
    if not bass:
        return whole
    low = rise[codec.filter_bank.argmax(dim=0) * sample_rate / size < BASS_HZ].mean(dim=0).numpy()
    return sum(weight * each / max(each.std(), 1e-9) for weight, each in ((1, whole), (2, low)))


@functools.cache
def _codec(sample_rate: int, size: int, hop: int) -> MelCodec:
    return MelCodec(sample_rate, ONSET_RATE, size, size, hop, MEL_BINS, 0.0, sample_rate / 2)


def motion_curve(frames: NDArray[np.uint8]) -> Array:
    """Motion (k,): mean change of grey levels (0..1) from the frame before; value k is at k / frame_rate."""
    grey = frames.astype(np.float64).mean(axis=-1) / 255
    return np.concatenate([[0.0], np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))])


def onset_times(waveform: NDArray[np.float32], sample_rate: int) -> Array:
    """Times of the onsets in s: peaks that stand out by a fifth of the strongest, at least 50 ms apart."""
    return _peaks(onset_curve(waveform, sample_rate), 0.2, ONSET_RATE // 20, ONSET_LAG) / ONSET_RATE


def motion_times(frames: NDArray[np.uint8], frame_rate: float, kind: Beat = "peaks") -> Array:
    """Times in s at which motion is fastest ("peaks") or slowest ("rests"), read between frames by a parabola.

    Dancers are said to rest on the beat (AIST++); the figure of toy-dance is fastest on it.

    Raises:
        ValueError: another kind.
    """
    _check_choice(kind, "kind", Beat)
    curve = motion_curve(frames)
    return _peaks(curve if kind == "peaks" else -curve, 0.1, 1, 0.0) / frame_rate


def _peaks(curve: Array, share: float, apart: int, offset: float) -> Array:
    """Places of the maxima that stand out by `share` of the curve's range."""
    found, _ = find_peaks(curve, prominence=max(share * np.ptp(curve), 1e-9), distance=apart)
    below, here, above = curve[found - 1], curve[found], curve[found + 1]
    return found + offset + 0.5 * (below - above) / np.minimum(below - 2 * here + above, -1e-12)


def one_to_one(sounds: Array, sights: Array, tolerance: float) -> int:
    """How many sounds find a sight strictly within `tolerance` s: the first unused one, in order of time."""
    used = np.zeros(len(sights), bool)
    for sound in np.sort(sounds):
        near = np.flatnonzero((np.abs(sights - sound) < tolerance) & ~used)
        used[near[:1]] = True
    return int(used.sum())


def intersection_over_union(sounds: Array, sights: Array, tolerance: float) -> float:
    """AV-Align's score: pairs / (sounds + sights - pairs); NaN where there is nothing at all."""
    pairs = one_to_one(sounds, np.sort(sights), tolerance)
    union = len(sounds) + len(sights) - pairs
    return pairs / union if union else math.nan


def against_chance(
    score: Score, sounds: Array, sights: Array, duration: float, shifts: int = SHIFTS
) -> AgainstChance:
    """`score(sounds, sights)` beside its mean over `shifts` even circular shifts of the sounds.

    All NaN where sounds or sights are missing: there is nothing to be in time with.
    """
    if not len(sounds) or not len(sights):
        return AgainstChance(*[math.nan] * 5)
    by = duration * np.arange(1, shifts + 1) / (shifts + 1)
    shifted = np.array([score(np.sort((sounds + each) % duration), sights) for each in by])
    value, chance, spread = score(sounds, sights), float(shifted.mean()), float(shifted.std(ddof=1))
    z = (value - chance) / spread if spread > 0 else math.nan
    return AgainstChance(value, chance, value - chance, z, spread)


def av_align(clip: Clip) -> AgainstChance:
    """AV-Align of a clip against chance: onsets of the sound, peaks of the motion, one frame of tolerance."""
    sounds = onset_times(clip.waveform, clip.sample_rate)
    sights = motion_times(clip.frames, clip.frame_rate)
    tolerance = 1 / clip.frame_rate

    def score(sounds: Array, sights: Array) -> float:
        return intersection_over_union(sounds, sights, tolerance)

    return against_chance(score, sounds, sights, clip.duration)


def beat_alignment(
    clip: Clip,
    over: Over = "motion",
    kind: Beat = "rests",
    bpm: float | None = None,
) -> AgainstChance:
    """How near beats of motion and music are: mean of exp(-d^2 / (2 sigma^2)), against chance; sigma is `BEAT_SIGMA`.

    Args:
        clip: a dance.
        over: the mean is over beats of the "motion" (AIST++), or of the "music" (Bailando); d is to the nearest other.
        kind: what a beat of the motion is: "rests" as both papers have it, or "peaks".
        bpm: the tempo where it is known (AIST's file names tell); else it is estimated.

    Raises:
        ValueError: another word for `over` or `kind`, or a tempo that is none.
    """
    _check_choice(over, "over", Over)
    beats = beat_times(clip.waveform, clip.sample_rate, bpm)
    moves = motion_times(clip.frames, clip.frame_rate, kind)

    def score(beats: Array, moves: Array) -> float:
        gaps = np.abs(beats[:, None] - moves[None]).min(axis=0 if over == "motion" else 1)
        return float(np.exp(-(gaps**2) / (2 * BEAT_SIGMA**2)).mean())

    return against_chance(score, beats, moves, clip.duration)


def tempo(waveform: NDArray[np.float32], sample_rate: int) -> float:
    """Beats a minute between 70 and 150, from the autocorrelation of the onset curve; NaN in silence.

    Raises:
        ValueError: sound shorter than 2 s.
    """
    curve = onset_curve(waveform, sample_rate, bass=True)
    if len(curve) < 2 * ONSET_RATE:
        raise ValueError(f"{len(curve) / ONSET_RATE:.1f} s of sound have no tempo: at least 2 s are needed")
    curve = gaussian_filter1d(curve, 2) - curve.mean()
    if not np.ptp(curve):
        return math.nan
    size = len(curve)
    together = np.fft.irfft(np.abs(np.fft.rfft(curve, 2 * size)) ** 2)[:size] / (size - np.arange(size))
    lags = np.arange(
        math.ceil(60 * ONSET_RATE / TEMPO_RANGE[1]), math.floor(60 * ONSET_RATE / TEMPO_RANGE[0]) + 1
    )
    fine = np.arange(lags[0], lags[-1], 0.1)
    # a beat comes back after two and more beats too; longer lags tell its length more finely
    multiples = [m for m in (1, 2, 3, 4) if m * fine[-1] < 0.75 * size]
    strength = sum(np.interp(m * fine, np.arange(size), together) for m in multiples)
    return float(60 * ONSET_RATE / fine[int(np.argmax(strength))])


def beat_times(waveform: NDArray[np.float32], sample_rate: int, bpm: float | None = None) -> Array:
    """Beats in s, by dynamic programming (Ellis 2007): strong onsets at an even distance. Empty in silence.

    Raises:
        ValueError: a `bpm` that is no number from 20 to 1000, or sound that is too short to tell its own.
    """
    if bpm is not None and not BPM_RANGE[0] <= finite_number(bpm, "bpm") <= BPM_RANGE[1]:
        raise ValueError(f"bpm must lie between {BPM_RANGE[0]:g} and {BPM_RANGE[1]:g}, not {bpm!r}")
    curve = onset_curve(waveform, sample_rate, bass=True)
    bpm = tempo(waveform, sample_rate) if bpm is None else bpm
    if not np.ptp(curve) or not math.isfinite(bpm):
        return np.zeros(0)
    period = 60 * ONSET_RATE / bpm
    local = gaussian_filter1d(curve / curve.std(), 3)
    back = np.arange(round(period / 2), round(2 * period) + 1)  # how far the beat before may lie
    price = -TIGHTNESS * np.log(back / period) ** 2
    total, previous = local.copy(), np.full(len(local), -1)
    for i in range(back[0], len(local)):
        reach = back[back <= i]
        gain = total[i - reach] + price[: len(reach)]
        best = int(np.argmax(gain))
        if gain[best] > 0:
            total[i], previous[i] = local[i] + gain[best], i - reach[best]
    ending = min(round(period), len(total))  # the last beat lies in the last period
    last = len(total) - ending + int(np.argmax(total[-ending:]))
    beats = [last]
    while previous[beats[-1]] >= 0:
        beats.append(int(previous[beats[-1]]))
    return (np.array(beats[::-1]) + ONSET_LAG) / ONSET_RATE


def over_clips(scores: Sequence[AgainstChance]) -> OverClips:
    """The mean excess over chance of a set of clips, with its interval.

    Raises:
        ValueError: no clip with anything to compare.
    """
    counted = [score for score in scores if math.isfinite(score.excess)]
    if not counted:
        raise ValueError(f"none of {len(scores)} clips has both an onset and a motion to compare")
    excess = np.array([score.excess for score in counted])
    spread = np.array([score.spread for score in counted])
    drawn = np.random.default_rng(0).choice(excess, (1000, len(excess))).mean(axis=1)
    error = math.sqrt(np.sum(spread**2)) / len(counted)
    z = float(excess.mean() / error) if error > 0 else math.nan
    return OverClips(float(excess.mean()), *middle(drawn), z, len(counted), len(scores) - len(counted))


def _check_choice(value: object, name: str, kind: object) -> None:
    """Raise a ValueError unless this is one of the words of a `Literal`."""
    if value not in get_args(kind):
        raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {value!r}")
