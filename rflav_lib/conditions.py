"""What a user gives to be completed: a sound that wants a video, a video that wants a sound."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rflav_lib.av_files import MediaError
from rflav_lib.av_pictures import pictures
from rflav_lib.av_sound import LOUDEST, read_sound
from rflav_lib.image_codec import letterbox, to_uint8
from rflav_lib.media import Clip, probe
from rflav_lib.mel import MelCodec
from rflav_lib.warn import warn

Sound = str | Path | Clip | np.ndarray | Tensor
Video = Sound

SILENCE = 1e-4  # a peak below this (-80 dB) is silence: nothing can follow it
FULL_SCALE = 1.0 + 1e-3  # resampling may overshoot by a hair
AT_ONCE = 8  # frames of a file at its full size; bounds the memory of long videos in high definition


def given_sounds(
    audio: Sound | list[Sound], mel: MelCodec, num_frames: int | None = None
) -> list[np.ndarray]:
    """What `given_sound` makes of one sound or of each of a list, as long as each other: of `num_frames` if asked.

    Raises:
        ValueError: as `given_sound`; an empty list, other lengths, or `num_frames` beyond an end.
    """
    samples = mel.frames_per_segment * mel.config.hop_length
    sounds = [given_sound(each, mel, name) for name, each in _named(audio, "audio")]
    count = _frames_of([len(sound) // samples for sound in sounds], num_frames)
    return [sound[: count * samples] for sound in sounds]


def given_videos(
    video: Video | list[Video], size: int, mel: MelCodec, num_frames: int | None = None
) -> list[np.ndarray]:
    """What `given_video` makes of one video or of each of a list, as long as each other: of `num_frames` if asked.

    Of a file no more is decoded than that.

    Raises:
        ValueError: as `given_video`; an empty list, other lengths, or `num_frames` beyond an end.
    """
    videos = [given_video(each, size, mel, name, num_frames) for name, each in _named(video, "video")]
    count = _frames_of([len(frames) for frames in videos], num_frames)
    return [frames[:count] for frames in videos]


def _named(given: Sound | list[Sound], name: str) -> list[tuple[str, Sound]]:
    """What is given, each with the name that an error calls it by."""
    if not isinstance(given, list):
        return [(name, given)]
    if not given:
        raise ValueError(f"{name} is an empty list: leave it out, or give one for each clip")
    return [(f"{name}[{number}]", each) for number, each in enumerate(given)]


def _frames_of(given: list[int], asked: int | None) -> int:
    """How many frames to make beside given ones."""
    if asked is None and len(set(given)) > 1:
        raise ValueError(
            f"what is given lasts {min(given)} to {max(given)} frames: clips of a batch are as long as each other; "
            f"ask for num_frames={min(given)}, or complete them one by one"
        )
    if asked is None:
        return given[0]
    _check_lasts(min(given), asked, "what is given")
    return asked


def _check_lasts(frames: int, asked: int, name: str) -> None:
    if asked > frames:
        raise ValueError(f"num_frames is {asked}, but {name} lasts {frames} frames: leave it out")


def given_sound(audio: Sound, mel: MelCodec, name: str = "audio") -> np.ndarray:
    """A mono waveform float32 (s,) at the codec's rate, cut to whole video frames; `name` is what errors call it.

    Sound of a file or a `Clip` beyond [-1, 1], as codecs and vocoders make it, is scaled down as a whole to a peak of
    1, with a warning. Not cut off: that would put in what the model never heard. A codec with a `peak` hears the same
    as of the louder sound, which in training it would have scaled too; one without hears it a little more quietly.

    Raises:
        MediaError: a file that cannot be read, or has no sound.
        ValueError: another rate, several channels, less than a frame, silence, NaN, or an array's samples beyond
            [-1, 1].
    """
    rate = mel.config.sample_rate
    if isinstance(audio, str | Path):
        name = str(audio)
        waveform = read_sound(Path(audio), rate)
    elif isinstance(audio, Clip):
        if audio.sample_rate != rate:
            raise ValueError(f"{name} is at {audio.sample_rate} Hz, the model hears {rate} Hz: resample it")
        waveform = audio.waveform
    else:
        waveform = _array(audio, name)
    if waveform.ndim != 1 or not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(
            f"{name} must be a mono waveform of floats with shape (s,) at {rate} Hz, "
            f"got {waveform.dtype} {waveform.shape}: average its channels, divide whole numbers by their largest"
        )
    waveform = waveform.astype(np.float32)
    samples = mel.frames_per_segment * mel.config.hop_length
    if len(waveform) < samples:
        raise ValueError(f"{name} has {len(waveform)} samples; a video frame takes {samples}")
    if not np.isfinite(waveform).all():
        raise ValueError(f"{name} contains NaN or infinite values")
    peak = float(np.abs(waveform).max())
    if peak < SILENCE:
        raise ValueError(f"{name} is silent (peak {peak:.1e}): there is nothing to make a video for")
    if peak > FULL_SCALE:
        if not isinstance(audio, str | Path | Clip) or peak > LOUDEST:
            raise ValueError(f"{name} reaches {peak:.2f}, beyond [-1, 1]: scale it down")
        warn(f"{name} reaches {peak:.2f}, beyond [-1, 1]: it is scaled down to 1")
        waveform = waveform / np.float32(peak)
    return np.clip(waveform[: len(waveform) // samples * samples], -1, 1)


def given_video(
    video: Video, size: int, mel: MelCodec, name: str = "video", num_frames: int | None = None
) -> np.ndarray:
    """Frames uint8 (k size size 3) at the codec's frame rate; `name` is what errors call it.

    Of a file the pictures alone are read, from the first to the last, whether it has sound or not and however long
    that lasts; with `num_frames`, only so many.

    Raises:
        MediaError: a file that cannot be read, or has no pictures.
        ValueError: frames of another size, rate or kind; a file of fewer than `num_frames`.
    """
    rate = mel.config.frame_rate
    if isinstance(video, str | Path):
        return _letterboxed(Path(video), size, rate, num_frames)
    if isinstance(video, Clip):
        if video.frame_rate != rate:
            raise ValueError(f"{name} has {video.frame_rate:g} frames a second, the model sees {rate:g}")
        frames: np.ndarray = video.frames
    else:
        frames = _array(video, name)
    if (
        frames.dtype != np.dtype(np.uint8)
        or frames.ndim != 4
        or frames.shape[1:] != (size, size, 3)
        or not len(frames)
    ):
        raise ValueError(
            f"{name} must be frames uint8 (k {size} {size} 3), got {frames.dtype} {frames.shape}; "
            "give a path to have frames of another size letterboxed"
        )
    return frames


def _array(given: np.ndarray | Tensor, name: str) -> np.ndarray:
    """A tensor or what else was given as an array; of bfloat16, which numpy does not have, float32.

    Raises:
        ValueError: a tensor without values, or of another layout than a plain one.
    """
    if not isinstance(given, Tensor):
        return np.asarray(given)
    if given.is_meta or given.layout != torch.strided:
        raise ValueError(
            f"{name} must be a plain tensor, got {given.layout} on {given.device}: give its values"
        )
    given = given.detach().cpu()
    return (given.float() if given.dtype == torch.bfloat16 else given).numpy()


def _letterboxed(path: Path, size: int, frame_rate: float, num_frames: int | None) -> np.ndarray:
    """A file's first frames, or all of them: uint8 (k size size 3). Memory holds few of them at full size."""
    info = probe(path)
    if info.video_codec is None:
        raise MediaError(f"{path}: has no video stream")
    info = replace(info, audio_codec=None)  # its time is that of the pictures
    total = info.frames_at(frame_rate)
    if not total:
        raise MediaError(f"{path}: its pictures last {info.duration:.3f} s, less than half a frame")
    _check_lasts(total, num_frames or total, str(path))
    seen = pictures(path, info, frame_rate, 0, num_frames or total, to_end=num_frames is None)
    parts = []
    while part := list(islice(seen, AT_ONCE)):
        parts.append(to_uint8(letterbox(np.stack(part), size)).permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)
