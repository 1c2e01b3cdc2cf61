"""Clip: video frames and the sound that belongs to them; reads, writes, and shows itself."""

import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

import av
import numpy as np

from rflav_lib.files import whole

AAC_BITS_PER_SECOND = 96_000  # near the most AAC allows for one channel at 16 kHz
COLOURS = {"format": "yuv420p", "dst_colorspace": "ITU601", "dst_color_range": "MPEG"}  # what players assume for small pictures


class MediaError(ValueError):
    """A media file cannot be read or written; the message names the file and the reason."""


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """Frames and mono sound of equal duration.

    Attributes:
        frames: uint8 `(k h w 3)`, RGB, at least one frame.
        waveform: float32 `(s,)`, nominally in [-1, 1]; s is k * sample_rate / frame_rate, give or take one sample.
        frame_rate: video frames per second.
        sample_rate: samples per second.

    Raises:
        TypeError: an array of another kind or dtype.
        ValueError: wrong shape, NaN, or durations that do not match.
    """

    frames: np.ndarray
    waveform: np.ndarray
    frame_rate: float = 10
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        _check_array(self.frames, "frames", np.uint8)
        _check_array(self.waveform, "waveform", np.float32)
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or 0 in self.frames.shape:
            raise ValueError(f"frames must have shape (k h w 3) with nothing empty, got {self.frames.shape}")
        if self.waveform.ndim != 1:
            raise ValueError(f"waveform must be mono with shape (s,), got {self.waveform.shape}")
        _check_rates(self.frame_rate, self.sample_rate)
        if not np.isfinite(self.waveform).all():
            raise ValueError("waveform contains NaN or infinite values")
        expected = _sample_at(len(self.frames), self.frame_rate, self.sample_rate)
        if abs(len(self.waveform) - expected) > 1:
            raise ValueError(
                f"{len(self.frames)} frames at {self.frame_rate:g} fps need {expected} samples at {self.sample_rate} Hz "
                f"(give or take one), got {len(self.waveform)}"
            )

    def __len__(self) -> int:
        """Number of video frames."""
        return len(self.frames)

    @property
    def duration(self) -> float:
        """Length in seconds: frames / frame_rate."""
        return len(self.frames) / self.frame_rate

    @classmethod
    def read(cls, path: str | Path, frame_rate: float = 10, sample_rate: int = 16000) -> Self:
        """Read the time that picture and sound of a file both cover.

        For each instant of `frame_rate` the frame with the nearest time stamp is taken, at its full size. Sound is
        resampled, and its channels averaged. The span is rounded to whole frames: up to half a frame at the end is
        filled with silence or cut off.

        Raises:
            MediaError: no such file, not a media file, no video or no audio in it, or broken data.
        """
        _check_rates(frame_rate, sample_rate)
        waveform, sound_start = _read_sound(Path(path), sample_rate)
        sound_end = sound_start + len(waveform) / sample_rate
        frames, start = _read_frames(Path(path), frame_rate, sound_start, sound_end)
        first = round((start - sound_start) * sample_rate)
        length = _sample_at(len(frames), frame_rate, sample_rate)
        return cls(np.stack(frames), _fit(waveform[first:], length), frame_rate, sample_rate)

    def save(
        self, path: str | Path, scale: int = 1, interpolation: Literal["nearest", "bicubic"] = "nearest", crf: int = 16
    ) -> Path:
        """Write H.264 (yuv420p) and AAC to an .mp4 file in which sound and picture start together, to the sample.

        Args:
            path: ends in .mp4; appears whole or not at all.
            scale: whole factor by which the picture is enlarged, so that 64x64 plays large.
            interpolation: how it is enlarged.
            crf: H.264 quality, 0 (lossless) to 51.

        Returns:
            The path. Samples beyond [-1, 1] are clipped in the file.

        Raises:
            MediaError: another ending, a size that is odd after scaling, or a file that cannot be written.
        """
        path, (_, h, w, _) = Path(path), self.frames.shape
        if path.suffix.lower() != ".mp4":
            raise MediaError(f"{path}: clips are written as .mp4")
        if not isinstance(scale, int) or scale < 1:
            raise ValueError(f"scale must be a whole number, at least 1, got {scale!r}")
        if interpolation not in ("nearest", "bicubic"):
            raise ValueError(f"interpolation must be 'nearest' or 'bicubic', got {interpolation!r}")
        if h * scale % 2 or w * scale % 2:
            raise MediaError(
                f"{path}: H.264 needs even sizes, these frames are {w}x{h}"
                + (f" times {scale}" if scale > 1 else "")
                + "; give an even scale, or crop or pad the frames"
            )
        try:
            with whole(path) as draft:
                _encode(self, draft, scale, interpolation, crf)
        except (OSError, av.FFmpegError) as error:
            raise MediaError(f"{path}: cannot be written: {error}") from error
        return path

    def to_wav(self, path: str | Path) -> Path:
        """Write the sound alone as 16-bit PCM; samples beyond [-1, 1] are clipped, they do not wrap round."""
        path = Path(path)
        if path.suffix.lower() != ".wav":
            raise MediaError(f"{path}: sound is written as .wav")
        pcm = np.round(np.clip(self.waveform, -1, 1) * 32767).astype("<i2")
        try:
            with whole(path) as draft, wave.open(str(draft), "wb") as file:
                file.setparams((1, 2, self.sample_rate, len(pcm), "NONE", ""))
                file.writeframes(pcm.tobytes())
        except OSError as error:
            raise MediaError(f"{path}: cannot be written: {error}") from error
        return path

    @classmethod
    def concatenate(cls, clips: Sequence["Clip"]) -> Self:
        """Clips of one size and rate, end to end. Each sound starts with its own first frame, to the sample.

        (Where the rates make a frame a fractional number of samples, a sound is cut or filled by one sample.)

        Raises:
            ValueError: no clips, or sizes or rates that differ.
        """
        if not clips:
            raise ValueError("there are no clips to concatenate")
        first = clips[0]
        for number, clip in enumerate(clips):
            for name in ("frame_rate", "sample_rate"):
                if getattr(clip, name) != getattr(first, name):
                    raise ValueError(f"clip {number} has {name} {getattr(clip, name)}, clip 0 has {getattr(first, name)}")
            if clip.frames.shape[1:] != first.frames.shape[1:]:
                raise ValueError(f"clip {number} has frames {clip.frames.shape[1:]}, clip 0 has {first.frames.shape[1:]}")
        starts = np.cumsum([0, *map(len, clips)])
        samples = [_sample_at(int(start), first.frame_rate, first.sample_rate) for start in starts]
        sounds = [_fit(clip.waveform, b - a) for clip, a, b in zip(clips, samples[:-1], samples[1:], strict=True)]
        frames = np.concatenate([clip.frames for clip in clips])
        return cls(frames, np.concatenate(sounds), first.frame_rate, first.sample_rate)

    def __repr__(self) -> str:
        k, h, w, _ = self.frames.shape
        return (
            f"Clip({k} frames {w}x{h} @ {self.frame_rate:g} fps, {self.duration:.1f} s, "
            f"{len(self.waveform)} samples @ {self.sample_rate} Hz)"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Player with sound over the strip (text/html), the strip alone (image/png), the facts (text/plain).

        The HTML holds the encoded file, whose bytes differ between builds of FFmpeg: tests that compare stored
        notebook outputs leave text/html out and compare the facts.
        """
        from rflav_lib.view.clip_display import mime_bundle  # late: drawing needs far more than clips do

        return mime_bundle(self)


def _check_array(array: np.ndarray, name: str, dtype: type) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")


def _check_rates(frame_rate: float, sample_rate: int) -> None:
    if not 0 < frame_rate < float("inf"):
        raise ValueError(f"frame_rate must be a positive number, got {frame_rate}")
    if not isinstance(sample_rate, int) or sample_rate <= 0:
        raise ValueError(f"sample_rate must be a positive whole number, got {sample_rate!r}")


def _sample_at(frame: int, frame_rate: float, sample_rate: int) -> int:
    """The sample that sounds when this frame appears."""
    return round(frame * sample_rate / frame_rate)


def _fit(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cut, or fill with silence, to `length` samples."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


def _encode(clip: Clip, path: Path, scale: int, interpolation: str, crf: int) -> None:
    """Write the streams side by side, a frame of each in turn.

    AAC begins with 1024 samples of its own (64 ms at 16 kHz). The encoder dates them before zero and the mp4 edit
    list hides them, so players and decoders start at our first sample. No B-frames: then the picture needs no edit
    list, and players that ignore it still show it in time. One thread: the same clip gives the same bytes.
    """
    rate = Fraction(clip.frame_rate).limit_denominator(1001)
    _, h, w, _ = clip.frames.shape
    method = {"nearest": "POINT", "bicubic": "BICUBIC"}[interpolation] if scale > 1 else "BICUBIC"
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "bf": "0"})
        video.width, video.height, video.pix_fmt = w * scale, h * scale, "yuv420p"
        video.codec_context.thread_count = 1
        sound = container.add_stream("aac", rate=clip.sample_rate, layout="mono")
        sound.bit_rate = AAC_BITS_PER_SECOND
        waveform = np.clip(clip.waveform, -1, 1)
        for number, pixels in enumerate(clip.frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            picture = picture.reformat(w * scale, h * scale, interpolation=method, **COLOURS)
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(video.encode(picture))
            begin, end = (_sample_at(n, clip.frame_rate, clip.sample_rate) for n in (number, number + 1))
            if number == len(clip) - 1:
                end = len(waveform)
            samples = av.AudioFrame.from_ndarray(waveform[None, begin:end], format="fltp", layout="mono")
            samples.sample_rate, samples.time_base, samples.pts = clip.sample_rate, Fraction(1, clip.sample_rate), begin
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
            promised = 0.0 if stream.duration is None else (stream.start_time + stream.duration) * float(stream.time_base)
    except (OSError, av.FFmpegError) as error:
        raise MediaError(f"{path}: cannot be decoded: {error}") from error
    if end < promised - 0.5:
        raise MediaError(f"{path}: is truncated: {kind} ends after {end:.2f} s of {promised:.2f} s")


def _read_sound(path: Path, sample_rate: int) -> tuple[np.ndarray, float]:
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


def _read_frames(path: Path, frame_rate: float, earliest: float, latest: float) -> tuple[list[np.ndarray], float]:
    """Pictures uint8 (h w 3) at `frame_rate` within a time span, and the time of the first in s."""
    pictures: list[np.ndarray] = []
    previous, start, end = None, earliest, latest
    for frame in _decode(path, "video"):
        if previous is None:
            start = max(frame.time, earliest)
        else:  # everything nearer to the previous frame than to this one shows the previous one
            middle = (previous.time + frame.time) / 2
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
