"""AIST++ as RFLAV uses it: 980 dances for training, 20 to test on, one camera, the middle 1024x1024 pixels.

Two ways to it:

  the bundle, as MM-Diffusion's authors share it
      python -m data_scripts.aist fetch                  # from their Google Drive folder,
      python -m data_scripts.aist fetch --from X.zip     # or from what you have
      python -m data_scripts.aist prepare

  the sources: AIST++'s cross-modal split, and its videos from the AIST Dance Video Database (about 18 GB)
      python -m data_scripts.aist fetch --original
      python -m data_scripts.aist prepare --original

prepare writes <root>/{train,test}/*.mp4 at 10 fps and 16 kHz; check looks at every file and draws what it saw.

The videos are for research under the database's own terms, which fetch shows and which must be accepted.
The lists come with the annotations of AIST++ (CC BY 4.0, Google).
"""

import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from data_scripts.bundle import SPLITS, Bundle, bundle_folder, fetch_bundle, refuse_ignored, split_pieces
from data_scripts.check import check_command
from data_scripts.command import Options, SubCommand, accept_terms, add_from, add_unpacked, at_least_one, run
from data_scripts.fetch_many import CONNECTIONS, fetch_all
from data_scripts.prepare import Piece, Recipe, add_recipe, prepare, tell_missing
from data_scripts.published import FetchError, Remote

BUNDLE = Bundle(wanted="aist", foreign="landscape")
VIDEOS = "https://aistdancedb.ongaaccel.jp/v1.0.0/video/10M/"
TERMS = "https://aistdancedb.ongaaccel.jp/terms_of_use/"
SUMMARY = (
    "The AIST Dance Video Database is for research. Its videos may not be passed on to others.\n"
    "Only the text at that address counts: read it there."
)
LISTS_AT = "https://raw.githubusercontent.com/Stanford-TML/EDGE/38acbe5ec938782ecc6f7f4ff72c9ab11031bfdd/data/splits/"
LISTS = (
    Remote(
        "crossmodal_train.txt", LISTS_AT + "crossmodal_train.txt", 26459,
        "7c9edf42fe3cb50bfd9faf1a2ca7a0138352e2dc5fbb82b35672846269c0c2c4",
    ),
    Remote(
        "crossmodal_test.txt", LISTS_AT + "crossmodal_test.txt", 539,
        "c031cab115e5e02ac42b1ed8c7d446cb18ce0dd1da4986ffeee40a158927fe5c",
    ),
    Remote(
        "ignore_list.txt", LISTS_AT + "ignore_list.txt", 1217,
        "be44c54baa91a1aff18306da2f3fc44abd1adfbb32317ac9f9b1362685415339",
    ),
)  # fmt: skip
BYTES_EACH = 18 * 10**6  # 14 s on average at 10 Mbit/s: what the disk is checked for
FRONT = 1  # the camera that RFLAV's clips are of
CROP = 1024  # pixels of 1920x1080, as in the bundle


def sequences(lists: Path, split: str, camera: int, without_ignored: bool) -> list[str]:
    """Names of a split's videos, without ending, as one camera saw them.

    AIST++'s ignore list names sequences whose 3-D reconstruction failed. Their videos are sound and among the paper's
    980, so they stay unless `without_ignored`.

    Raises:
        FetchError: no list, or a line that names no sequence.
    """
    if not 1 <= camera <= 9:
        raise FetchError(f"there are cameras 1 to 9, not {camera}")
    names = _read(lists / f"crossmodal_{split}.txt")
    ignored = set(_read(lists / "ignore_list.txt")) if without_ignored else set()
    return [name.replace("_cAll_", f"_c{camera:02d}_") for name in names if name not in ignored]


def _read(path: Path) -> list[str]:
    if not path.is_file():
        raise FetchError(f"{path}: no such file; run fetch --original first")
    names = path.read_text("utf-8").split()
    for name in names:
        if "_cAll_" not in name or "/" in name or "\\" in name:
            raise FetchError(f"{path}: {name!r} is not the name of an AIST++ sequence")
    return names


def _fetch(options: Options) -> int:
    refuse_ignored(options, "camera", "without_ignored", "first", "connections")
    accept_terms("AIST Dance Video Database", TERMS, SUMMARY, options.accept_terms)
    if not options.original:
        folder = fetch_bundle(BUNDLE, options.root, options.given)
        print(f"the bundle is in {folder}; next: prepare --from {shlex.quote(str(folder))}")
        return 0
    raw = options.root / "raw"
    fetch_all(LISTS, raw, description="lists")
    names = [
        name for split in SPLITS for name in sequences(raw, split, _camera(options), options.without_ignored)
    ]
    names = names[: options.first]
    videos = [Remote(f"videos/{name}.mp4", f"{VIDEOS}{name}.mp4") for name in names]
    fetch_all(
        videos, raw, connections=options.connections or CONNECTIONS, about=BYTES_EACH, description="videos"
    )
    print(f"{len(videos)} videos are in {raw / 'videos'}; next: prepare --original")
    return 0


def _prepare(options: Options) -> int:
    refuse_ignored(options, "camera", "without_ignored")
    recipe = Recipe.of(options, crop=CROP)
    if not options.original:
        folder = options.given or bundle_folder(options.root)
        return prepare(
            split_pieces(folder, options.root, BUNDLE.foreign), recipe, options.root, options.workers
        )
    raw = options.root / "raw"
    pieces, missing = [], []
    for split in SPLITS:
        for name in sequences(raw, split, _camera(options), options.without_ignored):
            video = raw / "videos" / f"{name}.mp4"
            if video.is_file():
                pieces.append(Piece(video, options.root / split / video.name))
            else:
                missing.append(name)
    tell_missing(missing, "videos of the lists are not there; their names", options.root)
    if not pieces:
        raise FetchError(
            f"{raw / 'videos'}: holds no video of camera {_camera(options)}; run fetch --original"
        )
    return prepare(pieces, recipe, options.root, options.workers)


def _camera(options: Options) -> int:
    return FRONT if options.camera is None else options.camera


def _fetch_arguments(parser: ArgumentParser) -> None:
    add_from(parser)
    _add_original(parser)
    parser.add_argument(
        "--accept-terms", action="store_true", help="you have read the database's terms of use"
    )
    parser.add_argument(
        "--connections", type=at_least_one, help=f"with --original: files at once (default: {CONNECTIONS})"
    )
    parser.add_argument(
        "--first", type=at_least_one, metavar="N", help="with --original: only the first N videos"
    )


def _prepare_arguments(parser: ArgumentParser) -> None:
    add_unpacked(parser)
    _add_original(parser)
    add_recipe(parser)


def _add_original(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--original", action="store_true", help="the database's own videos instead of the bundle"
    )
    parser.add_argument("--camera", type=int, help=f"with --original: 1 to 9 (default: {FRONT}, in front)")
    parser.add_argument(
        "--without-ignored", action="store_true",
        help="with --original: leave out AIST++'s ignore list (the paper keeps it)",
    )  # fmt: skip


STEPS = {
    "fetch": SubCommand("get the bundle, or the lists and videos of the database", _fetch, _fetch_arguments),
    "check": check_command(),
    "prepare": SubCommand("write clips to <root>/{train,test}", _prepare, _prepare_arguments),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return run("aist", __doc__, STEPS, argv)


if __name__ == "__main__":
    sys.exit(main())
