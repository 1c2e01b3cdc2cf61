"""What the trackers read from one clip."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from rflav_lib.data.toy_trackers import (
    Tally,
    Tempo,
    audible_class,
    audible_events,
    av_offset,
    pitch_agreement,
    right_objects,
    tempo,
    visual_class,
    visual_events,
)
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.typed import typed

UNREAD = Tally()


@dataclass(frozen=True)
class Reading:
    """What the trackers read from one clip.

    Attributes:
        asked, seen, heard: label asked for, and read from pixels and from sound; None where nothing was
            recognised. All None for a clip of toy-dance, which has no classes.
        offset_ms: median of sound minus picture; None where no event matched.
        close: events seen, away from the clip's ends, and those of them with their sound within 100 ms.
        objects: moments looked at, and those with the right number of objects (`toy_tracking.counting`).
        pitch: events or frames compared, and those whose pitch is what the picture asks for
            (`toy_tracking.agreeing`); nothing of a pendulum or a dance.
        tempo_seen, tempo_heard: of the beats of toy-dance; None where fewer than four were found, and in
            other worlds.
    """

    asked: int | None
    seen: int | None
    heard: int | None
    offset_ms: float | None
    close: Tally = UNREAD
    objects: Tally = UNREAD
    pitch: Tally = UNREAD
    tempo_seen: Tempo | None = None
    tempo_heard: Tempo | None = None

    @property
    def share_close(self) -> float:
        """Share of the events seen that have their sound within 100 ms; NaN where none was seen."""
        return self.close.share

    @classmethod
    def from_mapping(cls, stored: dict[str, Any]) -> "Reading":
        """The reading that `dataclasses.asdict` turned into `stored`. Raises TypeError for another mapping."""
        made = dict(stored)
        for name, kind in (
            ("close", Tally), ("objects", Tally), ("pitch", Tally), ("tempo_seen", Tempo), ("tempo_heard", Tempo)
        ):  # fmt: skip
            made[name] = None if stored.get(name) is None else typed(kind, stored[name])
        return typed(cls, made)


def read_clip(clip: Clip, asked: int | None, pipeline: RFLAVPipeline) -> Reading:
    """Run all trackers on a clip; the sound is read from its log-mel, with the pipeline's settings.

    `asked` is a label of toy-landscape, or None for a clip of toy-dance.
    """
    log_mel = pipeline.mel.log_mel(torch.from_numpy(clip.waveform))[0].numpy()
    offset = av_offset(clip.frames, log_mel, asked)
    dance = asked is None
    return Reading(
        asked=asked,
        seen=None if dance else visual_class(clip.frames),
        heard=None if dance else audible_class(log_mel),
        offset_ms=None if math.isnan(offset.seconds) else 1000 * offset.seconds,
        close=offset.close,
        objects=right_objects(clip.frames, asked),
        pitch=pitch_agreement(clip.frames, log_mel, asked),
        tempo_seen=_beats(visual_events(clip.frames, None)) if dance else None,
        tempo_heard=_beats(audible_events(log_mel, None)) if dance else None,
    )


def _beats(events: list) -> Tempo | None:
    return tempo([event.time for event in events if event.kind == "beat"])
