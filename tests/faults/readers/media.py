"""Media files and archives."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from data_scripts.archives import unpack
from rflav_lib.media import Clip
from tests.faults.readers.base import Found


def make_media(folder: Path) -> list[Path]:
    """Two seconds each of H.264 and AAC, of VP8 and Opus."""
    from tests.media_files import write_samples

    return write_samples(folder)


def read_media(folder: Path, path: Path) -> Found:
    """All of a clip. That its content is no lie is judged by tests/mutated_media.py, which asks FFmpeg."""
    clip = Clip.read(path)
    if not (np.isfinite(clip.waveform).all() and len(clip) == round(clip.duration * clip.frame_rate)):
        return "a clip that does not fit itself", None
    return "a clip", None


def make_archives(folder: Path) -> list[Path]:
    """The same three files as zip, tar and tar.gz."""
    source = folder / "source"
    for number in range(3):
        path = source / "train" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.random.default_rng(number).bytes(700) + b"word " * 60)
    made = [folder / name for name in ("a.zip", "a.tar", "a.tar.gz")]
    with zipfile.ZipFile(made[0], "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*.mp4")):
            archive.write(path, path.relative_to(source))
    for path, mode in zip(made[1:], ("w", "w:gz"), strict=True):
        with tarfile.open(path, mode) as archive:
            archive.add(source, "")
    return made


def read_archive(folder: Path, path: Path) -> Found:
    """Names and bytes of what came out; nothing may have come out elsewhere."""
    before = set(folder.rglob("*"))
    out = unpack(path, folder / "out" / "here")
    inside = {
        str(each.relative_to(out)): each.read_bytes() for each in sorted(out.rglob("*")) if each.is_file()
    }
    shutil.rmtree(folder / "out")
    if set(folder.rglob("*")) != before:
        return "files outside of the folder", None
    return "a folder", inside
