"""Media files opened with care: decoders that stop at the first fault, and an account of what they were given.

What is found here: errors that a decoder reports, packets and frames that FFmpeg marks as damaged, pictures that
went in and did not come out. What cannot be known: most formats carry no checksums, so damage that happens to
spell valid data decodes to something else without a word.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av

from rflav_lib.av_files import MediaError
from rflav_lib.av_length import check_length

Kind = Literal["video", "audio"]

# lists of other files, which may lie anywhere; and text, which FFmpeg would show as a terminal does
NOT_MEDIA = {"hls", "concat", "dash", "imf", "sdp", "tty"}
LIST_BEGINS = (b"#EXTM3U", b"ffconcat")
TIMEOUT = 9.0  # s; for opening a file, and for one packet of it
# stop at the first fault rather than paint over it; a header may not ask for gigabytes
STRICT = {"err_detect": "crccheck+bitstream+buffer+explode", "max_pixels": str(8192 * 8192)}
VP8_SHOWN = 0x10  # VP8 keeps reference pictures that are never shown; this bit of a packet's first byte tells


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file's container, for reading; every failure inside is a MediaError that names the file."""
    try:
        if not path.is_file():
            raise MediaError(f"{path}: no such file")
        if _is_text(path):
            raise MediaError(f"{path}: is a text or a playlist, not a media file")
        check_length(path)
        # absolute, so that no name is taken for a protocol; and whatever it holds may not fetch other things
        with av.open(
            str(path.absolute()),
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
            timeout=TIMEOUT,
        ) as container:
            if NOT_MEDIA & set(container.format.name.split(",")):
                raise MediaError(f"{path}: is a text or a playlist, not a media file")
            yield container
    except MediaError:
        raise
    except (av.FFmpegError, OSError, ValueError, ArithmeticError, LookupError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, IndexError):  # PyAV counts the streams when it opens a file
            reason = "damaged: data of a stream that its header does not name"
        elif isinstance(error, av.error.ExitError):
            reason = f"damaged, or out of reach: no data within {TIMEOUT:g} s"
        elif isinstance(error, av.InvalidDataError):
            reason = f"damaged, or not a media file at all ({reason})"
        raise MediaError(f"{path}: cannot be decoded: {reason}") from error


def best_stream(container: Any, kind: Kind) -> Any | None:
    """The stream that players would choose, its decoder made strict; None if there is none of that kind."""
    stream = container.streams.best(kind)
    if stream is None or stream.disposition & av.stream.Disposition.attached_pic:  # a cover is no video
        return None
    if stream.codec_context is None:
        raise MediaError(f"{container.name}: no decoder for its {kind}")
    stream.codec_context.thread_count = 1  # the same everywhere; whoever wants more reads more files at once
    stream.codec_context.options = STRICT
    return stream


def _is_text(path: Path) -> bool:
    """Looked at before FFmpeg does, which would follow a playlist and wait for what it names."""
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith(LIST_BEGINS) or (
        bool(head) and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    )


def seek(container: Any, stream: Any, seconds: float) -> bool:
    """Go to the key frame at or before an instant on the file's clock; False where a file does not allow that."""
    # program streams date only some of their frames: the rest are counted
    if container.format.name == "mpeg":
        return False
    try:
        container.seek(int(Fraction(seconds) / stream.time_base), stream=stream)
    except av.FFmpegError:
        return False
    return True


def decoded(path: Path, container: Any, stream: Any, after_seek: bool = False) -> Iterator[Any]:
    """The stream's frames in order of time, from where the container stands, each of them whole.

    `after_seek`: what comes before the first frame may be the rest of something whose beginning was not read, and
    pictures begin at the next key frame.

    Raises:
        MediaError: damaged packets or frames, a frame without a time stamp, a picture that got lost.
    """
    kind, awaited, first = stream.type, set(), None
    from_key = after_seek and kind == "video"
    for packet in _packets_from_key(container, stream) if from_key else container.demux(stream):
        forgiven = after_seek and first is None
        if packet.is_corrupt and not forgiven:
            raise MediaError(f"{path}: is damaged: a {kind} packet is cut short or fails its checksum")
        if kind == "video" and packet.pts is not None and _shown(packet):
            awaited.add(packet.pts)
        for frame in _frames_of(packet, forgiven):
            if frame.pts is None:
                raise MediaError(f"{path}: a {kind} frame has no time stamp; convert the file first")
            if frame.is_corrupt:
                raise MediaError(f"{path}: is damaged: the {kind} at {frame.time:.2f} s cannot be decoded")
            first = frame.pts if first is None else first
            awaited.discard(frame.pts)
            lost = min((pts for pts in awaited if first <= pts < frame.pts), default=None)
            if lost is not None:
                raise MediaError(f"{path}: is damaged: no picture at {float(lost * stream.time_base):.2f} s")
            yield frame
    if first is not None and any(pts >= first for pts in awaited):
        raise MediaError(f"{path}: is damaged: its last {len(awaited)} pictures cannot be decoded")


def _frames_of(packet: Any, forgiven: bool) -> list[Any]:
    try:
        return packet.decode()
    except av.FFmpegError:
        if forgiven:
            return []
        raise


def _packets_from_key(container: Any, stream: Any) -> Iterator[Any]:
    key = None
    for packet in container.demux(stream):
        if key is None and packet.is_keyframe:
            key = packet.pts
        flush = packet.dts is None and packet.size == 0
        if flush or (key is not None and (packet.pts is None or packet.pts >= key)):
            yield packet


def _shown(packet: Any) -> bool:
    if packet.is_discard:
        return False
    return packet.stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & VP8_SHOWN)
