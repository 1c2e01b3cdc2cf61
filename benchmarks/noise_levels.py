"""Where does uniform weighting help: at which noise levels does it learn what logit-normal weighting does not?

    python -m benchmarks.noise_levels --out results/noise_levels.json     # 3 seeds; goes on where it was stopped
    python -m benchmarks.noise_levels --table results/noise_levels.json   # the table of what has been measured

The models of `base` and `uniform` of benchmarks/ablations.py, taken from its folder, or trained. Two questions:

* Velocity errors on unseen clips at every time of a rolling window: where is either model better?
* Clips by two models: one moves the frames whose time lies within a band, the other all others. Which band do the
  better pictures come from?
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from tqdm.auto import tqdm

from benchmarks import ablations, study
from rflav_lib import experiments
from rflav_lib.allocator import keep_freed_memory
from rflav_lib.data.seeds import GIVEN_SEED
from rflav_lib.data.windows import draw_place
from rflav_lib.flow import VelocityModel, expand_time, rolling_flow_errors
from rflav_lib.image_codec import encode_frames
from rflav_lib.media import Clip
from rflav_lib.metrics.toy import WORLD
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import provenance
from rflav_lib.sampler import RollingSampler
from rflav_lib.schedule import RollingSchedule
from rflav_lib.view import noise_levels as view

ALIKE = 0.2, 0.8
"""Times at which logit-normal and uniform weighting weigh a frame nearly the same: logit-normal weighs those between
them more, and all others less."""
BANDS: dict[str, tuple[float, float]] = {
    "base": (0.0, 0.0),
    "early": (0.0, ALIKE[0]),
    "middle": ALIKE,
    "late": (ALIKE[1], 1.0),
    "uniform": (0.0, 1.0),
}
"""Times, first one included, whose frames the model of `uniform` moves; the model of `base` moves the others."""
BINS = 20
"""Of the times from 0 to 1 in which velocity errors are averaged."""
WINDOWS_A_CLIP = 8


def mixed(base: VelocityModel, uniform: VelocityModel, band: tuple[float, float]) -> VelocityModel:
    """The velocities of `uniform` for frames whose time lies within `band`, those of `base` for all others."""
    first, last = band

    def model(video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        inside = (t >= first) & (t < last)
        if not inside.any():
            return base(video, audio, t, y)
        if inside.all():
            return uniform(video, audio, t, y)
        ours, theirs = uniform(video, audio, t, y), base(video, audio, t, y)
        chosen = [expand_time(inside, part).bool() for part in ours]
        video_velocity, audio_velocity = (
            torch.where(*three) for three in zip(chosen, ours, theirs, strict=True)
        )
        return video_velocity, audio_velocity

    return model


@torch.no_grad()
def clips_by(
    pipes: Sequence[RFLAVPipeline], band: tuple[float, float], count: int, frames: int, seed: int
) -> list[Clip]:
    """`count` clips by the pipelines of `base` and `uniform` together; from one alone, those of `experiments.made`."""
    pipe = pipes[0]
    base, uniform = (each.transformer.eval() for each in pipes)
    schedule = RollingSchedule(pipe.transformer.config.window)
    sampler = RollingSampler(mixed(base, uniform, band), schedule, ablations.N)
    generator, clips = torch.Generator().manual_seed(seed), []
    for first in tqdm(range(0, count, ablations.BATCH), desc="samples", unit="batch"):
        y = torch.tensor(ablations.labels(count)[first : first + ablations.BATCH])
        stream = sampler.stream(*pipe.initial_noise(len(y), generator), generator, y)
        latents, segments = zip(*(next(stream) for _ in range(frames)), strict=True)
        clips += pipe.decode(torch.stack(latents, dim=1), torch.stack(segments, dim=1))
    return clips


@torch.no_grad()
def errors(pipe: RFLAVPipeline, clips: Sequence[Clip]) -> dict[str, list[float]]:
    """Mean squared velocity error of rolling windows of unseen clips, by time: `BINS` values a side.

    Clips, windows, times and noise are the same for every model.
    """
    generator, window = torch.Generator().manual_seed(0), pipe.transformer.config.window
    video = torch.stack([encode_frames(pipe.vae, clip.frames) for clip in clips])
    audio = torch.cat([pipe.mel.encode(torch.from_numpy(clip.waveform), clip.sample_rate) for clip in clips])
    y = torch.tensor(ablations.labels(len(clips)))
    schedule = RollingSchedule(window, preroll_probability=0.0)
    sums, counts = torch.zeros(2, BINS, dtype=torch.float64), torch.zeros(BINS, dtype=torch.float64)
    for _ in tqdm(range(WINDOWS_A_CLIP), desc="errors", unit="batch"):
        _, start = draw_place([len(clips[0])], window, generator)
        frames, segments = (part[:, start : start + window] for part in (video, audio))
        noise, hiss = (torch.randn(part.shape, generator=generator) for part in (frames, segments))
        t = schedule.draw(len(clips), generator)
        found = rolling_flow_errors(pipe.transformer.eval(), frames, segments, t, noise, hiss, y)
        place = (t * BINS).long().flatten()
        counts += torch.bincount(place, minlength=BINS)
        for side, error in enumerate(found):
            sums[side] += torch.bincount(place, rearrange(error, "b k -> (b k)").double(), minlength=BINS)
    return {side: (sums[n] / counts).tolist() for n, side in enumerate(experiments.SIDES)}


def pipelines(seed: int, options: argparse.Namespace) -> list[RFLAVPipeline]:
    """Those of `base` and of `uniform`, trained or found trained, as by benchmarks/ablations.py."""
    return [
        experiments.opened(
            experiments.trained(
                name,
                {**ablations.SETTINGS[name].train, "max_steps": options.steps},
                seed,
                options.folder / "models",
            )
        )
        for name in ("base", "uniform")
    ]


def run(name: str, seed: int, options: argparse.Namespace) -> study.Run:
    """Clips of one band and one seed, measured; for a whole model also its errors."""
    pipes = pipelines(seed, options)
    clips = clips_by(pipes, BANDS[name], options.clips, options.frames, seed)
    found = {"setting": name, "seed": seed, **ablations.budget(options),
             "figures": ablations.figures(pipes[0], clips, options), "provenance": provenance()}  # fmt: skip
    if name in ("base", "uniform"):
        unseen = experiments.real(WORLD, options.clips, options.frames, GIVEN_SEED)
        found["errors"] = errors(pipes[name == "uniform"], unseen)
    return found


def report(runs: Sequence[study.Run], options: argparse.Namespace) -> dict[str, Any]:
    """All that was measured, ready for JSON."""
    return {
        "command": options.command,
        "provenance": provenance(),
        "setting": {
            "world": WORLD, **ablations.budget(options), "steps per frame": ablations.N, "bands": BANDS,
            "windows of errors": options.clips * WINDOWS_A_CLIP, "bins": BINS,
        },
        "runs": list(runs),
    }  # fmt: skip


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    return ablations.parse(arguments, __doc__, BANDS, "python -m benchmarks.noise_levels")


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing; the report so far is written after each run."""
    budget = ablations.budget(options)
    return study.measured(options, BANDS, "noise-levels", run, budget, lambda runs: report(runs, options))


def main(arguments: list[str]) -> int:
    """Measure, write, and print the tables."""
    return study.carried_out(parse(arguments), measure_all, view.tables)


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
