"""Birds that sing, in one archive with train/<bird>/ and test/<bird>/.

python -m data_scripts.birds fetch       # to data/birds/raw, and unpacked to data/birds/source
python -m data_scripts.birds prepare     # data/birds/{train,test}/<bird>/*.mp4: 10 fps, 16 kHz, 256x256
python -m data_scripts.birds check
"""

import sys
from collections.abc import Sequence

from data_scripts.archives import unpack
from data_scripts.bundle import split_pieces
from data_scripts.check import check_command
from data_scripts.command import Options, SubCommand, run
from data_scripts.fetching import fetch
from data_scripts.prepare import Recipe, add_recipe, prepare
from data_scripts.published import Remote

ARCHIVE = Remote("birds.zip", "https://example.org/birds.zip")  # size= and sha256=, where they are published


def _fetch(options: Options) -> int:
    source = options.root / "source"
    if not source.is_dir():
        unpack(fetch(ARCHIVE, options.root / "raw"), source)
    print(f"the clips are in {source}; next: prepare")
    return 0


def _prepare(options: Options) -> int:
    pieces = split_pieces(options.root / "source", options.root)
    return prepare(pieces, Recipe.of(options), options.root, options.workers)


STEPS = {
    "fetch": SubCommand("get the archive and unpack it", _fetch),
    "check": check_command(),
    "prepare": SubCommand("write clips to <root>/{train,test}/<bird>", _prepare, add_recipe),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return run("birds", __doc__, STEPS, argv)


if __name__ == "__main__":
    sys.exit(main())
