"""What a few hundred training steps of each fusion do on a toy world: held-out loss, and what the other
modality is worth.

python benchmarks/fusion_training.py --steps 300 --seeds 3 --out results/fusion_training.json

No codec is needed. The picture is `toy-landscape` itself, each 64x64 frame averaged down to 8x8 pixels of 3
channels; the sound is 64 mel bins. The three fusions get the same budget, the same windows in the same order,
and the same times and noise. What is measured, every `EVERY` steps, on windows, times and noise that are
fixed and were never trained on:

    video, audio               the loss of Eq. 10, one modality at a time
    video_with_other_audio     the video loss again, with the sound of a clip of another class
    audio_with_other_video     the audio loss again, with the picture of a clip of another class

The last two tell whether a network uses what it can hear and see: one that does not cares for no exchange.
About 10 minutes on one idle CPU core; losses repeat to about four digits, seconds do not.
"""

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from einops import reduce
from torch import Tensor

from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.files import output_file, write_json
from rflav_lib.flow import logit_normal, rolling_flow_errors, rolling_flow_loss
from rflav_lib.fusion import FUSIONS
from rflav_lib.mel import MelCodec
from rflav_lib.provenance import provenance
from rflav_lib.schedule import RollingSchedule
from rflav_lib.transformer import RFLAVTransformer

WORLD = "toy-landscape"
MODEL: dict[str, Any] = {
    "latent_size": 8,
    "in_channels": 3,
    "patch_size": 2,
    "hidden_size": 64,
    "depth": 2,
    "num_heads": 4,
    "window": 10,
    "n_mels": 64,
}
CLIP_FRAMES = 20
TRAINING_SEED, HELD_OUT_SEED = 0, 1  # of the toy world: no clip is in both sets
HELD_OUT_CLIPS = 64
BATCH = 16
LEARNING_RATE = 3e-3
WARM_UP = 20
EVERY = 25  # steps between two measurements


@dataclass(frozen=True)
class Windows:
    """Clean video (b k c h w) and audio (b k f m), with times (b k) and noise: what a loss is computed on."""

    video: Tensor
    audio: Tensor
    t: Tensor
    video_noise: Tensor
    audio_noise: Tensor


def make_clips(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Clips of the toy world, the classes in turn: video (clips k 3 8 8) in [-1, 1], audio (clips k f m)."""
    mel = MelCodec(n_mels=MODEL["n_mels"], audio_scale=2.0, peak=None)
    video, audio = [], []
    for index in range(count):
        clip = make_clip(WORLD, seed, index, CLIP_FRAMES, label=index % len(CLASSES[WORLD])).clip
        pixels = torch.from_numpy(clip.frames).float() / 127.5 - 1
        size = MODEL["latent_size"]
        video.append(reduce(pixels, "k (h h2) (w w2) c -> k c h w", "mean", h=size, w=size))
        audio.append(mel.encode(torch.from_numpy(clip.waveform))[0])
    return torch.stack(video), torch.stack(audio)


class Experiment:
    """The data that all runs share: training clips, and held-out windows with their times and noise."""

    def __init__(self, clips: int) -> None:
        video, audio = make_clips(TRAINING_SEED, clips)
        # the flow starts from noise of spread 1: data of that spread trains best
        self._mean, self._spread = video.mean(), video.std()
        self.video, self.audio = self._standard(video), audio
        self.schedule = RollingSchedule(MODEL["window"])
        video, audio = make_clips(HELD_OUT_SEED, HELD_OUT_CLIPS)
        window = slice(0, MODEL["window"])
        generator = torch.Generator().manual_seed(HELD_OUT_SEED)
        self.held_out = self._windows(self._standard(video)[:, window], audio[:, window], generator)

    def _standard(self, video: Tensor) -> Tensor:
        return (video - self._mean) / self._spread

    def _windows(self, video: Tensor, audio: Tensor, generator: torch.Generator) -> Windows:
        t = self.schedule.draw(len(video), generator)
        noise = [torch.randn(clean.shape, generator=generator) for clean in (video, audio)]
        return Windows(video, audio, t, *noise)

    def batches(self, seed: int, steps: int) -> Iterator[Windows]:
        """The training batches of a run: a function of `seed`, whatever the fusion."""
        generator = torch.Generator().manual_seed(1000 + seed)
        frames = torch.arange(MODEL["window"])
        for _ in range(steps):
            clip = torch.randint(len(self.video), (BATCH, 1), generator=generator)
            start = torch.randint(CLIP_FRAMES - MODEL["window"] + 1, (BATCH, 1), generator=generator)
            place = start + frames
            yield self._windows(self.video[clip, place], self.audio[clip, place], generator)

    @torch.no_grad()
    def measure(self, model: RFLAVTransformer) -> dict[str, float]:
        """The four held-out losses of the module docstring."""
        held_out, weight = self.held_out, logit_normal(self.held_out.t)
        matched = rolling_flow_errors(model, **vars(held_out))
        # classes come in turn, so the neighbour is of another class; its noise comes along, the times stay
        other_audio = {name: getattr(held_out, name).roll(1, dims=0) for name in ("audio", "audio_noise")}
        other_video = {name: getattr(held_out, name).roll(1, dims=0) for name in ("video", "video_noise")}
        deaf, _ = rolling_flow_errors(model, **{**vars(held_out), **other_audio})
        _, blind = rolling_flow_errors(model, **{**vars(held_out), **other_video})
        names = ("video", "audio", "video_with_other_audio", "audio_with_other_video")
        return {
            name: (weight * error).mean().item()
            for name, error in zip(names, (*matched, deaf, blind), strict=True)
        }


def train(experiment: Experiment, fusion: str, seed: int, steps: int) -> dict[str, Any]:
    """One run: the held-out losses over training steps, and the median seconds of a step."""
    torch.manual_seed(seed)
    model = RFLAVTransformer(**MODEL, fusion=fusion)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01)
    rate = get_cosine_schedule_with_warmup(optimizer, min(WARM_UP, steps), steps)
    curve: dict[str, list[float]] = {"step": [0], **{k: [v] for k, v in experiment.measure(model).items()}}
    seconds = []
    for step, batch in enumerate(experiment.batches(seed, steps), start=1):
        start = time.perf_counter()
        rolling_flow_loss(model, **vars(batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
        if step % EVERY == 0 or step == steps:
            for name, value in {"step": step, **experiment.measure(model)}.items():
                curve[name].append(value)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "fusion": fusion,
        "seed": seed,
        "parameters": parameters,
        "seconds_per_step": statistics.median(seconds),
        **curve,
    }


def report(runs: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """The runs and what somebody needs to judge or repeat them, ready for JSON; losses with five digits."""
    rounded = [
        {k: [round(x, 5) for x in v] if isinstance(v, list) else v for k, v in run.items()} for run in runs
    ]
    setting = {
        "world": WORLD,
        "frames": "area-averaged to 8x8",
        "clips": options.clips,
        "clip_frames": CLIP_FRAMES,
        "held_out_clips": HELD_OUT_CLIPS,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "steps": options.steps,
        "seeds": options.seeds,
        "model": MODEL,
    }
    return {"command": options.command, "provenance": provenance(), "setting": setting, "runs": rounded}


def summary(runs: list[dict[str, Any]]) -> str:
    """Last held-out losses of each fusion (mean, range over seeds), and what the other modality is worth."""
    lines = [
        f"{'held-out loss at the end':24}{'video':>22}{'audio':>22}{'wrong sound':>16}{'wrong picture':>16}"
    ]
    for fusion in dict.fromkeys(run["fusion"] for run in runs):
        last = {
            k: [run[k][-1] for run in runs if run["fusion"] == fusion]
            for k in runs[0]
            if isinstance(runs[0][k], list)
        }
        text = f"{fusion:24}"
        for name in ("video", "audio"):
            text += f"{statistics.mean(last[name]):>9.4f} ({min(last[name]):.3f}-{max(last[name]):.3f})"
        for right, wrong in (("video", "video_with_other_audio"), ("audio", "audio_with_other_video")):
            text += f"{statistics.mean(last[wrong]) / statistics.mean(last[right]) - 1:>+16.1%}"
        lines.append(text)
    return "\n".join(lines)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(
        description="Train the three fusions on a toy world and compare held-out losses."
    )
    parser.add_argument(
        "--steps", type=int, default=300, help="training steps of each run (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each fusion (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=600, help="training clips (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--out", type=output_file, help="write curves, settings and machine to this JSON file"
    )
    options = parser.parse_args(arguments)
    for name in ("steps", "seeds", "clips", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    options.command = shlex.join(["python", "benchmarks/fusion_training.py", *arguments])
    return options


def main(arguments: list[str]) -> None:
    """Train all, print a summary, and write if asked to."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    experiment, runs = Experiment(options.clips), []
    for seed in range(options.seeds):
        for fusion in FUSIONS:
            run = train(experiment, fusion, seed, options.steps)
            runs.append(run)
            print(
                f"{fusion} seed {seed}: video {run['video'][-1]:.4f}, audio {run['audio'][-1]:.4f}, "
                f"{run['seconds_per_step']:.2f} s a step", flush=True,
            )  # fmt: skip
    print("\n" + summary(runs))
    if options.out:
        write_json(options.out, report(runs, options))
        print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
