"""Is what was hidden for longer than the window forgotten? Recall of a colour against the time out of sight.

    python -m benchmarks.forgetting --out results/forgetting.json         # 3 seeds; goes on where it was stopped
    python -m benchmarks.forgetting --only window-10 window-10+sink --seeds 0
    python -m benchmarks.forgetting --table results/forgetting.json       # the tables of what has been measured

Small models of toy-pillar, with windows of 5, 10 and 20 frames, with and without an attention sink (the first frames
of a stream stay visible, `rflav_lib.memory`). Each is given a real clip: 2 seconds with the ball in view, then all
frames in which it is behind the pillar; and makes what follows, from the frame on in which the ball is due. So every
model's ball is away for as long as it should be. (Left to themselves, models that were trained this shortly bring it
back after ten frames or so, however long it should stay.) The colour in which the ball comes back is read from pixels
alone: one of 8, so a model that has forgotten it is right in one case of 8. See benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from benchmarks import study
from rflav_lib import experiments
from rflav_lib.allocator import keep_freed_memory
from rflav_lib.data.seeds import HIDING_SEED
from rflav_lib.data.toy import ToyClip, make_clip
from rflav_lib.data.toy_scenes.pillar import HIDDEN_FRAMES
from rflav_lib.data.toy_scenes.scene import NUM_HUES
from rflav_lib.data.toy_tracking.hiding import CHANCE, READ_FRAMES, ball_colours, ball_hue, tone_hue
from rflav_lib.flow import expand_time, interpolate
from rflav_lib.image_codec import encode_frames
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import provenance
from rflav_lib.view import forgetting as forgetting_view

WORLD = "toy-pillar"
HISTORY = 20
"""Real frames before the ball is hidden; the ball is in view in all of them, and no window is longer."""
AFTER = 12
"""Frames that a model makes, from the one on in which the ball is due."""
N, BATCH = 4, 20
LONGEST_PAST = 64  # frames between a stream's start and a training window: as many as the longest test needs
PILLAR: dict[str, Any] = {
    "world": WORLD, "vae": "checkpoints/toy-pillar-vae", "classes": len(HIDDEN_FRAMES), "clips": 400, "clip_frames": 96,
}  # fmt: skip
SINK: dict[str, Any] = {"sink_frames": 2, "longest_past": LONGEST_PAST}
SETTINGS: dict[str, dict[str, Any]] = {
    f"window-{window}{name}": {**PILLAR, "window": window, **sink}
    for window in (10, 5, 20)
    for name, sink in (("", {}), ("+sink", SINK))
}
Reading = dict[str, int | None]


def unseen_clip(label: int, index: int) -> tuple[ToyClip, int]:
    """An unseen real clip and the frame at which its ball is hidden for the second time."""
    # in view for 26 frames at most, away, and all that again
    frames = 2 * (26 + HIDDEN_FRAMES[label]) + AFTER
    made = make_clip(WORLD, HIDING_SEED, index, frames, label)
    second = [event.time for event in made.events if event.kind == "hidden"][1]
    return made, int(np.ceil(10 * second - 0.5))


def given(pipe: RFLAVPipeline, made: ToyClip, gone: int, hidden: int) -> tuple[Tensor, Tensor]:
    """The 20 frames before `gone` and the `hidden` ones after, encoded: video (k c h w) and audio (k f m)."""
    known = slice(gone - HISTORY, gone + hidden)
    picture = encode_frames(pipe.vae, made.clip.frames[known])
    return picture, pipe.mel.encode(torch.from_numpy(made.clip.waveform))[0, known]


@torch.no_grad()
def continued(
    pipe: RFLAVPipeline, video: Tensor, audio: Tensor, y: Tensor, frames: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What follows real frames video (b k c h w), audio (b k f m): `frames` more, as latents and segments.

    The window opens where a roll would be whose last frame is the first to be made, and all others are given. A given
    frame stays the real one for as long as it is in the window: at every step it is put on its straight path anew, at
    its time and from a noise of its own. So a model can neither bring the ball back early nor hide its colour in a
    frame of the pillar. What lies before the window has been emitted, and is in the model's memory if it has one.
    """
    sampler, known = pipe.sampler(N), video.shape[1]
    window, end = sampler.schedule.window, known + frames
    noises = tuple(
        torch.randn(len(part), end + window, *part.shape[2:], generator=generator) for part in (video, audio)
    )
    front = known - window + 1  # frame at the front of the window
    current = tuple(noise[:, front : front + window] for noise in noises)
    memory = sampler.empty_memory(*current)
    for place in range(front):
        memory = memory and memory.after(video[:, place], audio[:, place])
    made = []
    for first in range(front, end):
        real = slice(first, max(first, known))
        count = real.stop - first
        for t, dt in sampler.schedule.roll_steps(N):
            t, dt = (times.expand(len(video), -1) for times in (t, dt))
            current = tuple(
                torch.cat([interpolate(clip[:, real], noise[:, real], t[:, :count]), part[:, count:]], dim=1)
                for clip, noise, part in zip((video, audio), noises, current, strict=True)
            )
            pictures, sounds = current
            speeds = sampler.velocity(pictures, sounds, t, y, memory)
            current = tuple(
                part + expand_time(dt, part) * speed for part, speed in zip(current, speeds, strict=True)
            )
        done = (video[:, first], audio[:, first]) if count else tuple(part[:, 0] for part in current)
        memory = memory and memory.after(*done)
        if not count:
            made.append(done)
        current = tuple(
            torch.cat([part[:, 1:], noise[:, first + window, None]], dim=1)
            for part, noise in zip(current, noises, strict=True)
        )
    latents, segments = zip(*made, strict=True)
    return torch.stack(latents, dim=1), torch.stack(segments, dim=1)


def read(frames: NDArray[np.uint8], log_mel: NDArray[np.float32], hue: int) -> Reading:
    """What became of a ball of hue number `hue` that is due in the first of these frames.

    `late` is the frame in which it is seen first; None, and all that follows too, where it does not come back.
    `after` is its hue in the first 3 frames in which it is; `later`, the picture's hue, and `heard`, the tone's, are
    read from the 8 frames that begin 2 after that.
    """
    reading: Reading = {"hue": hue, **dict.fromkeys(("late", "after", "later", "heard"))}
    seen = np.flatnonzero(~np.isnan(ball_colours(frames)[:, 0]))
    if not len(seen):
        return reading
    back = int(seen[0])
    soon = back + 2, back + 10
    return {
        **reading,
        "late": back,
        "after": ball_hue(frames, back, back + READ_FRAMES),
        "later": ball_hue(frames, *soon),
        "heard": tone_hue(log_mel, *soon),
    }


def readings(
    pipe: RFLAVPipeline, label: int, options: argparse.Namespace, generator: torch.Generator
) -> list[Reading]:
    """The readings of all test clips of one class, continued by a model."""
    hidden, found = HIDDEN_FRAMES[label], []
    for start in tqdm(range(0, options.clips, BATCH), desc=f"hidden for {hidden} frames", unit="batch"):
        clips = [unseen_clip(label, index) for index in range(start, min(start + BATCH, options.clips))]
        video, audio = (
            torch.stack(part) for part in zip(*(given(pipe, *clip, hidden) for clip in clips), strict=True)
        )
        y = torch.full((len(clips),), label)
        latents, segments = continued(pipe, video, audio, y, AFTER, generator)
        log_mels = pipe.mel.decode(segments).numpy()
        found += [
            read(frames, log_mel, round(float(made.facts["hue"]) * NUM_HUES))
            for (made, _), frames, log_mel in zip(clips, pipe.decode_video(latents), log_mels, strict=True)
        ]
    return found


def run(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train the model of a setting (or find it trained), and test its memory."""
    changes = {**SETTINGS[name], "max_steps": options.steps}
    pipe = experiments.opened(experiments.trained(name, changes, seed, options.folder / "models"))
    generator = torch.Generator().manual_seed(seed)
    found = {
        str(hidden): readings(pipe, label, options, generator) for label, hidden in enumerate(HIDDEN_FRAMES)
    }
    return {"setting": name, "seed": seed, **budget(options), "readings": found, "provenance": provenance()}


def budget(options: argparse.Namespace) -> dict[str, int]:
    """What is the same for all runs that may be compared."""
    return {"training steps": options.steps, "clips": options.clips, "frames made": AFTER}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    about = __doc__.split("\n\n")[0]
    made = study.parser(about, SETTINGS, "outputs/forgetting", 40, "for each time out of sight")
    return study.parsed(
        made, arguments, "python -m benchmarks.forgetting", {"steps": 1, "clips": 1, "threads": 1}
    )


def report(runs: Sequence[study.Run], options: argparse.Namespace) -> dict[str, Any]:
    """All that was measured, ready for JSON."""
    return {
        "command": options.command,
        "provenance": provenance(),
        "setting": {
            "world": WORLD, **budget(options), "steps per frame": N, "history": HISTORY, "chance": CHANCE,
            "model": experiments.SMALL, "changes": SETTINGS,
        },
        "runs": list(runs),
    }  # fmt: skip


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing; the report so far is written after each run."""
    return study.measured(
        options, SETTINGS, "recall", run, budget(options), lambda runs: report(runs, options)
    )


def main(arguments: list[str]) -> int:
    """Measure, write, and print the tables."""
    return study.carried_out(parse(arguments), measure_all, forgetting_view.tables)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
