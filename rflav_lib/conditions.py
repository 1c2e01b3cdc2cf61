"""What a user gives to be completed: a sound that wants a video, a video that wants a sound."""

from pathlib import Path

import numpy as np
from torch import Tensor

from rflav_lib.av_sound import read_sound
from rflav_lib.image_codec import letterbox, to_uint8
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec

Sound = str | Path | Clip | np.ndarray | Tensor
Video = str | Path | Clip | np.ndarray | Tensor

SILENCE = 1e-4  # a peak below this (-80 dB) is silence: nothing can follow it
FULL_SCALE = 1.0 + 1e-3  # resampling may overshoot by a hair


def given_sound(audio: Sound, mel: MelCodec) -> np.ndarray:
    """A mono waveform float32 (s,) at the codec's rate, cut to whole video frames.

    Raises:
        MediaError: a file that cannot be read, or has no sound.
        ValueError: another rate, several channels, less than a frame, silence, NaN, or samples beyond [-1, 1].
    """
    rate, name = mel.config.sample_rate, "audio"
    if isinstance(audio, str | Path):
        name = str(audio)
        waveform = read_sound(Path(audio), rate)
    elif isinstance(audio, Clip):
        if audio.sample_rate != rate:
            raise ValueError(f"audio is at {audio.sample_rate} Hz, the model hears {rate} Hz: resample it")
        waveform = audio.waveform
    else:
        waveform = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else np.asarray(audio)
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
        raise ValueError(f"{name} reaches {peak:.2f}, beyond [-1, 1]: scale it down")
    return np.clip(waveform[: len(waveform) // samples * samples], -1, 1)


def given_video(video: Video, size: int, mel: MelCodec) -> np.ndarray:
    """Frames uint8 (k size size 3) at the codec's frame rate.

    Raises:
        MediaError: a file that cannot be read. ValueError: frames of another size, rate or kind.
    """
    rate = mel.config.frame_rate
    if isinstance(video, str | Path):
        frames = to_uint8(letterbox(Clip.read(video, rate, mel.config.sample_rate).frames, size))
        return frames.permute(0, 2, 3, 1).numpy()
    if isinstance(video, Clip):
        if video.frame_rate != rate:
            raise ValueError(f"video has {video.frame_rate:g} frames a second, the model sees {rate:g}")
        video = video.frames
    frames = video.detach().cpu().numpy() if isinstance(video, Tensor) else np.asarray(video)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (size, size, 3) or not len(frames):
        raise ValueError(
            f"video must be frames uint8 (k {size} {size} 3), got {frames.dtype} {frames.shape}; "
            "give a path to have frames of another size letterboxed"
        )
    return frames
