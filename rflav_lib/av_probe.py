"""What a media file holds: streams, sizes, rates, and the time that picture and sound share. Cheap."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from rflav_lib.av_files import MediaError
from rflav_lib.av_orientation import orientation, square_width
from rflav_lib.av_source import Kind, best_stream, decoded, opened

TAIL = 3.0  # s; the last packets are looked for in so much of the end
SLACK = 0.05  # s; headers round, and some forget how long the last frame lasts
# formats whose headers say how long each stream is; others are guessed at
INDEXED = {"mov", "avi", "wav", "flac"}
TIMED = INDEXED | {"matroska", "flv"}  # ... how long the whole is
SAMPLE_RATES = range(2000, 768_001)  # Hz; anything else is a damaged header


@dataclass(frozen=True)
class MediaInfo:
    """Facts about a file, from its headers, the first frame of each stream, and its last packets.

    Attributes:
        video_codec, audio_codec: FFmpeg's names; None where there is no such stream.
        width, height: of the picture as it is shown, in pixels: turned, and with square pixels.
        rotation, mirrored: degrees counter-clockwise by which the stored picture is turned to be shown, and
            whether it is then mirrored.
        frame_rate: average frames per second; it may vary.
        sample_rate, channels: of the sound.
        video_start, video_end, audio_start, audio_end: s on the file's clock; when the first frame or sample
            begins, and the last one ends.
        audio_tick: s; how finely the file dates its sound (WebM and Matroska: 0.001).
    """

    video_codec: str | None = None
    audio_codec: str | None = None
    width: int = 0
    height: int = 0
    rotation: int = 0
    mirrored: bool = False
    frame_rate: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    video_start: float = 0.0
    video_end: float = 0.0
    audio_start: float = 0.0
    audio_end: float = 0.0
    audio_tick: float = 0.0

    @property
    def start(self) -> float:
        """When the time begins that picture and sound share, in s; of the only stream, if there is one."""
        return max(begin for begin, _ in self._spans())

    @property
    def end(self) -> float:
        """When it ends."""
        return min(end for _, end in self._spans())

    @property
    def duration(self) -> float:
        """Length in s of the time that picture and sound share; 0 if they share none."""
        return max(0.0, self.end - self.start)

    def frames_at(self, frame_rate: float) -> int:
        """Number of frames of a Clip at this rate: the shared time, rounded to whole frames."""
        return round(self.duration * frame_rate)

    def _spans(self) -> list[tuple[float, float]]:
        video, audio = (self.video_start, self.video_end), (self.audio_start, self.audio_end)
        return [span for span, codec in ((video, self.video_codec), (audio, self.audio_codec)) if codec]


def probe(path: str | Path) -> MediaInfo:
    """Look into a media file without decoding more than a frame of each stream.

    Raises:
        MediaError: no such file, not a media file, neither picture nor sound in it, shorter than it says itself,
            or a beginning that cannot be decoded.
    """
    path = Path(path)
    facts: dict[str, Any] = {}
    with opened(path) as container:
        indexed = _is(container, INDEXED)
        promised = container.duration / av.time_base if container.duration and _is(container, TIMED) else 0.0
    packets = None if indexed else _last_packets(path)
    if packets is not None and max(packets.values(), default=0.0) < promised - SLACK:
        ends = max(packets.values(), default=0.0)
        raise MediaError(f"{path}: is truncated: ends after {ends:.2f} s of {promised:.2f} s")
    descriptions: dict[Kind, Callable[[Path, Any, Any], dict[str, Any]]] = {
        "video": _picture_facts,
        "audio": _sound_facts,
    }
    for kind, describe in descriptions.items():
        with opened(path) as container:
            stream = best_stream(container, kind)
            if stream is None:
                continue
            _check_index(path, stream)
            first = next(decoded(path, container, stream), None)
            if first is None:
                raise MediaError(f"{path}: the {kind} stream is empty")
            if packets is None and stream.duration:
                end = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
            else:
                packets = _last_packets(path) if packets is None else packets
                end = packets.get(stream.index, 0.0)
            facts |= describe(path, stream, first) | {f"{kind}_start": first.time}
            facts[f"{kind}_end"] = max(end, first.time)
    if not facts:
        raise MediaError(f"{path}: has neither picture nor sound")
    return MediaInfo(**facts)


def require_both(path: Path, info: MediaInfo) -> None:
    """Raise a MediaError unless there are picture and sound, and a time that they share."""
    for kind, codec in (("video", info.video_codec), ("audio", info.audio_codec)):
        if codec is None:
            raise MediaError(f"{path}: has no {kind} stream; clips need both picture and sound")
    if info.duration == 0:
        raise MediaError(f"{path}: picture and sound share no time")


def frame_window(
    path: Path, info: MediaInfo, frame_rate: float, start: float, frames: int | None
) -> tuple[int, int]:
    """Number of the first frame of a window from `start` s on, and how many; None for all that follow.

    Raises:
        MediaError: less than half a frame in the whole file.
        ValueError: a start that is no multiple of a frame, or frames that the file does not have.
    """
    total = info.frames_at(frame_rate)
    if total < 1:
        raise MediaError(f"{path}: picture and sound share {info.duration:.3f} s, less than half a frame")
    first = round(start * frame_rate)
    if start < 0 or abs(first - start * frame_rate) > 1e-3:
        raise ValueError(f"start must be a multiple of a frame, {1 / frame_rate:g} s, got {start}")
    count = total - first if frames is None else frames
    if count < 1 or first + count > total:
        raise ValueError(
            f"{path}: has {total} frames at {frame_rate:g} fps, so no {count} frames from {start:g} s on"
        )
    return first, count


def _picture_facts(path: Path, stream: Any, first: Any) -> dict[str, Any]:
    rotation, mirrored = orientation(first)
    width, height = square_width(first.width, stream.sample_aspect_ratio), first.height
    if rotation % 180:
        width, height = height, width
    return {
        "video_codec": stream.codec_context.name,
        "width": width,
        "height": height,
        "rotation": rotation,
        "mirrored": mirrored,
        "frame_rate": max(0.0, float(stream.average_rate or 0)) or float(stream.guessed_rate or 0),
    }


def _sound_facts(path: Path, stream: Any, first: Any) -> dict[str, Any]:
    if first.sample_rate not in SAMPLE_RATES:
        raise MediaError(f"{path}: is damaged: sound at {first.sample_rate} Hz")
    return {
        "audio_codec": stream.codec_context.name,
        "sample_rate": first.sample_rate,
        "channels": first.layout.nb_channels,
        "audio_tick": float(stream.time_base),
    }


def _check_index(path: Path, stream: Any) -> None:
    """mp4 and its relatives say where each packet lies: a file cut short is known without reading it."""
    size = path.stat().st_size
    need = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    if need > size:
        raise MediaError(f"{path}: is truncated: it has {size:,} bytes and speaks of {need:,}")


def _last_packets(path: Path) -> dict[int, float]:
    """When each stream ends in s, from its last packets: for formats whose headers do not say (WebM, MPEG)."""
    ends: dict[int, float] = {}
    for tail in (True, False):
        with opened(path) as container:
            if tail:
                try:
                    container.seek(max(0, (container.duration or 0) - round(TAIL * av.time_base)))
                except av.FFmpegError:  # no seek points: look at all of it
                    continue
            for packet in container.demux():
                if packet.pts is not None:
                    ends[packet.stream_index] = max(ends.get(packet.stream_index, 0.0), _packet_end(packet))
            if all(stream.index in ends for stream in container.streams):
                break  # or else a stream ends long before the file does: look at all of it
    return ends


def _packet_end(packet: Any) -> float:
    if packet.duration:
        return float((packet.pts + packet.duration) * packet.time_base)
    rate = packet.stream.average_rate if packet.stream.type == "video" else None
    return float(packet.pts * packet.time_base) + (1 / float(rate) if rate and rate > 0 else 0.0)


def _is(container: Any, formats: set[str]) -> bool:
    return bool(formats & set(container.format.name.split(",")))
