"""Clip: video frames and the sound that belongs to them; reads, writes, and shows itself."""

import wave
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self, get_args

import av
import numpy as np

from rflav_lib.av_files import Interpolation, MediaError, SoundCodec, encode, sample_at
from rflav_lib.av_pictures import pictures
from rflav_lib.av_probe import MediaInfo, frame_window, probe, require_both
from rflav_lib.av_sound import Channel, sound
from rflav_lib.files import whole
from rflav_lib.media_checks import AAC_RATES, checked_rates
from rflav_lib.numbers_given import finite_number, whole_number

__all__ = ["Clip", "MediaError", "MediaInfo", "probe"]


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """Frames and mono sound of equal duration.

    Attributes:
        frames: uint8 `(k h w 3)`, RGB, at least one frame.
        waveform: float32 `(s,)`, nominally in [-1, 1]; s is k * sample_rate / frame_rate, give or take one
            sample.
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
        frame_rate, sample_rate = checked_rates(self.frame_rate, self.sample_rate)
        object.__setattr__(self, "frame_rate", frame_rate)  # as Python's own: Fraction and wave take no other
        object.__setattr__(self, "sample_rate", sample_rate)
        if not np.isfinite(self.waveform).all():
            raise ValueError("waveform contains NaN or infinite values")
        expected = sample_at(len(self.frames), self.frame_rate, self.sample_rate)
        if abs(len(self.waveform) - expected) > 1:
            raise ValueError(
                f"{len(self.frames)} frames at {self.frame_rate:g} fps need {expected} samples "
                f"at {self.sample_rate} Hz (give or take one), got {len(self.waveform)}"
            )

    def __len__(self) -> int:
        """Number of video frames."""
        return len(self.frames)

    @property
    def duration(self) -> float:
        """Length in seconds: frames / frame_rate."""
        return len(self.frames) / self.frame_rate

    def part(self, first: int, last: int | None = None) -> Self:
        """Frames `first` to `last` - 1, or to the end, with their sound; negative numbers count from the end.

        Raises:
            ValueError: frames that the clip does not have, or none.
        """
        count = len(self)
        first, last = (n + count if n < 0 else n for n in (first, count if last is None else last))
        if not 0 <= first < last <= count:
            raise ValueError(f"a clip of {count} frames has no frames {first} to {last - 1}")
        here, there = (sample_at(frame, self.frame_rate, self.sample_rate) for frame in (first, last))
        waveform = _fit(self.waveform[here:], there - here)  # a clip may lack a sample
        return type(self)(self.frames[first:last], waveform, self.frame_rate, self.sample_rate)

    @classmethod
    def read(
        cls,
        path: str | Path,
        frame_rate: float = 10,
        sample_rate: int = 16000,
        start: float = 0.0,
        frames: int | None = None,
        info: MediaInfo | None = None,
        channel: Channel = "mean",
    ) -> Self:
        """Read the time that picture and sound of a file both cover, or a window of it.

        Frame k shows what is on the screen at (k + 1/2) / frame_rate, at its full size, upright, with square
        pixels. Sound is resampled and mono. The shared time is rounded to whole frames: up to
        half a frame at the end is filled (picture held, silence) or cut off. A window equals the same slice of
        the whole, bit for bit (where a frame is no whole number of samples, but for one sample at the end), and the
        file is decoded no further than it needs.

        Args:
            path: whatever FFmpeg reads.
            frame_rate: frames per second of the clip.
            sample_rate: samples per second of the clip.
            start: s into the shared time, a multiple of a frame.
            frames: how many; None for all that follow.
            info: what `probe` said about the file, if that is known already.
            channel: of sound with several: "mean" of all, or "left" alone.

        Raises:
            MediaError: no such file, not a media file, no video or no audio in it, or broken data.
            ValueError: rates, a start or a number of frames that are none, a window that is not in the file.
        """
        (clip,) = cls.pieces(path, None, frame_rate, sample_rate, start, frames, info, channel)
        return clip

    @classmethod
    def pieces(
        cls,
        path: str | Path,
        frames_each: int | None,
        frame_rate: float = 10,
        sample_rate: int = 16000,
        start: float = 0.0,
        frames: int | None = None,
        info: MediaInfo | None = None,
        channel: Channel = "mean",
    ) -> Iterator[Self]:
        """What `read` reads, in clips of `frames_each` frames (the last may be shorter), one after the other.

        The file is decoded once, and memory holds one piece, however long the file. `concatenate` makes the
        whole again.

        Raises:
            MediaError: a file that cannot be read, or without picture or sound.
            ValueError: rates, a start or numbers of frames that make no sense, or frames that the file does not have.
        """
        path = Path(path)
        frame_rate, sample_rate = checked_rates(frame_rate, sample_rate)
        start = finite_number(start, "start")
        frames = None if frames is None else whole_number(frames, "frames")
        frames_each = None if frames_each is None else whole_number(frames_each, "frames_each")
        info = probe(path) if info is None else info
        require_both(path, info)
        first, count = frame_window(path, info, frame_rate, start, frames)
        if frames_each is None:
            frames_each = count
        begin = round((info.start - info.audio_start) * sample_rate) + sample_at(
            first, frame_rate, sample_rate
        )
        heard = sound(path, info, sample_rate, begin, channel)
        seen = pictures(path, info, frame_rate, first, count, to_end=frames is None)
        waveform = np.zeros(0, np.float32)
        for done in range(0, count, frames_each):
            length = min(frames_each, count - done)
            here, there = (sample_at(k, frame_rate, sample_rate) for k in (done, done + length))
            parts = [waveform]
            while sum(map(len, parts)) < there - here and (part := next(heard, None)) is not None:
                parts.append(part)
            waveform = np.concatenate(parts)
            images = np.stack(list(islice(seen, length)))
            if frames is None and done + length == count:  # what is left over must be sound, too
                deque(chain(heard, seen), maxlen=0)
            yield cls(images, _fit(waveform, there - here), frame_rate, sample_rate)
            waveform = waveform[there - here :]

    def save(
        self,
        path: str | Path,
        scale: int = 1,
        interpolation: Interpolation = "nearest",
        crf: int = 16,
        sound_codec: SoundCodec = "aac",
    ) -> Path:
        """Write H.264 (yuv420p) and AAC or FLAC to an .mp4 file; sound and picture start together, to the sample.

        Args:
            path: ends in .mp4; appears whole or not at all.
            scale: whole factor by which the picture is enlarged, so that 64x64 plays large.
            interpolation: how it is enlarged.
            crf: H.264 quality, 0 (lossless) to 51.
            sound_codec: "aac", which everything plays, or "flac", which loses nothing but what is below 16 bits.

        Returns:
            The path. Samples beyond [-1, 1] are clipped in the file.

        Raises:
            MediaError: another ending, a size that is odd after scaling, a sample rate that AAC does not have, or a
                file that cannot be written.
            ValueError: a scale, an interpolation, a crf or a codec of sound that there is not.
        """
        path, (_, h, w, _) = Path(path), self.frames.shape
        if path.suffix.lower() != ".mp4":
            raise MediaError(f"{path}: clips are written as .mp4")
        scale, crf = whole_number(scale, "scale"), whole_number(crf, "crf", least=0, most=51)
        if interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation must be one of {get_args(Interpolation)}, got {interpolation!r}")
        if sound_codec not in get_args(SoundCodec):
            raise ValueError(f"sound_codec must be one of {get_args(SoundCodec)}, got {sound_codec!r}")
        if sound_codec == "aac" and self.sample_rate not in AAC_RATES:
            raise MediaError(
                f"{path}: AAC has no {self.sample_rate} samples a second: resample the sound to one of "
                f"{', '.join(map(str, AAC_RATES))}, or write it as flac or with to_wav"
            )
        if h * scale % 2 or w * scale % 2:
            raise MediaError(
                f"{path}: H.264 needs even sizes, these frames are {w}x{h}"
                + (f" times {scale}" if scale > 1 else "")
                + "; give an even scale, or crop or pad the frames"
            )
        try:
            with whole(path) as draft:
                encode(
                    draft,
                    self.frames,
                    self.waveform,
                    self.frame_rate,
                    self.sample_rate,
                    scale,
                    interpolation,
                    crf,
                    sound_codec,
                )
        except (OSError, av.FFmpegError) as error:
            raise MediaError(f"{path}: cannot be written: {error}") from error
        return path

    def to_wav(self, path: str | Path) -> Path:
        """Write the sound alone as 16-bit PCM; samples beyond [-1, 1] are clipped, they do not wrap round.

        Raises:
            MediaError: another ending than .wav, or a file that cannot be written.
        """
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
            for what, ours, theirs in (
                ("frame_rate", clip.frame_rate, first.frame_rate),
                ("sample_rate", clip.sample_rate, first.sample_rate),
                ("frame size", clip.frames.shape[1:], first.frames.shape[1:]),
            ):
                if ours != theirs:
                    raise ValueError(f"clip {number} has {what} {ours}, clip 0 has {theirs}")
        starts = np.cumsum([0, *map(len, clips)])
        samples = [sample_at(int(start), first.frame_rate, first.sample_rate) for start in starts]
        lengths = np.diff(samples).tolist()
        sounds = [_fit(clip.waveform, length) for clip, length in zip(clips, lengths, strict=True)]
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

        The HTML holds the encoded file, whose bytes differ between builds of FFmpeg: tests that compare
        stored notebook outputs leave text/html out and compare the facts.
        """
        from rflav_lib.view.clip_display import mime_bundle  # late: drawing needs far more than clips do

        return mime_bundle(self)


def _check_array(array: np.ndarray, name: str, dtype: type) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")


def _fit(waveform: np.ndarray, length: int) -> np.ndarray:
    """Cut, or fill with silence, to `length` samples."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))
