"""What a training run holds, and one optimizer step of it; the loop around it is in `rflav_lib.train`."""

import copy
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rflav_lib import ROOT, checkpoints
from rflav_lib.data.latents import LatentCache, encode_toy_clips
from rflav_lib.data.windows import TrainingClips
from rflav_lib.flow import (
    VelocityModel,
    flow_weight,
    rolling_flow_errors,
    velocity,
)
from rflav_lib.image_codec import load_vae
from rflav_lib.mel import MelCodec
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.precision import chosen
from rflav_lib.train_batches import Batch, BatchSource, RollOutBatch, Samples
from rflav_lib.train_checks import check_data
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_meter import Meter
from rflav_lib.train_pipeline import write_pipeline
from rflav_lib.train_sources import sources
from rflav_lib.train_start import start_from
from rflav_lib.transformer import RFLAVTransformer
from rflav_lib.vocoder import GriffinLim

NEGLIGIBLE_WEIGHT = 1e-12  # far below float32's rounding of a loss

MODEL_KEYS = (
    "patch_size", "hidden_size", "depth", "num_heads", "mlp_ratio", "window", "n_mels", "class_dropout",
    "fusion", "causal", "sink_frames", "context_frames",
)  # fmt: skip


class TrainRun:
    """Everything a run holds: codecs, data, model, its average, and the optimizer.

    Raises:
        ValueError: data or codecs that are missing or do not fit the config.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator | None = None) -> None:
        self.config = config
        self.accelerator = accelerator or make_accelerator(config)
        self.vae = load_vae(config.vae)
        # else the pipeline's config tells this machine's path
        self.vae.register_to_config(_name_or_path=config.vae)
        self.mel = MelCodec(
            n_mels=config.n_mels, audio_scale=config.audio_scale, peak=config.audio_peak or None
        )
        check_data(
            config,
            self.data.latent_shape[-1],
            len(self.data.class_names),
            len(self.data),
            self.accelerator.num_processes,
        )
        torch.manual_seed(config.seed)
        model = RFLAVTransformer(
            latent_size=self.data.latent_shape[-1],
            in_channels=self.data.latent_shape[0],
            mel_frames=self.mel.frames_per_segment,
            num_classes=len(self.data.class_names),
            **{key: getattr(config, key) for key in MODEL_KEYS},
        )
        if config.start_from:
            start_from(model, config.start_from, self.data.class_names)
        self.samples = Samples(config, self.data, model.drop_labels)
        # clips that are too short are named now, not at the first step that draws one
        self.data.draw_window(torch.Generator().manual_seed(config.seed), config.longest_sample)
        self.model, self.optimizer = self.accelerator.prepare(*prepared_for_speed(model, config))
        self.ema = EMAModel(
            self.bare_model.parameters(), config.ema_decay, foreach=self.accelerator.device.type == "cuda"
        )
        self.meter = Meter(self.accelerator, config.diverged_above)
        self.batches = BatchSource(
            self.samples,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            self.accelerator.device,
        )
        self.step = 0

    @cached_property
    def data(self) -> TrainingClips:
        """The training clips: a cache, or a toy world's, encoded on first use by all processes together."""
        config = self.config
        if config.latents:
            return LatentCache(ROOT / config.latents, self.vae, self.mel)
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
    def bare_model(self) -> RFLAVTransformer:
        """The model without what Accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.model)

    @property
    def checkpoint_folder(self) -> Path:
        """Where checkpoints go."""
        return self.config.output_path / "checkpoints"

    @property
    def pipeline_folder(self) -> Path:
        """Where the pipeline goes."""
        return self.config.output_path / "pipeline"

    def draw_batch(self, step: int, samples: range) -> Batch:
        """The given samples of a step, by number; the same whoever draws them."""
        return self.samples.draw(step, samples)

    def optimizer_step(self, learning_rate: float) -> None:
        """One step over all micro-batches of this process. Nothing waits for the device here."""
        config, accelerator = self.config, self.accelerator
        self.model.train()
        for micro in range(config.accumulation_steps):
            batch = self.batches.take(self.step, micro)
            with accelerator.accumulate(self.model), fast_attention(accelerator.device):
                if isinstance(batch, RollOutBatch):
                    batch = batch.rolled_out(self.model, config.rollout_steps)
                video, audio = weighted_errors(self.model, batch, config.weighting, config.window)
                accelerator.backward(video.mean() + audio.mean())
                nothing = (weights(batch.t, config.weighting) * power(batch))[:, -config.window :]
                self.meter.add_batch(self.batches.numbers(micro), video, audio, nothing)
        norm = accelerator.clip_grad_norm_(self.model.parameters(), config.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.step(self.bare_model.parameters())
        self.meter.end_step(self.step, norm)
        self.step += 1

    def pipeline(self, device: torch.device | str | None = None) -> RFLAVPipeline:
        """A pipeline with a copy of the averaged weights, on this process's device or on `device`.

        With several processes all of them must call it, for each may hold a part of the weights.
        """
        averages = checkpoints.full_averages(self.bare_model, self.ema)
        with torch.device("meta"):  # no weights are drawn that would be thrown away
            model = RFLAVTransformer.from_config(self.bare_model.config)
        model.load_state_dict({name: tensor.clone() for name, tensor in averages.items()}, assign=True)
        names, vocoder = list(self.data.class_names), GriffinLim.from_codec(self.mel)
        pipeline = RFLAVPipeline(model.eval(), copy.deepcopy(self.vae), self.mel, vocoder, class_names=names)
        return pipeline.to(device or self.accelerator.device)

    def save(self) -> None:
        """Write a checkpoint to go on from and, in bf16, the folder that `RFLAVPipeline.from_pretrained` opens.

        With several processes all of them must call it.

        Raises:
            OSError: it could not be written; the checkpoints before are untouched.
        """
        config = self.config
        snapshot = checkpoints.take_snapshot(
            self.step,
            config,
            self.accelerator.num_processes,
            self.bare_model,
            self.ema,
            self.optimizer.optimizer,
            sources(self.data),
        )
        pipeline = self.pipeline("cpu")

        def write() -> None:
            checkpoints.write_checkpoint(self.checkpoint_folder, snapshot)
            checkpoints.prune(self.checkpoint_folder, config.keep_checkpoints, config.keep_every)
            write_pipeline(pipeline, self.pipeline_folder, self.step)

        self.on_main(write)

    def resume(self) -> list[str]:
        """Go on from the newest checkpoint, if there is one; returns what is said about changed settings.

        Raises:
            ValueError: it is damaged or of another config; or there is one and the config says not to resume.
        """
        found = checkpoints.list_checkpoints(self.checkpoint_folder)
        if not found:
            return []
        if not self.config.resume:
            raise ValueError(
                f"{self.checkpoint_folder} holds a run already: resume it, or choose another output_dir"
            )
        self.step, said = checkpoints.restore(
            found[-1],
            self.config,
            self.accelerator.num_processes,
            self.bare_model,
            self.ema,
            self.optimizer.optimizer,
            sources(self.data),
        )
        return said

    def on_main(self, work: Callable[[], Any]) -> None:
        """Run `work` on the main process; what it raises is raised by all, so that nobody waits for ever."""
        on_main(self.accelerator, work)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate's engine for a run; bf16 means autocast, the weights stay float32."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    precision = chosen(config.precision, torch.accelerator.current_accelerator(check_available=True) or "cpu")
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != precision and not several:
        AcceleratorState._reset_state()  # a notebook may hold two runs of different precision
    return Accelerator(
        cpu=several
        and not torch.accelerator.is_available(),  # else each process would think that it is alone
        mixed_precision=precision,
        gradient_accumulation_steps=config.accumulation_steps,
        log_with=None if config.tracker == "none" else config.tracker,
        project_dir=config.output_path,
    )


def prepared_for_speed(
    model: RFLAVTransformer, config: TrainConfig
) -> tuple[RFLAVTransformer, torch.optim.Optimizer]:
    """Switch on checkpointing and compilation as the config says, and make the optimizer.

    Not here: `channels_last`. The only convolution cuts patches, one matrix product in either layout.
    """
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    if config.torch_compile:
        # one block is compiled, and serves for all: they have the same code and shapes
        for block in model.blocks:
            block.compile()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        weight_decay=config.weight_decay,
        fused=config.fused_optimizer,
    )
    return model, optimizer


def on_main(accelerator: Accelerator, work: Callable[[], Any]) -> None:
    """Run `work` on the main process; what it raises is raised by all processes."""
    error: list[Exception | None] = [None]
    if accelerator.is_main_process:
        try:
            work()
        except Exception as raised:
            error[0] = raised
    if accelerator.num_processes > 1:
        broadcast_object_list(error)
    if error[0] is not None:
        raise error[0]


def weighted_errors(model: VelocityModel, batch: Batch, weighting: str, window: int) -> tuple[Tensor, Tensor]:
    """lambda(t) times the velocity error of each frame of the window, two tensors (b k): their means add up to Eq. 10.

    Memory frames lie before the window and are given: their errors count for nothing.
    """
    weight = weights(batch.t, weighting)
    video, audio = (weight * error for error in rolling_flow_errors(model, **vars(batch)))
    return video[:, -window:], audio[:, -window:]


def weights(t: Tensor, weighting: str) -> Tensor:
    """lambda(t), (b k). Clamped times weigh about 1e-36: their gradients would be denormal numbers, slow on CPUs."""
    weight = flow_weight(t, weighting)
    return torch.where(weight > NEGLIGIBLE_WEIGHT, weight, 0)


def power(batch: Batch) -> Tensor:
    """Mean square of the velocities of each frame, both modalities: the error of predicting zero, (b k)."""
    video, audio = velocity(batch.video, batch.video_noise), velocity(batch.audio, batch.audio_noise)
    return video.square().mean((2, 3, 4)) + audio.square().mean((2, 3))


def fast_attention(device: torch.device) -> AbstractContextManager:
    """Plain attention on a CPU: for windows this short the flash kernel's bf16 backward takes three times as long."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
