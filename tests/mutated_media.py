"""Spoilt copies of media files, read in a process of their own: none may crash it, hang it, or come back as a lie.

    python -m tests.mutated_media --count 300 --folder "$RFLAV_ASSETS/clips"     # a few minutes on two cores
    python -m tests.mutated_media --count 300                                    # on small files made for it

A copy has bytes flipped, zeroed, cut out, put in, doubled, its end or beginning cut off, or another file's end put on.
What may come out: a MediaError; or a clip, if it equals the original's, or if FFmpeg itself, asked for every
error it can find, finds none and the clip is as long as the original's. Most formats carry no checksums, so a byte
flipped inside compressed data can spell other valid data, which nobody can tell.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from rflav_lib.media import Clip, MediaError
from tests.child_process import ChildProcess, Died

KINDS = (
    "flip 1",
    "flip 16",
    "flip 200",
    "zero",
    "cut out",
    "cut end",
    "cut beginning",
    "put in",
    "double",
    "splice",
)
CPU_LIMIT = 10.0  # s of the processor that reading one file may take
PATIENCE = 120.0  # s on the clock, for machines that do other things too


def mutate(data: bytes, other: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """A spoilt copy of a file; pieces that are put in come from another one."""
    spoilt, size = bytearray(data), len(data)
    place, length = int(rng.integers(1, size)), int(rng.integers(1, max(2, size // 10)))
    elsewhere = int(rng.integers(len(other)))
    match kind.split():
        case ["flip", count]:
            for position in rng.integers(0, size, int(count)):
                spoilt[position] ^= int(rng.integers(1, 256))
        case ["zero"]:
            spoilt[place : place + length] = bytes(len(spoilt[place : place + length]))
        case ["cut", "out"]:
            del spoilt[place : place + length]
        case ["cut", "end"]:
            del spoilt[place:]
        case ["cut", "beginning"]:
            del spoilt[: place // 2 + 1]
        case ["put", "in"]:
            spoilt[place:place] = other[elsewhere : elsewhere + length]
        case ["double"]:
            spoilt[place:place] = spoilt[place : place + length]
        case ["splice"]:
            spoilt[place:] = other[min(place, len(other) - 1) :]
    return bytes(spoilt)


# ------------------------------------------------------------------ in the child


def verdict(path: Path, original: Path) -> tuple[str, float]:
    """What reading a spoilt copy gave, "error", "same", "unnoticeable", or else what is wrong with it; and the
    seconds of processor that reading it took.
    """
    start = time.process_time()
    clip = _read(path)
    seconds = time.process_time() - start
    return (clip if isinstance(clip, str) else _compared(path, clip, Clip.read(original))), seconds


def _read(path: Path) -> Clip | str:
    try:
        return Clip.read(path)
    except MediaError as error:
        return "error" if str(path) in str(error) else f"an error without the file's name: {error}"
    except BaseException as error:
        return f"another error: {error!r}"


def _compared(path: Path, clip: Clip, truth: Clip) -> str:
    if repr(clip) != repr(truth):
        return f"a lie: {clip!r} instead of {truth!r}"
    if np.array_equal(clip.frames, truth.frames) and np.array_equal(clip.waveform, truth.waveform):
        return "same"
    found = complaints(path)
    return f"a lie: {found[0]}" if found else "unnoticeable"


def complaints(path: Path) -> list[str]:
    """What FFmpeg finds wrong with a file, decoding all of it."""
    found = []
    for kind in ("video", "audio"):
        try:
            with av.open(str(path), metadata_errors="replace") as container:
                stream = container.streams.best(kind)
                stream.codec_context.thread_count = 1
                stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
                for packet in container.demux(stream):
                    corrupt = packet.is_corrupt or any(frame.is_corrupt for frame in packet.decode())
                    found += [f"corrupt {kind}"] if corrupt else []
        except (av.FFmpegError, AttributeError, IndexError) as error:
            found.append(f"{kind}: {error}")
    return found


def answer_requests() -> None:
    """Read requests, one JSON list [path, original] a line; answer each with a line."""
    for line in sys.stdin:
        path, original = map(Path, json.loads(line))
        print(json.dumps(verdict(path, original)), flush=True)


# ------------------------------------------------------------------ in the parent


@dataclass(frozen=True)
class Reading:
    """One spoilt copy: which file, how it was spoilt, what came of it, and the seconds that took."""

    name: str
    kind: str
    verdict: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether this may happen."""
        return self.verdict in ("error", "same", "unnoticeable") and self.seconds < CPU_LIMIT


def asked(child: ChildProcess, path: Path, original: Path) -> tuple[str, float]:
    """The child's verdict, and the seconds of processor it took."""
    try:
        said, seconds = child.ask([str(path), str(original)])
    except Died as death:
        return str(death), PATIENCE
    return said, seconds


def read_mutated(originals: list[Path], count: int, seed: int) -> list[Reading]:
    """Spoil copies of files in turn, and read each."""
    rng, readings = np.random.default_rng(seed), []
    child = ChildProcess("tests.mutated_media", ["--child"], PATIENCE)
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number in range(count):
                original = originals[number % len(originals)]
                other = originals[int(rng.integers(len(originals)))]
                kind = KINDS[(number + number // len(KINDS)) % len(KINDS)]
                path = Path(folder) / f"spoilt {number}{original.suffix}"
                path.write_bytes(mutate(original.read_bytes(), other.read_bytes(), kind, rng))
                readings.append(Reading(original.name, kind, *asked(child, path, original)))
                path.unlink()
        finally:
            child.close()
    return readings


def main() -> None:
    """Run, print a table, and fail where something happened that may not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="spoilt copies (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="spoil copies of the files in it")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        answer_requests()
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.folder is None:
            from tests.media_files import write_samples

            originals = write_samples(Path(folder))
        else:
            originals = sorted(path for path in options.folder.iterdir() if path.is_file())
        readings = read_mutated(originals, options.count, options.seed)
    tally = Counter((reading.kind, reading.verdict.partition(":")[0]) for reading in readings)
    for kind in KINDS:
        print(f"{kind:14}", ", ".join(f"{n} {what}" for (k, what), n in sorted(tally.items()) if k == kind))
    print(f"longest: {max(reading.seconds for reading in readings):.1f} s of processor")
    bad = [reading for reading in readings if not reading.good]
    print(*bad, sep="\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
