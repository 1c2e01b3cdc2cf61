"""Training as a generator of states: the same code from a notebook and from the command line.

    python -m rflav_lib.train configs/toy-landscape.yaml [key=value ...]

Sample i of step s is a pure function of (seed, s, i): its clip, its place in the clip, its times, noise and
label dropout. So a resumed run sees exactly what an uninterrupted one would have seen, and processes differ
without any bookkeeping.
"""

import argparse
import copy
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from rflav_lib import ROOT
from rflav_lib.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint
from rflav_lib.data.latents import encode_toy_clips
from rflav_lib.data.windows import TrainingClips
from rflav_lib.flow import flow_weight, rolling_flow_errors
from rflav_lib.mel import MelCodec
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.schedule import RollingSchedule
from rflav_lib.train_config import TrainConfig
from rflav_lib.transformer import RFLAVTransformer
from rflav_lib.vocoder import GriffinLim

NEGLIGIBLE_WEIGHT = 1e-12  # far below float32's rounding of a loss


@dataclass(frozen=True)
class TrainState:
    """What a run looks like at one step.

    Attributes:
        step: optimizer steps done.
        loss, video_loss, audio_loss: weighted losses (Eq. 10), mean over the steps since the state before.
        grad_norm: norm of the gradient of the last step, before clipping.
        learning_rate: of the last step.
        seconds_left: estimate from the speed so far.
        run: the run itself; `run.pipeline()` samples with the averaged weights.
    """

    step: int
    loss: float
    video_loss: float
    audio_loss: float
    grad_norm: float
    learning_rate: float
    seconds_left: float
    run: "TrainRun"


@dataclass(frozen=True)
class Batch:
    """Clean video (b k c h w) and audio (b k f m), their noise, times (b k), and labels (b,) or None."""

    video: Tensor
    audio: Tensor
    t: Tensor
    video_noise: Tensor
    audio_noise: Tensor
    y: Tensor | None

    def to(self, device: torch.device) -> "Batch":
        """Move every tensor."""
        return Batch(*(None if x is None else x.to(device) for x in vars(self).values()))


class TrainRun:
    """Everything a run holds: codecs, data, model, its average, and the optimizer."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        # Accelerate would take a GPU by itself; bf16 here means autocast, the weights stay float32
        self.accelerator = Accelerator(
            mixed_precision=config.precision, gradient_accumulation_steps=config.accumulation_steps
        )
        if not (ROOT / config.vae / "config.json").is_file():
            raise ValueError(
                f"vae: {ROOT / config.vae} holds no image VAE; python -m rflav_lib.train_codec makes one"
            )
        self.vae = AutoencoderKL.from_pretrained(ROOT / config.vae, use_safetensors=True).eval()
        self.vae.register_to_config(
            _name_or_path=config.vae
        )  # else the pipeline's config tells this machine's path
        self.mel = MelCodec(n_mels=config.n_mels, audio_scale=config.audio_scale, peak=None)
        self.schedule = RollingSchedule(config.window, config.preroll_probability)
        torch.manual_seed(config.seed)
        model = RFLAVTransformer(
            latent_size=self.data.latent_shape[-1],
            in_channels=self.data.latent_shape[0],
            mel_frames=self.mel.frames_per_segment,
            num_classes=len(self.data.class_names),
            **{key: getattr(config, key) for key in _MODEL_KEYS},
        )
        self.ema = EMAModel(model.parameters(), decay=config.ema_decay)
        optimizer = torch.optim.AdamW(
            model.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.ema.to(self.accelerator.device)
        self.step = 0

    @cached_property
    def data(self) -> TrainingClips:
        """The training clips, encoded on first use and cached beside the runs."""
        config = self.config
        return encode_toy_clips(
            config.world,
            config.seed,
            config.clips,
            config.clip_frames,
            self.vae,
            self.mel,
            ROOT / "outputs" / "cache",
        )

    @property
    def checkpoint_folder(self) -> Path:
        """Where checkpoints go."""
        return self.config.output_path / "checkpoints"

    def draw_batch(self, step: int, samples: range) -> Batch:
        """The given samples of a step, by number; the same whoever draws them."""
        drawn = [self._draw_sample(step, number) for number in samples]
        video, audio, t, video_noise, audio_noise, labels = zip(*drawn, strict=True)
        y = None if labels[0] is None else torch.stack(labels)
        return Batch(*(torch.stack(part) for part in (video, audio, t, video_noise, audio_noise)), y)

    def _draw_sample(self, step: int, number: int) -> tuple:
        seed = np.random.SeedSequence((self.config.seed, step, number)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed))
        video, audio, label = self.data.draw_window(generator, self.config.window)
        t = self.schedule.draw(1, generator)[0]
        video_noise, audio_noise = (torch.randn(x.shape, generator=generator) for x in (video, audio))
        if label is not None:
            model = self.accelerator.unwrap_model(self.model)
            label = model.drop_labels(torch.tensor(label), generator)
        return video, audio, t, video_noise, audio_noise, label

    def optimizer_step(self, learning_rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """One step over all micro-batches of this process.

        Returns video loss, audio loss and gradient norm, all still on the device.
        """
        config, accelerator = self.config, self.accelerator
        self.model.train()
        losses = []
        for micro in range(config.accumulation_steps):
            first = (micro * accelerator.num_processes + accelerator.process_index) * config.batch_size
            batch = self.draw_batch(self.step, range(first, first + config.batch_size)).to(accelerator.device)
            with accelerator.accumulate(self.model), _fast_attention(accelerator.device):
                video_error, audio_error = rolling_flow_errors(self.model, **vars(batch))
                weight = flow_weight(batch.t, config.weighting)
                # clamped times weigh about 1e-36; their gradients would be denormal numbers, which CPUs are slow at
                weight = torch.where(weight > NEGLIGIBLE_WEIGHT, weight, 0)
                video_loss, audio_loss = (weight * video_error).mean(), (weight * audio_error).mean()
                accelerator.backward(video_loss + audio_loss)
                losses.append(torch.stack([video_loss, audio_loss]).detach())
        norm = accelerator.clip_grad_norm_(self.model.parameters(), config.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.step(self.model.parameters())
        self.step += 1
        video_loss, audio_loss = torch.stack(losses).mean(0)
        return video_loss, audio_loss, norm

    def pipeline(self) -> RFLAVPipeline:
        """A pipeline with a copy of the averaged weights, ready to sample."""
        model = copy.deepcopy(self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)).eval()
        self.ema.copy_to(model.parameters())
        names = list(self.data.class_names)
        return RFLAVPipeline(model, self.vae, self.mel, GriffinLim.from_codec(self.mel), class_names=names)

    def save(self) -> Path:
        """Write a checkpoint to go on from and, in bf16, the folder that `RFLAVPipeline.from_pretrained` opens."""
        model = self.accelerator.unwrap_model(self.model)
        path = save_checkpoint(
            self.checkpoint_folder, self.step, self.config, model, self.ema, self.optimizer
        )
        pipeline = self.pipeline()
        pipeline.vae = copy.deepcopy(pipeline.vae)  # the run goes on with its own, in float32
        for module in (pipeline.transformer, pipeline.vae):
            torch.nn.Module.to(module, torch.bfloat16)  # diffusers' own `to` warns about every cast
        pipeline.save_whole(self.config.output_path / "pipeline")
        return path

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one.

        Raises:
            ValueError: it is damaged or of another config; or there is one and the config says not to resume.
        """
        found = list_checkpoints(self.checkpoint_folder)
        if found and not self.config.resume:
            raise ValueError(
                f"{self.checkpoint_folder} holds a run already: resume it, or choose another output_dir"
            )
        if found:
            model = self.accelerator.unwrap_model(self.model)
            self.step = load_checkpoint(found[-1], self.config, model, self.ema, self.optimizer)


_MODEL_KEYS = (
    "patch_size", "hidden_size", "depth", "num_heads", "mlp_ratio", "window", "n_mels", "class_dropout",
    "fusion", "causal",
)  # fmt: skip


def train(config: TrainConfig) -> Iterator[TrainState]:
    """Train, yielding a `TrainState` at each log, sample and checkpoint step and at the last one.

    The consumer decides what to do with it: plot, listen, stop. However the loop ends - done, `break`, Ctrl-C -
    the last whole step is checkpointed before control leaves.

    Raises:
        ValueError: the folder holds a run with another config, or a damaged checkpoint.
        FloatingPointError: the loss is not finite any more; names the step and the last good checkpoint.
    """
    run = TrainRun(config)
    run.resume()
    rates = _learning_rates(config)
    saved, began, first = run.step, time.monotonic(), run.step
    losses: list[tuple[Tensor, Tensor]] = []
    try:
        while run.step < config.max_steps:
            with deferred_interrupt():
                video_loss, audio_loss, norm = run.optimizer_step(rates[run.step])
            losses.append((video_loss, audio_loss))
            step, last = run.step, run.step == config.max_steps
            if last or any(
                step % every == 0
                for every in (config.log_every, config.sample_every, config.checkpoint_every)
            ):
                video, audio = torch.tensor(losses).mean(0).tolist()
                losses.clear()
                if not np.isfinite(video + audio):
                    saved = step  # what is in memory is not worth keeping
                    raise FloatingPointError(_diverged(run))
                left = (time.monotonic() - began) / (step - first) * (config.max_steps - step)
                yield TrainState(step, video + audio, video, audio, float(norm), rates[step - 1], left, run)
            if step % config.checkpoint_every == 0 or last:
                run.save()
                saved = step
    finally:
        if run.step > saved:
            run.save()


def _learning_rates(config: TrainConfig) -> list[float]:
    """Linear warm-up, then a cosine to zero at `max_steps`: the rate of every step."""
    dummy = torch.optim.SGD([torch.zeros(1)], lr=config.learning_rate)
    schedule = get_cosine_schedule_with_warmup(dummy, config.warmup_steps, config.max_steps)
    rates = []
    for _ in range(config.max_steps):
        rates.append(schedule.get_last_lr()[0])
        dummy.step()
        schedule.step()
    return rates


def _diverged(run: TrainRun) -> str:
    found = list_checkpoints(run.checkpoint_folder)
    good = f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet"
    return f"the loss is not finite at step {run.step}; {good}. Lower learning_rate, or set precision='no'"


def _fast_attention(device: torch.device) -> AbstractContextManager:
    """Plain attention on a CPU: for windows this short the flash kernel's bf16 backward takes three times as long."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


@contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, so that a step is taken or not. Main thread only."""
    try:
        before = signal.getsignal(signal.SIGINT)
        caught: list[int] = []
        signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    except ValueError:  # only the main thread may set handlers, and only it gets the interrupt
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Command line: a YAML file and `key=value` changes."""
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.train", description=train.__doc__.splitlines()[0]
    )
    parser.add_argument("config", help="YAML file, e.g. configs/toy-landscape.yaml")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="settings that override the file's")
    options = parser.parse_args(arguments)
    try:
        config = TrainConfig.from_command_line(options.config, options.changes)
        with tqdm(total=config.max_steps, desc=config.world, unit="step") as progress:
            for state in train(config):
                progress.update(state.step - progress.n)
                progress.set_postfix(
                    loss=f"{state.loss:.3f}", video=f"{state.video_loss:.3f}", audio=f"{state.audio_loss:.3f}"
                )
    except (ValueError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"interrupted: the last step is saved in {config.output_path}; the same command goes on",
            file=sys.stderr,
        )
        return 130
    print(f"pipeline: {config.output_path / 'pipeline'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
