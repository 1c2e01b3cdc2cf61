"""Landscape: 1000 clips of 10 s from YouTube in nine classes, 2.7 h, as MM-Diffusion and RFLAV use it.

Two ways to it:

  the bundle, as MM-Diffusion's authors share it
      python -m data_scripts.landscape fetch                  # from their Google Drive folder,
      python -m data_scripts.landscape fetch --from X.zip     # or from what you have
      python -m data_scripts.landscape prepare

  the sources: TempoTokens' list of 1171 clips, cut from YouTube videos that you get yourself
      python -m data_scripts.landscape fetch --original       # the list, and youtube.txt with the addresses
      python -m data_scripts.landscape prepare --original     # cuts what lies in <root>/raw/videos

prepare writes <root>/{train,test}/<class>/*.mp4 at 10 fps and 16 kHz; check looks at every file and draws what it saw.

No licence is stated for the bundle; the videos belong to those who put them on YouTube. For research only.
"""

import csv
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_scripts.bundle import SPLITS, Bundle, bundle_folder, fetch_bundle, refuse_ignored, split_pieces
from data_scripts.check import check_command
from data_scripts.command import Options, SubCommand, add_from, add_unpacked, run
from data_scripts.fetching import fetch
from data_scripts.media_files import media_files
from data_scripts.prepare import Piece, Recipe, add_recipe, prepare, tell_missing
from data_scripts.published import FetchError, Remote
from rflav_lib.files import whole

BUNDLE = Bundle(wanted="landscape", foreign="aist")
LIST = Remote(
    "landscape.csv",
    "https://raw.githubusercontent.com/guyyariv/TempoTokens/87ed01b58b95b54ff9d8510a71ca420884a1ac70/datasets/landscape.csv",
    41357,
    sha256="8fbe1a3ae95b938e7b666c3412cf2e82eb073e9561afc99dd646bff774dc76d3",
)
SECONDS = 10.0


@dataclass(frozen=True)
class Row:
    """A clip of the published list: ten seconds of a YouTube video from `start` s on."""

    video: str
    start: float
    label: str
    split: str

    @property
    def target(self) -> Path:
        """Where the clip lies below the root."""
        return Path(self.split, self.label, f"{self.video}_{self.start:g}.mp4")


def read_list(path: Path) -> list[Row]:
    """The rows of the published list, each clip once.

    Raises:
        FetchError: another kind of file, or a row that makes no sense; names the line.
    """  # noqa: DOC501 - the ValueError is caught, to become a FetchError
    rows: dict[tuple[str, float], Row] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for number, entry in enumerate(reader, 2):
            try:
                row = Row(entry["ytid"], float(entry["start_time"]), entry["class"], entry["set"])
                if row.split not in SPLITS or {"/", "\\"} & set(row.video + row.label) or not row.video:
                    raise ValueError(f"{row.split!r}, {row.video!r}")
            except (KeyError, TypeError, ValueError) as error:
                raise FetchError(f"{path}, line {number}: not a row of the list ({error})") from error
            # the published list repeats rows, but only whole
            if rows.setdefault((row.video, row.start), row) != row:
                raise FetchError(
                    f"{path}, line {number}: the clip stands in the list with another class or split"
                )
    return list(rows.values())


def original_pieces(rows: Sequence[Row], videos: Path, target: Path) -> tuple[list[Piece], list[str]]:
    """What to cut from downloaded videos, and the ids of those that are not there.

    A video is found by its id: the file's name without ending, or what stands in brackets at its end.

    Raises:
        FetchError: two files of one id.
    """
    wanted = {row.video for row in rows}
    by_id: dict[str, Path] = {}
    for path in media_files(videos) if videos.is_dir() else []:
        name = path.stem
        name = name[name.rfind("[") + 1 : -1] if name.endswith("]") else name
        if name in by_id and name in wanted:
            raise FetchError(f"{by_id[name]} and {path} are both of the video {name}: remove one")
        by_id[name] = path
    pieces = [
        Piece(by_id[row.video], target / row.target, row.start, SECONDS) for row in rows if row.video in by_id
    ]
    return pieces, sorted(wanted - by_id.keys())


def _fetch(options: Options) -> int:
    refuse_ignored(options)
    if not options.original:
        folder = fetch_bundle(BUNDLE, options.root, options.given)
        print(f"the bundle is in {folder}; next: prepare --from {shlex.quote(str(folder))}")
        return 0
    rows = read_list(fetch(LIST, options.root / "raw"))
    ids = sorted({row.video for row in rows})
    with whole(options.root / "raw" / "youtube.txt") as draft:
        draft.write_text("".join(f"https://www.youtube.com/watch?v={name}\n" for name in ids), "utf-8")
    print(
        f"{len(rows)} clips of {len(ids)} videos are listed in {options.root / 'raw' / 'youtube.txt'}.\n"
        f"This script downloads nothing from YouTube. Have the videos put into {options.root / 'raw' / 'videos'}, "
        "each named by its id\n(yt-dlp does so with -o '%(id)s.%(ext)s' and reads the list with -a); "
        "many will be gone. Then: prepare --original"
    )
    return 0


def _prepare(options: Options) -> int:
    refuse_ignored(options, "videos")
    if options.videos and not options.videos.is_dir():
        raise FetchError(f"--videos {options.videos}: no such folder")
    recipe = Recipe.of(options)
    if not options.original:
        folder = options.given or bundle_folder(options.root)
        return prepare(
            split_pieces(folder, options.root, BUNDLE.foreign), recipe, options.root, options.workers
        )
    listed = options.root / "raw" / LIST.name
    if not listed.is_file():
        raise FetchError(f"{listed}: no such file; run fetch --original first")
    rows = read_list(listed)
    videos = options.videos or options.root / "raw" / "videos"
    pieces, missing = original_pieces(rows, videos, options.root)
    tell_missing(missing, f"videos of the list are not in {videos}; their ids", options.root)
    if not pieces:
        raise FetchError(f"{videos}: holds none of the {len(rows)} clips' videos, named by their YouTube ids")
    return prepare(pieces, recipe, options.root, options.workers)


def _fetch_arguments(parser: ArgumentParser) -> None:
    add_from(parser)
    parser.add_argument(
        "--original", action="store_true", help="the list of YouTube ids instead of the bundle"
    )


def _prepare_arguments(parser: ArgumentParser) -> None:
    add_unpacked(parser)
    parser.add_argument(
        "--original", action="store_true", help="cut the published list's clips from whole videos"
    )
    parser.add_argument(
        "--videos", type=Path, help="with --original: their folder (default: <root>/raw/videos)"
    )
    add_recipe(parser)


STEPS = {
    "fetch": SubCommand("get the bundle, or the list of clips", _fetch, _fetch_arguments),
    "check": check_command(),
    "prepare": SubCommand("write clips to <root>/{train,test}/<class>", _prepare, _prepare_arguments),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return run("landscape", __doc__, STEPS, argv)


if __name__ == "__main__":
    sys.exit(main())
