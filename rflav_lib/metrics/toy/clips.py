"""Where the clips come from that are measured: a model, the world itself, and the codecs between them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rflav_lib.data.seeds import UNSEEN_SEED
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.draws import seed_of
from rflav_lib.image_codec import encode_frames
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline

WORLD = "toy-landscape"
WORLDS = (WORLD, "toy-dance")
"""The worlds that the trackers read in full, told apart by their classes."""
BATCH = 10

Labels = Sequence[int] | Sequence[None]


def world_of(pipeline: RFLAVPipeline) -> str:
    """The toy world that a model makes: toy-landscape with its classes, toy-dance without any.

    Raises:
        ValueError: neither has them.
    """
    names, count = tuple(pipeline.config.class_names), pipeline.transformer.config.num_classes
    for world in WORLDS:
        if names == CLASSES[world] and count == len(CLASSES[world]):
            return world
    worlds = "; ".join(f"{world}: {', '.join(CLASSES[world]) or 'none'}" for world in WORLDS)
    raise ValueError(
        f"not a model of a toy world: {count} classes ({', '.join(names) or 'no names'}), but there are {worlds}"
    )


def labels_of(world: str, first: int, last: int) -> Labels:
    """Labels of clips number `first` up to `last`: the classes in turn, or None for each."""
    classes = len(CLASSES[world])
    return [index % classes for index in range(first, last)] if classes else [None] * (last - first)


def generated_clips(
    pipeline: RFLAVPipeline,
    labels: Labels,
    num_frames: int,
    steps_per_frame: int,
    seed: int,
    batch: int = BATCH,
    start: int = 0,
    **sampling: Any,
) -> Iterator[Clip]:
    """One clip for each label, generated in batches; label number i is clip number `start` + i.

    `sampling`, such as `guidance_scale` and `dtype`, goes to the pipeline.

    Each batch has a seed of its own, from `seed` and its first clip's number, so that it can be made without those
    before it.
    """
    for first in range(0, len(labels), batch):
        part = labels[first : first + batch]
        y = [label for label in part if label is not None] or None
        generator = torch.Generator().manual_seed(seed_of(seed, start + first) >> 1)
        yield from pipeline(
            num_frames, steps_per_frame, y, generator=generator, num_clips=len(part), **sampling
        )


def real_clips(labels: Labels, num_frames: int, start: int = 0) -> Iterator[Clip]:
    """One unseen real clip for each label, of toy-dance for None; label number i is clip number `start` + i."""
    for index, label in enumerate(labels, start):
        world = "toy-dance" if label is None else WORLD
        yield make_clip(world, UNSEEN_SEED, index, num_frames, label).clip


def through_codecs(clip: Clip, pipeline: RFLAVPipeline, streamed: bool = False) -> Clip:
    """Encode and decode a clip: what is left of a real clip when only the codecs have touched it.

    The vocoder takes the whole sound, or, `streamed`, piece by piece as `pipeline.stream` does, which is less exact.
    """
    video = encode_frames(pipeline.vae, clip.frames)[None]
    audio = pipeline.mel.encode(torch.from_numpy(clip.waveform), clip.sample_rate)
    if not streamed:
        return pipeline.decode(video, audio)[0]
    vocoder = pipeline.vocoder.stream(batch=1)
    sound = torch.cat([vocoder.push(pipeline.mel.decode(audio)), vocoder.flush()], dim=1)
    return pipeline.decode(video, audio, sounds=[sound[0].float().cpu().numpy()])[0]
