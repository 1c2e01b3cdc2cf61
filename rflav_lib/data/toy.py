"""The toy worlds: procedural clips whose every event is known exactly.

`toy-landscape` has five classes, each a thing one sees and hears; `toy-dance` has none; `toy-pillar` has one for
each time that its ball stays hidden. A clip is a pure function of (world, seed, index): the same bytes each time,
made in memory in a few milliseconds. The first n frames of a longer clip are the n-frame clip.

The clock: frame k shows the instant (k + 0.5) / 10 s, the middle of the sound that belongs to it, samples
[1600 k, 1600 (k + 1)). Sample n is the instant n / 16000 s. A sudden event lights up in the frames within
0.1 s of it (see `toy_scenes.canvas.flash`) and sounds from the first sample at or after it.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from rflav_lib.data.toy_scenes.canvas import FRAME_RATE
from rflav_lib.data.toy_scenes.dance import dance
from rflav_lib.data.toy_scenes.landscape import bounce, fireworks, pendulum, rain, siren
from rflav_lib.data.toy_scenes.pillar import HIDDEN_FRAMES, pillar
from rflav_lib.data.toy_scenes.scene import Event, Scene
from rflav_lib.data.toy_scenes.synth import SAMPLE_RATE
from rflav_lib.media import Clip

__all__ = ["CLASSES", "WORLDS", "Event", "ToyClip", "add_world", "draw_label", "make_clip"]

Scenes = Mapping[str, Callable[[np.random.Generator, int], Scene]]

WORLDS: dict[str, Scenes] = {}
"""World -> its scenes by class; a world without classes has one, without a name. `add_world` fills it."""
CLASSES: dict[str, tuple[str, ...]] = {}
"""World -> its classes; a label is an index into them. A world without classes is unconditional (label
None).
"""


def add_world(name: str, scenes: Scenes) -> None:
    """Make a world known to everything that takes one: training, caches, evaluation, data_scripts.

    The built-in ones stand below. A new one goes to the end: a clip's random numbers depend on its world's place.

    Args:
        name: of the world.
        scenes: `scene(rng, num_frames)` by class; one under the name "" for a world without classes.

    Raises:
        ValueError: a name that is taken; no scene; a nameless one beside others.
    """
    if name in WORLDS:
        raise ValueError(f"there is a world {name!r} already: choose another name")
    if not scenes or ("" in scenes and len(scenes) > 1):
        raise ValueError(
            f"{name}: give a scene for each class, or a single one under the name '', got {list(scenes)}"
        )
    WORLDS[name] = dict(scenes)
    CLASSES[name] = tuple(class_name for class_name in scenes if class_name)


add_world(
    "toy-landscape",
    {"bounce": bounce, "pendulum": pendulum, "rain": rain, "fireworks": fireworks, "siren": siren},
)
add_world("toy-dance", {"": dance})
add_world("toy-pillar", {f"hidden-{n}": partial(pillar, hidden_frames=n) for n in HIDDEN_FRAMES})


@dataclass(frozen=True)
class ToyClip:
    """A clip with its truth.

    events are those inside the clip, in order of time. facts are exact numbers behind it, by class: objects
    (where there is exactly one), hue (0..1), pitch (Hz), period, fall_seconds, rise_seconds, turn_seconds,
    bpm, loop_seconds, hidden_frames, in_view_seconds.
    """

    clip: Clip
    world: str
    label: int | None
    events: tuple[Event, ...]
    facts: Mapping[str, float | int | str]


def make_clip(world: str, seed: int, index: int, num_frames: int = 40, label: int | None = None) -> ToyClip:
    """Make clip number `index` of `world`: `num_frames` frames of 64x64 at 10 fps, with 1600 samples each
    at 16 kHz.

    `label` forces the class; without it the class is drawn from (world, seed, index).

    Raises:
        ValueError: an unknown world or label, a negative seed or index, fewer than one frame.
    """
    check_world(world)
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must be 0 or more, got seed={seed}, index={index}")
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    classes = CLASSES[world]
    if label is not None and not 0 <= label < len(classes):
        known = ", ".join(f"{i} = {name}" for i, name in enumerate(classes)) or "none: it has no classes"
        raise ValueError(f"unknown label {label} for {world}; labels are {known}")

    label = draw_label(world, seed, index) if label is None else label
    rng = np.random.default_rng((*_key(world, seed, index), 0 if label is None else label + 1))
    scene = list(WORLDS[world].values())[label or 0](rng, num_frames)
    clip = Clip(scene.frames, scene.waveform, FRAME_RATE, SAMPLE_RATE)
    return ToyClip(clip, world, label, scene.events, scene.facts)


def check_world(world: str) -> None:
    """Raise a ValueError unless there is such a world; names the nearest one."""
    if world not in CLASSES:
        near = difflib.get_close_matches(str(world), CLASSES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(CLASSES)}"
        raise ValueError(f"unknown world {world!r}: {hint}")


def draw_label(world: str, seed: int, index: int) -> int | None:
    """The class that `make_clip` draws for a clip; None in a world without classes."""
    classes = CLASSES[world]
    return int(np.random.default_rng(_key(world, seed, index)).integers(len(classes))) if classes else None


def _key(world: str, seed: int, index: int) -> tuple[int, int, int]:
    return list(CLASSES).index(world), seed, index
