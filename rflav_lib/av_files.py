"""Frames and sound to and from media files, with PyAV (FFmpeg's libraries, no program to install)."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

Interpolation = Literal["nearest", "bicubic"]

AAC_BITS_PER_SECOND = 96_000  # near the most AAC allows for one channel at 16 kHz
# what players assume for small pictures
COLOURS = {"format": "yuv420p", "dst_colorspace": "ITU601", "dst_color_range": "MPEG"}
TRUNCATION = 0.5  # a stream this many seconds shorter than its container says has lost its end


class MediaError(ValueError):
    """A media file cannot be read or written; the message names the file and the reason."""


def sample_at(frame: int, frame_rate: float, sample_rate: int) -> int:
    """The sample that sounds when this frame appears."""
    return round(frame * sample_rate / frame_rate)


def encode(
    path: Path,
    frames: np.ndarray,
    waveform: np.ndarray,
    frame_rate: float,
    sample_rate: int,
    scale: int,
    interpolation: Interpolation,
    crf: int,
) -> None:
    """Write frames uint8 (k h w 3) and waveform float32 (s,) as H.264 and AAC, a frame of each in turn.

    AAC begins with 1024 samples of its own (64 ms at 16 kHz). The encoder dates them before zero and the
    mp4 edit list hides them, so players and decoders start at our first sample. No B-frames: then the picture
    needs no edit list, and players that ignore it still show it in time. One thread: the same clip gives the
    same bytes.
    """
    rate = Fraction(frame_rate).limit_denominator(1001)
    k, h, w, _ = frames.shape
    method = "POINT" if interpolation == "nearest" and scale > 1 else "BICUBIC"
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "bf": "0"})
        video.width, video.height, video.pix_fmt = w * scale, h * scale, "yuv420p"
        video.codec_context.thread_count = 1
        sound = container.add_stream("aac", rate=sample_rate, layout="mono")
        sound.bit_rate = AAC_BITS_PER_SECOND
        waveform = np.clip(waveform, -1, 1)
        starts = [*(sample_at(number, frame_rate, sample_rate) for number in range(k)), len(waveform)]
        for number, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            picture = picture.reformat(w * scale, h * scale, interpolation=method, **COLOURS)
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(video.encode(picture))
            piece = np.ascontiguousarray(waveform[None, starts[number] : starts[number + 1]])
            samples = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            samples.sample_rate, samples.time_base = sample_rate, Fraction(1, sample_rate)
            samples.pts = starts[number]
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def _decode(path: Path, kind: Literal["video", "audio"]) -> Iterator[Any]:
    """Decoded frames of the best stream of a kind; every failure is a MediaError that names the file."""
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    end = 0.0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best(kind)
            if stream is None:
                raise MediaError(f"{path}: has no {kind} stream; clips need both picture and sound")
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise MediaError(f"{path}: a {kind} frame has no time stamp; convert the file first")
                end = frame.time + (frame.duration or 0) * float(frame.time_base)
                yield frame
            ticks = 0 if stream.duration is None else (stream.start_time or 0) + stream.duration
            promised = ticks * float(stream.time_base)
    except (OSError, av.FFmpegError) as error:
        raise MediaError(f"{path}: cannot be decoded: {error}") from error
    if end < promised - TRUNCATION:
        raise MediaError(f"{path}: is truncated: {kind} ends after {end:.2f} s of {promised:.2f} s")


def read_sound(path: Path, sample_rate: int) -> tuple[np.ndarray, float]:
    """Mono waveform float32 (s,) at `sample_rate`, and the time of its first sample in s."""
    resampler, pieces, start = None, [], 0.0
    for frame in _decode(path, "audio"):
        if resampler is None:
            resampler, start = av.AudioResampler("fltp", frame.layout, sample_rate), frame.time
        pieces += [piece.to_ndarray() for piece in resampler.resample(frame)]
    if resampler is None:
        raise MediaError(f"{path}: the audio stream is empty")
    pieces += [piece.to_ndarray() for piece in resampler.resample(None)]
    return np.concatenate(pieces, axis=1).mean(axis=0, dtype=np.float32), start


def read_frames(
    path: Path, frame_rate: float, earliest: float, latest: float
) -> tuple[list[np.ndarray], float]:
    """Pictures uint8 (h w 3) at `frame_rate` within a time span, and the time of the first in s."""
    pictures: list[np.ndarray] = []
    previous, start = None, earliest
    for frame in _decode(path, "video"):
        if previous is None:
            start = max(frame.time, earliest)
        else:  # everything nearer to the previous frame than to this one shows the previous one
            # ties, common at 15 fps, always go to the later frame
            middle = (previous.time + frame.time) / 2 - 1e-6
            while start + len(pictures) / frame_rate < min(middle, latest):
                pictures.append(previous.to_ndarray(format="rgb24"))
        previous = frame
    if previous is None:
        raise MediaError(f"{path}: the video stream is empty")
    end = min(latest, previous.time + (previous.duration or 0) * float(previous.time_base))
    count = round((end - start) * frame_rate)
    if count < 1:
        raise MediaError(f"{path}: picture and sound share less than half a frame of time")
    while len(pictures) < count:
        pictures.append(previous.to_ndarray(format="rgb24"))
    return pictures[:count], start
