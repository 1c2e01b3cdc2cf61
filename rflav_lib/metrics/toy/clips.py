"""Where the clips come from that are measured: a model, the world itself, and the codecs between them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rflav_lib.data.seeds import UNSEEN_SEED
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.data.toy_scenes.canvas import SIZE
from rflav_lib.draws import seed_of
from rflav_lib.image_codec import encode_frames
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline

WORLD = "toy-landscape"
WORLDS = (WORLD, "toy-dance")
"""The worlds that the trackers read in full."""
BATCH = 10

Labels = Sequence[int] | Sequence[None]


def world_of(pipeline: RFLAVPipeline, world: str | None = None) -> str:
    """The toy world that a model makes: `world`, if the model can be of it, or else the one that its classes tell.

    Raises:
        ValueError: a model of no toy world, or of another than `world`. One without classes does not tell its own, and
            many models have none: then the world has to be given.
    """
    names, count = tuple(pipeline.config.class_names), pipeline.transformer.config.num_classes
    theirs = f"{count} classes ({', '.join(names) or 'no names'})"
    if world is not None:
        check_world(pipeline, world)
        return world
    for each in WORLDS:
        if count and names == CLASSES[each] and count == len(CLASSES[each]):
            check_world(pipeline, each)
            return each
    if not count:
        raise ValueError(
            "a model without classes does not tell its world: name the one that it was trained on (--world toy-dance)"
        )
    worlds = "; ".join(f"{each}: {', '.join(CLASSES[each]) or 'none'}" for each in WORLDS)
    raise ValueError(f"not a model of a toy world: {theirs}, but there are {worlds}")


def check_world(pipeline: RFLAVPipeline, world: str) -> None:
    """See whether a model can be of a toy world.

    Raises:
        ValueError: it has other classes, by number or, where it names them, by name; or pictures of another size.
    """
    names, count = tuple(pipeline.config.class_names), pipeline.transformer.config.num_classes
    if count != len(CLASSES[world]) or (names and names != CLASSES[world]):
        theirs = ", ".join(CLASSES[world]) or "no classes"
        raise ValueError(
            f"--world {world} has {theirs}; this model has {count} classes ({', '.join(names) or 'no names'}): "
            "give the world that it was trained on, or leave --world out"
        )
    if pipeline.frame_size != SIZE:
        raise ValueError(
            f"not a model of {world}: its pictures have {pipeline.frame_size} pixels a side, the toy worlds' {SIZE}"
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
