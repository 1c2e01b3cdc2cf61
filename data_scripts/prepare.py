"""Clips as the models want them: 10 fps, 16 kHz, square pictures, one mp4 file each, written whole or not at all.

Their sound is lossless (FLAC), and their pictures are hard to tell from the source (H.264, CRF 16): they are trained
on, and measured after an evaluation has sent them through its own codec, once more than generated clips.
"""

import errno
import re
import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self, get_args

import numpy as np

from data_scripts.command import add_workers
from data_scripts.parallel import each
from data_scripts.published import FetchError
from rflav_lib.av_files import SoundCodec
from rflav_lib.av_sound import Channel
from rflav_lib.files import is_made_of, read_json, stamp, whole, write_json
from rflav_lib.image_codec import letterbox, to_uint8
from rflav_lib.locks import held
from rflav_lib.media import Clip

FRAMES_AT_ONCE = 16  # of a file; bounds the memory of long videos in high definition
RESERVE = 200 * 10**6  # bytes that stay free on the disk
PROBLEMS = "prepare-problems.txt"
BEFORE = {"sound": "aac", "channel": "mean"}  # of clips that were made when there was nothing to choose
DRAFT = re.compile(r"\..+-[0-9a-f]{8}\.mp4")  # see rflav_lib.files.whole


@dataclass(frozen=True)
class Piece:
    """A clip to make: from `source`, `seconds` from `start` s on (None: to the end), written to `target`."""

    source: Path
    target: Path
    start: float = 0.0
    seconds: float | None = None


@dataclass(frozen=True)
class Recipe:
    """How clips are made.

    Attributes:
        size: side of the square picture in pixels, even; what is not square gets black bars, as in the paper.
        frame_rate, sample_rate: of what is written.
        crop: side in pixels of the square cut from the middle first; None takes all.
        crf: H.264 quality; 16 is hard to tell from the source.
        sound: codec of the sound.
        channel: of sound with several: "left", which is what the paper's protocol takes, or the "mean" of all.
    """

    size: int = 256
    frame_rate: int = 10
    sample_rate: int = 16000
    crop: int | None = None
    crf: int = 16
    sound: SoundCodec = "flac"
    channel: Channel = "left"

    @classmethod
    def of(cls, options: Namespace, crop: int | None = None) -> Self:
        """From the command line. Raises ValueError for a size that no clip can have."""
        if options.size < 16 or options.size % 2:
            raise ValueError(f"--size must be even and at least 16, not {options.size}")
        return cls(size=options.size, crop=crop, channel=options.channel)


def add_recipe(parser: ArgumentParser) -> None:
    """The arguments of `prepare` that all datasets share."""
    parser.add_argument(
        "--size", type=int, default=256, help="side of the square in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--channel", choices=get_args(Channel), default="left",
        help="of sound with several: the left one, as the paper's protocol has it, or the mean (default: %(default)s)",
    )  # fmt: skip
    add_workers(parser)


def prepare(pieces: Sequence[Piece], recipe: Recipe, root: Path, workers: int | None = None) -> int:
    """Make the clips that are not there yet, or whose source has changed since.

    A second process with the same root waits for the first. Ctrl-C and kill -9 cost no more than the clips in work.

    Returns:
        0; 1 if some could not be made: they are named, with reasons, in `<root>/prepare-problems.txt`.

    Raises:
        FetchError: the folder holds clips made otherwise. OSError: no room, or a folder that cannot be written.
    """
    for piece in pieces:
        if piece.target.exists() and piece.target.samefile(piece.source):
            raise FetchError(f"{piece.source}: would be written over itself; give another --root")
    root.mkdir(parents=True, exist_ok=True)
    with held(root / ".prepare.lock"):
        _same_recipe(root / "prepare.json", recipe)
        for folder in {piece.target.parent for piece in pieces}:
            _remove_drafts(folder)
        to_do = [piece for piece in pieces if not _is_done(piece)]
        print(f"{len(pieces) - len(to_do)} of {len(pieces)} clips are there already")
        problems = []
        for piece, outcome in each(partial(make, recipe), to_do, "preparing", workers):
            if isinstance(outcome, OSError) and outcome.errno in (errno.ENOSPC, errno.EROFS, errno.EACCES):
                raise outcome
            if isinstance(outcome, Exception):
                problems.append(f"{piece.source} -> {piece.target.relative_to(root)}: {outcome}\n")
        return _tell(problems, len(pieces), root / PROBLEMS)


def tell_missing(missing: Sequence[str], what: str, root: Path) -> None:
    """Name what the lists ask for and nobody has, in `<root>/missing.txt`; no file when nothing is missing."""
    path = root / "missing.txt"
    if not missing:
        path.unlink(missing_ok=True)
        return
    with whole(path) as draft:
        draft.write_text("".join(f"{name}\n" for name in missing), "utf-8")
    print(f"{len(missing)} {what}: {path}")


def make(recipe: Recipe, piece: Piece) -> Path:
    """Make one clip; it gets the time of its source, by which a source that has changed since is known.

    Raises:
        MediaError: a source that cannot be read.
        ValueError: a window that is not in it.
        OSError: a full disk.
    """
    existing = next(folder for folder in piece.target.absolute().parents if folder.is_dir())
    if (free := shutil.disk_usage(existing).free) < RESERVE:
        raise OSError(errno.ENOSPC, f"only {free / 1e6:.0f} MB are free: make room", str(existing))
    changed = piece.source.stat().st_mtime_ns
    frames = None if piece.seconds is None else round(piece.seconds * recipe.frame_rate)
    rates = recipe.frame_rate, recipe.sample_rate
    clips = [
        Clip(_fitted(clip.frames, recipe), clip.waveform, *rates)
        for clip in Clip.pieces(
            piece.source, FRAMES_AT_ONCE, *rates, piece.start, frames, channel=recipe.channel
        )
    ]
    made = Clip.concatenate(clips).save(piece.target, crf=recipe.crf, sound_codec=recipe.sound)
    stamp(made, changed)
    return made


def _fitted(frames: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Frames uint8 (k h w 3) -> uint8 (k size size 3)."""
    if recipe.crop is not None:
        _, height, width, _ = frames.shape
        side = min(recipe.crop, height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frames = frames[:, top : top + side, left : left + side]
    if frames.shape[1:3] == (recipe.size, recipe.size):
        return frames
    return to_uint8(letterbox(frames, recipe.size)).permute(0, 2, 3, 1).contiguous().numpy()


def _is_done(piece: Piece) -> bool:
    return is_made_of(piece.target, piece.source.stat().st_mtime_ns)


def _same_recipe(path: Path, recipe: Recipe) -> None:
    if path.is_file():
        made = read_json(path, advice="delete it with train/ and test/")
        if not isinstance(made, dict):
            raise FetchError(f"{path}: holds no settings by name; delete it with train/ and test/")
        made = BEFORE | made
        if made != asdict(recipe):
            changed = [
                f"{key} {made.get(key)}" for key, value in asdict(recipe).items() if made.get(key) != value
            ]
            raise FetchError(
                f"{path.parent}: holds clips made with {', '.join(changed)}; delete train/, test/ and {path.name} "
                "to make them anew, or give another --root"
            )
        return
    write_json(path, asdict(recipe))


def _remove_drafts(folder: Path) -> None:
    """What a killed run left half written; the lock says that nobody else is at work."""
    if folder.is_dir():
        for path in folder.iterdir():
            if DRAFT.fullmatch(path.name):
                path.unlink()


def _tell(problems: list[str], of: int, path: Path) -> int:
    if not problems:
        path.unlink(missing_ok=True)
        print(f"all {of} clips are there")
        return 0
    with whole(path) as draft:
        draft.write_text("".join(sorted(problems)), "utf-8")
    print(
        f"{len(problems)} of {of} clips could not be made, for example:\n  {problems[0]}All of them: {path}"
    )
    return 1
