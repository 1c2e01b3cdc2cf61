"""MM-Diffusion's bundle, Landscape and AIST++ in one Google Drive folder: fetched, unpacked, listed."""

import shutil
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_scripts import drive
from data_scripts.archives import ArchiveError, is_archive, unpack
from data_scripts.media_files import SUFFIXES, all_files
from data_scripts.prepare import Piece
from data_scripts.published import FetchError
from rflav_lib.files import whole_folder

DRIVE_FOLDER = "14A1zaQI5EfShlv3QirgCGeNFzZBzQ3lq"
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Bundle:
    """One dataset of the bundle.

    Attributes:
        wanted: pattern of its paths in the Drive folder.
        foreign: a word in the paths of the other dataset, in lower case.
    """

    wanted: str
    foreign: str


def fetch_bundle(bundle: Bundle, root: Path, given: Sequence[Path]) -> Path:
    """Bring the bundle to `<root>/source`, from Drive or from archives that the user has.

    Archives, also those in archives, are unpacked. Files that Drive serves one by one stay in `<root>/raw/bundle`.

    Returns:
        The folder to prepare from.

    Raises:
        FetchError: Drive refuses, or what was given is not there or cannot be used. ArchiveError: see `unpack`.
    """
    if missing := [str(path) for path in given if not path.exists()]:
        raise FetchError(f"--from {missing[0]}: no such file or folder")
    source = root / "source"
    if source.is_dir():
        print(f"{source} is there already; delete it to unpack the bundle again")
        return source
    if len(given) == 1 and given[0].is_dir():
        return given[0]
    if folders := [str(path) for path in given if path.is_dir()]:
        raise FetchError(f"{folders[0]}: give one folder, or archives, not both")
    files = list(given) or drive.fetch_folder(DRIVE_FOLDER, bundle.wanted, root / "raw" / "bundle")
    archives = [path for path in files if path.suffix.lower() not in SUFFIXES]
    if not archives and not given:
        return root / "raw" / "bundle"
    clips = _single_clips([path for path in files if path.suffix.lower() in SUFFIXES])
    if stray := [str(clips[below]) for below in clips if given and len(below.parts) == 1]:
        raise FetchError(
            f"--from {stray[0]}: lies neither below train/ nor below test/; give a folder with both"
        )
    with whole_folder(source) as draft:
        draft.mkdir()
        for path in archives:
            inner = unpack(path, _free(draft / path.name.split(".")[0]))
            for nested in [found for found in sorted(inner.rglob("*")) if _looks_packed(found)]:
                unpack(nested, _free(nested.parent / nested.name.split(".")[0]))
                nested.unlink()
        for below, path in clips.items():
            copy = draft / "clips" / below
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
    return source


def _single_clips(paths: Sequence[Path]) -> dict[Path, Path]:
    """Clips that are in no archive, by where they go: their path from `train` or `test` on, or their name."""
    clips: dict[Path, Path] = {}
    for path in paths:
        splits = _splits(path.parts)
        below = Path(*path.parts[splits[-1] :]) if splits else Path(path.name)
        if below in clips:
            raise FetchError(f"{clips[below]} and {path} would both become {below}: rename one")
        clips[below] = path
    return clips


def _splits(parts: Sequence[str]) -> list[int]:
    """Which parts of a path are folders named after a split."""
    return [number for number, part in enumerate(parts[:-1]) if part.lower() in SPLITS]


def refuse_ignored(options: Namespace, *with_original: str) -> None:
    """Raise a FetchError for options that would do nothing: `--from` with `--original`, and those named without it."""
    if options.original and options.given:
        raise FetchError("--from is the bundle and --original are the sources: leave one out")
    for name in with_original:
        if not options.original and getattr(options, name) not in (None, False):
            raise FetchError(
                f"--{name.replace('_', '-')} is of no use without --original: add that, or leave it out"
            )


def bundle_folder(root: Path) -> Path:
    """Where `fetch_bundle` leaves a bundle that it fetched or unpacked."""
    served_one_by_one = root / "raw" / "bundle"
    return (
        root / "source" if (root / "source").is_dir() or not served_one_by_one.is_dir() else served_one_by_one
    )


def split_pieces(source: Path, target: Path, foreign: str = "") -> list[Piece]:
    """What to prepare from a folder, however deep `train` and `test` lie in it.

    What is left out is told: files that are no media, those of another dataset (with the word `foreign` in their
    path, in lower case), those in neither split.

    Raises:
        FetchError: nothing to prepare, or two files for the same clip.
    """
    if not source.is_dir():
        raise FetchError(f"{source}: no such folder; run fetch first, or give a folder with --from")
    pieces: dict[Path, Piece] = {}
    left_out: Counter[str] = Counter()
    for path in all_files(source):
        parts = path.relative_to(source).parts
        splits = _splits(parts)
        if path.suffix.lower() not in SUFFIXES:
            left_out[f"{path.suffix or 'no ending'}: no media"] += 1
        elif foreign and foreign in "/".join(parts[:-1]).lower():
            left_out["another dataset"] += 1
        elif not splits:
            left_out["neither below train/ nor below test/"] += 1
        else:
            split, *classes, name = parts[splits[-1] :]
            below = Path(split.lower(), *classes[:1], "-".join([*classes[1:], name])).with_suffix(".mp4")
            if below in pieces:
                raise FetchError(f"{path} and {pieces[below].source} would both become {below}: remove one")
            pieces[below] = Piece(path, target / below)
    for reason, count in sorted(left_out.items()):
        print(f"left out, {reason}: {count} files")
    if not pieces:
        raise FetchError(f"{source}: no media below a folder train/ or test/")
    return list(pieces.values())


def _looks_packed(path: Path) -> bool:
    endings = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
    return path.name.lower().endswith(endings) and is_archive(path)


def _free(folder: Path) -> Path:
    if folder.exists():
        raise ArchiveError(f"{folder}: two archives would unpack to this folder: rename one")
    return folder
