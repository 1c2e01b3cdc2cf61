"""Long generated clips, kept on disk: made once, and made on where a run was stopped.

Clip `number` is a function of checkpoint, settings, seed and number alone, whichever clips were made before it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from rflav_lib.draws import seed_of
from rflav_lib.files import read_json, whole, write_json
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.precision import DTYPES

CHUNK = 40  # frames decoded at once


@dataclass(frozen=True)
class LongSettings:
    """What long clips are made with.

    Attributes:
        model: checksum of the weights, see `rflav_lib.provenance.fingerprint`.
        frames: of each clip.
        steps_per_frame: Euler steps between two finished frames, N.
        dtype: of matrix products, of `rflav_lib.precision.DTYPES`.
        seed: of all noise.
    """

    model: str
    frames: int = 240
    steps_per_frame: int = 2
    dtype: str = "float32"
    seed: int = 0


def label_of(pipe: RFLAVPipeline, number: int) -> int | None:
    """Classes take turns; None for a model without."""
    classes = pipe.transformer.config.num_classes
    return number % classes if classes else None


def long_clip(pipe: RFLAVPipeline, number: int, settings: LongSettings) -> Clip:
    """Generate clip `number`."""
    stream = pipe.stream(
        settings.steps_per_frame,
        min(CHUNK, settings.frames),
        label_of(pipe, number),
        generator=torch.Generator().manual_seed(seed_of(settings.seed, number) >> 1),
        dtype=DTYPES[settings.dtype],
    )
    parts: list[Clip] = []
    while sum(map(len, parts)) < settings.frames:
        parts.append(next(stream))
    return Clip.concatenate(parts).part(0, settings.frames)


def long_clips(
    pipe: RFLAVPipeline, count: int, settings: LongSettings, folder: Path, progress: bool = True
) -> list[Clip]:
    """Clips 0 to count - 1: those that `folder` has, and the missing ones made and put there, each whole or not at all.

    Raises:
        ValueError: the folder holds clips of other settings or another model.
    """
    note = folder / "settings.json"
    wanted = asdict(settings)
    if note.is_file():
        there = read_json(note)
        there = there if isinstance(there, dict) else {}
        if other := [
            f"{key} {there.get(key)!r}, not {wanted[key]!r}"
            for key in wanted
            if there.get(key) != wanted[key]
        ]:
            raise ValueError(
                f"{folder} holds clips of other settings ({'; '.join(other)}): give another folder, or delete it"
            )
    else:
        write_json(note, wanted)
    clips = []
    for number in tqdm(range(count), desc="long clips", unit="clip", disable=not progress):
        path = folder / f"{number:05d}.npz"
        if not path.is_file():
            _write(long_clip(pipe, number, settings), path)
        clips.append(_read(path))
    return clips


def _write(clip: Clip, path: Path) -> None:
    """Without loss: a codec's traces would be measured too."""
    with whole(path) as draft:
        np.savez_compressed(
            draft, frames=clip.frames, waveform=clip.waveform, rates=(clip.frame_rate, clip.sample_rate)
        )


def _read(path: Path) -> Clip:
    """What `_write` wrote.

    Raises:
        ValueError: a damaged file.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            frame_rate, sample_rate = held["rates"].tolist()
            return Clip(held["frames"], held["waveform"], frame_rate, int(sample_rate))
    except Exception as error:  # zipfile, zlib and numpy each have their own
        raise ValueError(f"{path} cannot be read ({error}): delete it to make it anew") from None
