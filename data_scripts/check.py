"""A look at every media file of a dataset: picture, sound, duration, rate, size; a table, a list, and a plot."""

import csv
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_scripts.command import Options, SubCommand, add_workers
from data_scripts.media_files import media_files
from data_scripts.parallel import each
from data_scripts.published import FetchError
from rflav_lib.files import whole
from rflav_lib.media import MediaInfo, probe

SPLITS = ("train", "test")
APART = 0.5  # s by which picture and sound may differ in length before it is worth a word
NAMED = 20  # problems spelled out before the rest is counted


@dataclass(frozen=True)
class Finding:
    """A file, what it holds, and what is wrong with it ("" if nothing is)."""

    path: Path
    info: MediaInfo | None
    problem: str

    @property
    def rate(self) -> str:
        """Frames per second, in words."""
        return f"{self.info.frame_rate:.4g}" if self.info and self.info.video_codec else "none"

    @property
    def size(self) -> str:
        """Width and height, in words."""
        return f"{self.info.width}x{self.info.height}" if self.info and self.info.video_codec else "none"

    @property
    def sound(self) -> str:
        """Sample rate and channels, in words."""
        return (
            f"{self.info.sample_rate} Hz x{self.info.channels}"
            if self.info and self.info.audio_codec
            else "none"
        )


def check_command() -> SubCommand:
    """The sub-command `check`, the same for all datasets."""
    return SubCommand("probe every media file: a table, check.csv, check.png", _run, _arguments)


def check(folder: Path, root: Path, workers: int | None = None) -> int:
    """Probe all media below `folder`, print what was found, and write check.csv and check.png to `root`.

    Returns:
        0; 1 if there are problems.

    Raises:
        FetchError: nothing to look at. ValueError: a link out of the folder.
    """
    if not folder.is_dir():
        raise FetchError(f"{folder}: no such folder")
    paths = media_files(folder)
    if not paths:
        raise FetchError(f"{folder}: holds no media")
    found = sorted(
        (judge(path, outcome) for path, outcome in each(probe, paths, "probing", workers)),
        key=lambda f: f.path,
    )
    print(table(found, folder))
    problems = [f"{finding.path}: {finding.problem}" for finding in found if finding.problem]
    problems += [f"{path}: no media in it" for path in empty_folders(folder)]
    print("\n".join(problems[:NAMED]))
    if len(problems) > NAMED:
        print(f"and {len(problems) - NAMED} more")
    root.mkdir(parents=True, exist_ok=True)
    _write_list(found, folder, root / "check.csv")
    with whole(root / "check.png") as draft:
        plot(found, folder, len(problems)).savefig(draft, dpi=120)
    print(f"{len(found)} files, {len(problems)} problems; see {root / 'check.csv'} and {root / 'check.png'}")
    return int(bool(problems))


def judge(path: Path, outcome: MediaInfo | Exception) -> Finding:
    """What to say of a file that was probed, or could not be."""
    if isinstance(outcome, Exception):
        return Finding(path, None, str(outcome).removeprefix(f"{path}: ") or type(outcome).__name__)
    if outcome.audio_codec is None:
        return Finding(path, outcome, "has no sound")
    if outcome.video_codec is None:
        return Finding(path, outcome, "has no picture")
    if outcome.duration == 0:
        return Finding(path, outcome, "picture and sound share no time")
    picture, sound = outcome.video_end - outcome.video_start, outcome.audio_end - outcome.audio_start
    if abs(picture - sound) > APART:
        return Finding(path, outcome, f"{picture:.2f} s of picture, {sound:.2f} s of sound")
    return Finding(path, outcome, "")


def empty_folders(folder: Path) -> list[Path]:
    """Folders below train/ and test/ without media: classes that would silently not exist."""
    found = []
    for split in sorted(path for name in SPLITS for path in folder.rglob(name) if path.is_dir()):
        for path in sorted(child for child in split.iterdir() if child.is_dir()):
            if not path.name.startswith(".") and not media_files(path):
                found.append(path)
    return found


def table(found: Sequence[Finding], folder: Path) -> str:
    """A line for each folder: files, minutes, problems, and what the files are, most frequent first."""
    groups: dict[str, list[Finding]] = {}
    for finding in found:
        groups.setdefault(str(finding.path.parent.relative_to(folder)), []).append(finding)
    head = ("folder", "files", "minutes", "no sound", "problems", "fps", "size", "sound")
    lines = [head]
    for name, group in groups.items():
        minutes = sum(finding.info.duration for finding in group if finding.info) / 60
        lines.append(
            (
                name, str(len(group)), f"{minutes:.1f}", str(sum(f.problem == "has no sound" for f in group)),
                str(sum(bool(f.problem) for f in group)), _kinds([f.rate for f in group]),
                _kinds([f.size for f in group]), _kinds([f.sound for f in group]),
            )
        )  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def plot(found: Sequence[Finding], folder: Path, problems: int) -> Figure:
    """Files a folder, durations, frame rates, sizes."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(f"{folder.name}: {len(found)} files, {problems} problems")
    ((folders, durations), (rates, sizes)) = figure.subplots(2, 2)
    _bars(folders, Counter(str(f.path.parent.relative_to(folder)) for f in found), "files in each folder", 24)
    durations.hist([f.info.duration for f in found if f.info], bins=40)
    durations.set(title="duration that picture and sound share", xlabel="s", ylabel="files")
    _bars(rates, Counter(f.rate for f in found), "frames per second", 12)
    _bars(sizes, Counter(f.size for f in found), "picture size", 12)
    return figure


def _bars(axes: Axes, counts: Counter[str], title: str, most: int) -> None:
    shown = counts.most_common(most)[::-1]
    axes.barh([name for name, _ in shown], [count for _, count in shown])
    hidden = len(counts) - len(shown)
    axes.set(title=title + (f" ({hidden} kinds more)" if hidden else ""), xlabel="files")


def _kinds(words: list[str]) -> str:
    counts = Counter(words).most_common()
    return counts[0][0] + (f" (+{len(counts) - 1} kinds)" if len(counts) > 1 else "")


def _write_list(found: Sequence[Finding], folder: Path, path: Path) -> None:
    with whole(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "seconds", "fps", "size", "sound", "video codec", "audio codec", "problem"])
        for f in found:
            codecs = (f.info.video_codec, f.info.audio_codec) if f.info else ("", "")
            seconds = f"{f.info.duration:.3f}" if f.info else ""
            writer.writerow(
                [f.path.relative_to(folder), seconds, f.rate, f.size, f.sound, *codecs, f.problem]
            )


def _run(options: Options) -> int:
    return check(options.given or options.root, options.root, options.workers)


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="given", type=Path, metavar="FOLDER", help="look at this folder instead of <root>"
    )
    add_workers(parser)
