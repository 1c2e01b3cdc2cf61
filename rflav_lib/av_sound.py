"""The sound of a media file: mono, at a wanted rate, from any sample on, each sample where its time stamp says."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from rflav_lib.av_files import MediaError
from rflav_lib.av_probe import SLACK, MediaInfo, probe
from rflav_lib.av_source import best_stream, decoded, opened, seek

# Decoders remember, and so do resamplers: sound decoded from the middle of a file differs a little from the same
# sound decoded from its beginning. So a file is always decoded in the same segments, each from a fixed point a
# little before it, and what is read does not depend on where one began to read.
Channel = Literal["mean", "left"]
"""Of sound with several: the mean of all, or the first alone, as MM-Diffusion's evaluator takes it."""

SEGMENT = 10  # s
RUN_UP = 1  # s that the resampler hears before a segment; the decoder begins as long before that
JITTER = 0.003  # s; WebM and Matroska round their time stamps to 1 ms: such steps are no gaps
GAP = 0.02  # s; a lost packet leaves at least so much missing
LOUDEST = 16.0  # times full scale; only broken data is louder


def sound(
    path: Path, info: MediaInfo, sample_rate: int, first: int = 0, channel: Channel = "mean"
) -> Iterator[np.ndarray]:
    """Pieces of the mono waveform float32, one after the other, from sample `first` on.

    Sample n is the instant `info.audio_start` + n / sample_rate; the last lies before `info.audio_end`.
    Memory does not grow with the file. WebM and Matroska date sound to the millisecond only, so there it is
    decoded from the file's beginning every time; elsewhere at most `SEGMENT` + 2 s before `first` are.

    Raises:
        MediaError: damaged data, a gap in the sound, or less sound than the file says.
    """
    total = round((info.audio_end - info.audio_start) * sample_rate)
    length = SEGMENT * sample_rate if info.audio_tick * info.sample_rate < 1.001 else total
    while first < total:
        number, skip = divmod(first, length)
        wanted = min(length, total - number * length) - skip
        last = number * length + skip + wanted >= total
        yield from _segment(path, info, sample_rate, channel, number, skip, wanted, last)
        first += wanted


def read_sound(path: Path, sample_rate: int) -> np.ndarray:
    """The whole sound of a file, with or without pictures: mono float32 (s,).

    Raises:
        MediaError: a file that cannot be read, or without sound.
    """
    info = probe(path)
    if info.audio_codec is None:
        raise MediaError(f"{path}: has no audio stream")
    return np.concatenate([np.zeros(0, np.float32), *sound(path, info, sample_rate)])


def _segment(
    path: Path,
    info: MediaInfo,
    sample_rate: int,
    channel: Channel,
    number: int,
    skip: int,
    length: int,
    last: bool,
) -> Iterator[np.ndarray]:
    """Samples skip, skip + 1, ... of a segment, exactly `length`. The last segment is decoded to the file's end, to
    see that it can be.

    The resampler begins at a whole second, so that its phase is the same wherever one begins to read.
    """
    begin = number * SEGMENT  # s, as is what follows; 0 where a file has but one segment
    heard_from = max(0, begin + skip // sample_rate - RUN_UP)
    skip += (begin - heard_from) * sample_rate
    position = heard_from * info.sample_rate
    # more than is wanted must be heard: as much as the resampler's filter is long
    end = position + ceil((skip + length) * info.sample_rate / sample_rate) + info.sample_rate // 10
    resampler = av.AudioResampler("fltp", "mono", sample_rate)
    heard = _from(path, info, channel, max(0, begin - RUN_UP), position)
    for block in _blocks(heard, info.sample_rate // 4):
        for resampled in resampler.resample(_frame(block, position, info.sample_rate)):
            samples = resampled.to_ndarray()[0]
            useful = samples[skip : skip + length]
            skip, length = max(0, skip - len(samples)), length - len(useful)
            if len(useful):
                yield useful
        position += len(block)
        if (length <= 0 or position > end) and not last:
            break
    if length > 0:
        rest = [resampled.to_ndarray()[0] for resampled in resampler.resample(None)]
        samples = np.concatenate([np.zeros(0, np.float32), *rest])[skip : skip + length]
        yield np.pad(samples, (0, length - len(samples)))  # headers round up, by less than SLACK


def _blocks(pieces: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in fewer, longer pieces: a frame holds but some milliseconds."""
    parts: list[np.ndarray] = []
    for piece in pieces:
        parts.append(piece)
        if sum(map(len, parts)) >= size:
            yield np.concatenate(parts)
            parts = []
    if parts:
        yield np.concatenate(parts)


def _from(
    path: Path, info: MediaInfo, channel: Channel, decode_from: int, begin: int
) -> Iterator[np.ndarray]:
    """Mono samples at the file's own rate, contiguous, the first of them number `begin`; `decode_from` in s."""
    rate = info.sample_rate
    position = None
    for frame in _frames(path, info.audio_start + decode_from if decode_from else None):
        stamp = (frame.time - info.audio_start) * rate
        position = round(stamp) if position is None else position
        step = round(stamp - position)
        if abs(step) > GAP * rate:
            raise MediaError(f"{path}: its sound has a gap of {step / rate:.2f} s at {frame.time:.2f} s")
        step = step if abs(step) > JITTER * rate else 0  # keep to the time stamps, but not to their rounding
        if position + step + frame.samples > begin:
            samples = _mono(path, info, channel, frame)
            if step:
                samples = np.pad(samples, (max(0, step), 0))[max(0, -step) :]
            yield samples[max(0, begin - position) :]
        position += step + frame.samples
    end = info.audio_start + (position or 0) / rate
    if end < info.audio_end - SLACK:
        raise MediaError(f"{path}: is truncated: audio ends after {end:.2f} s of {info.audio_end:.2f} s")


def _frames(path: Path, instant: float | None) -> Iterator[Any]:
    """Decoded frames from a while before an instant; None, or a file without seek points: from the beginning."""
    for target in (None,) if instant is None else (instant - RUN_UP, None):
        with opened(path) as container:
            stream = best_stream(container, "audio")
            if target is not None and not seek(container, stream, target):
                continue
            frames = decoded(path, container, stream, after_seek=target is not None)
            first = next(frames, None)
            if target is not None and (first is None or first.time > instant):
                continue
            yield from chain([] if first is None else [first], frames)
            return


def _mono(path: Path, info: MediaInfo, channel: Channel, frame: Any) -> np.ndarray:
    """The mean of a frame's channels, or the left one: float32 (s,)."""
    if frame.sample_rate != info.sample_rate or frame.layout.nb_channels != info.channels:
        raise MediaError(f"{path}: its sound changes rate or channels at {frame.time:.2f} s")
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif np.issubdtype(samples.dtype, np.integer):
        samples = samples / np.float32(-np.iinfo(samples.dtype).min)
    samples = samples[0].astype(np.float32) if channel == "left" else samples.mean(axis=0, dtype=np.float32)
    peak = np.abs(samples).max(initial=0)
    if not peak <= LOUDEST:  # NaN is not either
        raise MediaError(f"{path}: is damaged: sound of {peak:.3g} times full scale at {frame.time:.2f} s")
    return samples


def _frame(samples: np.ndarray, position: int, sample_rate: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = sample_rate, Fraction(1, sample_rate), position
    return frame
