"""What lies in a folder of clips: found once, kept next to the data, looked at again where files change.

    <root>/train/rain/a.mp4     a class folder gives the clips in it their class
    <root>/train/b.mp4          or there are no classes at all
    <root>/test/...             the same classes

Hidden files and folders (their names begin with a dot) are none of ours.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from rflav_lib.av_files import MediaError
from rflav_lib.av_probe import MediaInfo, probe, require_both
from rflav_lib.files import read_json, whole
from rflav_lib.typed import typed
from rflav_lib.warn import warn

SPLITS = ("train", "test")
INDEX = ".rflav-clips.json"
VERSION = 1  # of the index and of what `probe` finds: another one means that all files are looked at anew


@dataclass(frozen=True)
class Found:
    """A file of a split.

    Attributes:
        place: its path from the root on, with forward slashes.
        class_name: its folder; None outside a class folder.
        info: what `probe` found; None where it cannot be used.
        reason: why it cannot be used; "" if it can.
    """

    place: str
    class_name: str | None
    info: MediaInfo | None
    reason: str = ""


@contextmanager
def opened_index(
    root: Path, split: str, index_file: Path | None, workers: int
) -> Iterator[tuple[tuple[str, ...], list[Found]]]:
    """Class names, the same in every split, and all files of one split in order of their places.

    Only files that are new or have changed (size or time) are opened, and those that could not be used before.
    The stored list of classes grows at its end alone, so a label keeps its meaning; classes that have lost their
    folder come last. New classes are stored if the block ends well, what was found in files in any case.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a split that is no name of a folder of the root; an index that cannot be read.
    """
    if not isinstance(split, str) or not split or split.startswith(".") or Path(split).name != split:
        raise ValueError(
            f"split must be the name of a folder in {root}, such as train or test, not {split!r}"
        )
    if not (root / split).is_dir():
        raise FileNotFoundError(
            f"{root / split}: no such folder; clips belong into {root}/{{train,test}}/[class/]"
        )
    path = root / INDEX if index_file is None else index_file
    known = _load(path)
    class_names = _class_names(root, split, known["class_names"])
    scanned = [(found, None if found.reason else _state(root / found.place)) for found in _scan(root, split)]
    states = {found.place: state for found, state in scanned if state is not None}
    files = {
        place: entry
        for place, entry in known["files"].items()
        if not place.startswith(f"{split}/") or entry["state"] == states.get(place)
    }
    reasons: dict[str, str] = {}
    kept_classes = known["class_names"]
    try:
        for place, result in _look(root, [place for place in states if place not in files], split, workers):
            if isinstance(result, MediaInfo):
                files[place] = {"state": states[place], "info": result}
            else:
                reasons[place] = result
        found_files = [_with_facts(found, files, reasons) for found, _ in scanned]
        yield tuple(class_names), found_files + _without_folder(root, split, class_names, path)
        kept_classes = class_names
    finally:  # also after Ctrl-C, or where the caller refuses what there is
        new = {"version": VERSION, "class_names": kept_classes, "files": dict(sorted(files.items()))}
        if new != known:
            _store(path, new, asked=index_file is not None)


def _without_folder(root: Path, split: str, class_names: Sequence[str], index: Path) -> list[Found]:
    """Classes that are stored and lie in no split any more."""
    splits = [path for path in _listing(root) if path.is_dir()]
    gone = [
        (label, name)
        for label, name in enumerate(class_names)
        if not any((part / name).is_dir() for part in splits)
    ]
    return [
        Found(
            f"{split}/{name}", None, None,
            f"a class whose folder has gone; it keeps its label, {label}, and models have a place for it: delete "
            f"{index} to number the classes anew",
        )
        for label, name in gone
    ]  # fmt: skip


def _with_facts(found: Found, files: dict[str, Any], reasons: dict[str, str]) -> Found:
    if found.reason:
        return found
    if found.place in files:
        return Found(found.place, found.class_name, files[found.place]["info"])
    return Found(found.place, found.class_name, None, reasons.get(found.place, "has gone while it was read"))


def _load(path: Path) -> dict[str, Any]:
    try:
        known = read_json(path)
        version, class_names, files = known["version"], list(known["class_names"]), dict(known["files"])
        if not all(isinstance(name, str) for name in class_names) or len(set(class_names)) < len(class_names):
            raise ValueError("the names of the classes are damaged")
        if version == VERSION:
            for entry in files.values():
                entry["info"] = typed(MediaInfo, entry["info"])
                entry["state"] = [int(number) for number in entry["state"]]
    except FileNotFoundError:
        return {"class_names": [], "files": {}}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path}: not a readable index of clips ({error!r}); delete it, and it is built anew"
        ) from error
    return {"version": VERSION, "class_names": class_names, "files": files if version == VERSION else {}}


def _store(path: Path, index: dict[str, Any], asked: bool) -> None:
    """Write the index whole. Two processes may both do so: each writes all it found, and the later one stays."""
    try:
        with whole(path) as draft:
            draft.write_text(json.dumps(index, indent=0, default=asdict), encoding="utf-8")
    except OSError as error:
        if asked:
            raise
        warn(
            f"{path}: the index cannot be kept next to the data ({error.strerror}), so all files are looked at "
            "again every time; say index_file=... to keep it elsewhere"
        )


def _class_names(root: Path, split: str, stored: list[str]) -> list[str]:
    folders = {path.name for part in {*SPLITS, split} for path in _listing(root / part) if path.is_dir()}
    return stored + sorted(folders - set(stored))


def _listing(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _scan(root: Path, split: str) -> Iterator[Found]:
    """Every file of the split; what needs no opening to be refused comes with its reason."""
    top = _listing(root / split)
    classes = any(path.is_dir() for path in top)
    for path in top:
        if path.is_dir():
            yield from _scan_class(root, path)
        else:
            reason = "lies beside the class folders, so it has no class" if classes else _outside(root, path)
            yield Found(path.relative_to(root).as_posix(), None, None, reason)


def _scan_class(root: Path, folder: Path) -> Iterator[Found]:
    place = folder.relative_to(root).as_posix()
    try:
        reason, inside = _outside(root, folder), _listing(folder)
    except OSError as error:
        reason, inside = f"cannot be listed: {error.strerror}", []
    if reason or not inside:
        yield Found(place, folder.name, None, reason or "a class folder without clips")
        return
    for path in inside:
        reason = "a folder inside a class folder" if path.is_dir() else _outside(root, path)
        yield Found(path.relative_to(root).as_posix(), folder.name, None, reason)


def _outside(root: Path, path: Path) -> str:
    """Why a link is not followed; "" for what lies inside the root."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # a RuntimeError is a circle of links
        return "a dead link" if path.is_symlink() else "cannot be reached"
    return "" if target.is_relative_to(root.resolve()) else "a link that leads out of the folder"


def _state(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _look(root: Path, places: list[str], split: str, workers: int) -> Iterator[tuple[str, MediaInfo | str]]:
    """Probe files in parallel; what each holds, or why it cannot be used. FFmpeg lets go of Python's lock."""
    if not places:
        return
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        futures = {pool.submit(_probed, root / place): place for place in places}
        bar = tqdm(as_completed(futures), total=len(places), desc=f"looking at {split} clips", unit="file")
        for future in bar:
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _probed(path: Path) -> MediaInfo | str:
    try:
        info = probe(path)
        require_both(path, info)
    except MediaError as error:
        return str(error).removeprefix(f"{path}: ")
    return info
