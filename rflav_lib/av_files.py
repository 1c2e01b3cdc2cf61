"""Frames and sound to media files, with PyAV (FFmpeg's libraries, no program to install)."""

from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

Interpolation = Literal["nearest", "bicubic"]
SoundCodec = Literal["aac", "flac"]

AAC_BITS_PER_SECOND = 96_000  # near the most AAC allows for one channel at 16 kHz


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
    sound_codec: SoundCodec,
) -> None:
    """Write frames uint8 (k h w 3) and waveform float32 (s,) as H.264 and AAC or FLAC, a frame of each in turn.

    AAC begins with 1024 samples of its own (64 ms at 16 kHz). The encoder dates them before zero and the
    mp4 edit list hides them, so players and decoders start at our first sample. No B-frames: then the picture
    needs no edit list, and players that ignore it still show it in time. One thread: the same clip gives the
    same bytes.
    """
    rate = Fraction(frame_rate).limit_denominator(1001)
    k, h, w, _ = frames.shape
    method = "POINT" if interpolation == "nearest" and scale > 1 else "BICUBIC"
    # absolute, so that a colon in a name is not taken for a protocol
    with av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "bf": "0"})
        video.width, video.height, video.pix_fmt = w * scale, h * scale, "yuv420p"
        video.codec_context.thread_count = 1
        sound = container.add_stream(sound_codec, rate=sample_rate, layout="mono")
        if sound_codec == "aac":
            sound.bit_rate = AAC_BITS_PER_SECOND
        else:
            sound.format = "s16"
        waveform = np.clip(waveform, -1, 1)
        starts = [*(sample_at(number, frame_rate, sample_rate) for number in range(k)), len(waveform)]
        for number, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            picture = picture.reformat(
                w * scale, h * scale, interpolation=method,
                format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG",  # as players take small pictures
            )  # fmt: skip
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(video.encode(picture))
            piece = np.ascontiguousarray(waveform[None, starts[number] : starts[number + 1]])
            samples = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
            samples.sample_rate, samples.time_base = sample_rate, Fraction(1, sample_rate)
            samples.pts = starts[number]
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
