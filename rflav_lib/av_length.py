"""Is a media file as long as its container says? Costs a few reads, decodes nothing, and knows a cut file at once."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rflav_lib.av_files import MediaError

TS_PACKET = 188  # bytes
# what an mp4 or its relatives begin with
BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"}
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # what Matroska and WebM are made of


def check_length(path: Path) -> None:
    """Raise a MediaError for a file that is cut short, or (AVI, Matroska, WebM, MPEG-TS) has bytes put in or
    taken out. Streams without a length, and formats that are not known here, pass.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in BOXES:
            _compare(path, size, max(_box_ends(file, size)), exact=False)
        elif head[:4] == b"RIFF" and head[4:8] not in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
            end = 8 + int.from_bytes(head[4:8], "little")
            file.seek(end)
            more = file.read(4) == b"RIFF"  # long AVI files have several parts
            _compare(path, size, end, exact=head[8:12] == b"AVI " and not more)
        elif head[:4] == EBML:
            segment_end = _segment_end(file)
            if segment_end is not None:
                _compare(path, size, segment_end, exact=True)
        elif head[:1] == b"\x47" and _is_transport_stream(file):
            _compare(path, size, size - size % TS_PACKET + (TS_PACKET if size % TS_PACKET else 0), exact=True)


def _compare(path: Path, size: int, promised: int, exact: bool) -> None:
    if size < promised - 1:
        raise MediaError(f"{path}: is truncated: it has {size:,} bytes and speaks of {promised:,}")
    if exact and size > promised + 1:  # one may be padding
        raise MediaError(f"{path}: is damaged: it has {size:,} bytes and speaks of {promised:,}")


def _box_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where each top-level box of an mp4 file ends, until something else comes."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        length, kind, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        length = {0: size - end, 1: long}.get(length, length)  # 0: to the end of the file
        if length < 8 or not kind.isascii():
            break
        end += length
        yield end


def _segment_end(file: BinaryIO) -> int | None:
    """Where the Matroska segment ends; None for live recordings, which do not know."""
    file.seek(4)
    header = _vint(file)
    if header is None:
        return None
    file.seek(header, 1)
    if file.read(4) != SEGMENT:
        return None
    length = _vint(file)
    return None if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """An EBML number of one to eight bytes, whose leading zeros say how many; None if all ones: not known."""
    first = file.read(1)[0]
    if first == 0:
        return None
    count = 9 - first.bit_length()
    value = int.from_bytes(bytes([first]) + file.read(count - 1)) & ((1 << 7 * count) - 1)
    return None if value == (1 << 7 * count) - 1 else value


def _is_transport_stream(file: BinaryIO) -> bool:
    file.seek(0)
    return set(file.read(4 * TS_PACKET + 1)[::TS_PACKET]) == {0x47}
