"""The toy worlds as folders of mp4 files, with the exact events beside them: real files whose truth is known.

  python -m data_scripts.toy prepare --world toy-landscape --train 200 --test 40
  python -m data_scripts.toy check

prepare writes <root>/{train,test}/<class>/*.mp4 (64x64, 10 fps, 16 kHz) and <root>/events.json: for each file its
world, seed, index, label, facts, and events (time in s, kind, object, value). The same numbers give the same clips.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_scripts.check import check_command
from data_scripts.command import Options, SubCommand, add_workers, run
from data_scripts.parallel import each
from data_scripts.published import FetchError
from rflav_lib.av_files import MediaError
from rflav_lib.av_probe import probe
from rflav_lib.data.seeds import kept_for
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.data.toy_scenes.canvas import FRAME_RATE
from rflav_lib.files import read_json, write_json
from rflav_lib.locks import held
from rflav_lib.numbers_given import LARGEST_SEED, whole_number

EVENTS = "events.json"
CRF = 8  # H.264 quality at which the trackers see what they see in memory; at 16 one drop in a hundred blurs


@dataclass(frozen=True)
class Numbered:
    """A clip to make: its split, and its number in the world of that seed."""

    split: str
    index: int


@dataclass(frozen=True)
class World:
    """What is the same for all clips of a folder."""

    root: Path
    world: str
    seed: int
    frames: int


def write_clip(world: World, number: Numbered) -> tuple[str, dict[str, Any]]:
    """Write one clip unless it is there, as long as it should be; its path below the root, and the truth behind it."""
    classes = CLASSES[world.world]
    label = number.index % len(classes) if classes else None  # every class as often
    made = make_clip(world.world, world.seed, number.index, world.frames, label)
    folder = Path(number.split, classes[label]) if label is not None else Path(number.split)
    path = folder / f"{number.index:05d}.mp4"
    if not _is_done(world.root / path, world.frames):
        made.clip.save(world.root / path, crf=CRF)
    truth = {
        "world": world.world, "seed": world.seed, "index": number.index, "label": label, "facts": made.facts,
        "events": [asdict(event) for event in made.events],
    }  # fmt: skip
    return path.as_posix(), truth


def _is_done(path: Path, frames: int) -> bool:
    """Whether a clip of so many frames is there: an empty or damaged file is made anew."""
    try:
        return path.is_file() and probe(path).frames_at(FRAME_RATE) == frames
    except MediaError:
        return False


def prepare(world: World, train: int, test: int, workers: int | None = None) -> int:
    """Write the clips and their events. No clip of the test split is one of the train split.

    A second process with the same root waits for the first. An interrupted run leaves the events that were there.

    Raises:
        ValueError: numbers of which no clips can be made. FetchError: the folder holds clips of other settings.
        OSError, MediaError: what cannot be written.
    """
    for name, count, least in (("train", train, 0), ("test", test, 0), ("frames", world.frames, 1)):
        whole_number(count, f"--{name}", least)
    whole_number(world.seed, "--seed", 0, LARGEST_SEED)
    if kept := kept_for(world.seed):
        raise ValueError(f"--seed {world.seed} is kept: {kept}; take another, for these clips are trained on")
    whole_number(train + test, "--train and --test together")
    world.root.mkdir(parents=True, exist_ok=True)
    with held(world.root / ".prepare.lock"):
        return _prepare_alone(world, train, test, workers)


def _prepare_alone(world: World, train: int, test: int, workers: int | None) -> int:
    settings = {
        "world": world.world,
        "seed": world.seed,
        "frames": world.frames,
        "train": train,
        "test": test,
    }
    path = world.root / EVENTS
    if path.is_file():
        stored = read_json(path, "delete it with train/ and test/")
        made = stored.get("settings") if isinstance(stored, dict) else None
        if made != settings:
            raise FetchError(f"{world.root}: holds clips of {made}; delete it, or give another --root")
    else:
        _write_events(path, settings, {})  # an interrupted run must not go on with other settings
    numbers = [Numbered("train" if index < train else "test", index) for index in range(train + test)]
    clips: dict[str, dict[str, Any]] = {}
    for _, outcome in each(partial(write_clip, world), numbers, "writing", workers):
        if isinstance(outcome, Exception):
            raise outcome
        clips |= dict([outcome])
    _write_events(path, settings, clips)
    print(f"{len(clips)} clips are in {world.root}, their events in {path}")
    return 0


def _write_events(path: Path, settings: dict[str, Any], clips: dict[str, dict[str, Any]]) -> None:
    content = {"settings": settings, "clips": dict(sorted(clips.items()))}
    write_json(path, content)


def _fetch(options: Options) -> int:
    print("There is nothing to fetch: these clips are made. Run prepare.")
    return 0


def _prepare(options: Options) -> int:
    world = World(options.root, options.world, options.seed, options.frames)
    return prepare(world, options.train, options.test, options.workers)


def _prepare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--world", choices=CLASSES, default="toy-landscape", help="default: %(default)s")
    parser.add_argument("--train", type=int, default=200, help="clips (default: %(default)s)")
    parser.add_argument("--test", type=int, default=40, help="clips (default: %(default)s)")
    parser.add_argument(
        "--frames", type=int, default=40, help="frames a clip, 10 a second (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    add_workers(parser)


STEPS = {
    "fetch": SubCommand("nothing to fetch: clips are made", _fetch),
    "check": check_command(),
    "prepare": SubCommand("write the clips and events.json", _prepare, _prepare_arguments),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return run("toy", __doc__, STEPS, argv)


if __name__ == "__main__":
    sys.exit(main())
