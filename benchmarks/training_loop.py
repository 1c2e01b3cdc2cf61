"""One setting of training, ready to be timed: the library's step with some switches on, or the plain loop."""

import time
from typing import Any

import torch
from diffusers.training_utils import EMAModel

from rflav_lib.data.windows import Window, draw_place
from rflav_lib.peak_memory import working_bytes
from rflav_lib.train_batches import BatchSource, Samples
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_plan import loss_of
from rflav_lib.train_run import MODEL_KEYS, fast_attention, make_accelerator, prepared_for_speed
from rflav_lib.transformer import RFLAVTransformer

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 24, "depth": 4, "num_heads": 2, "latent_size": 8, "classes": 5, "n_mels": 16},
    "toy": {"latent_size": 8, "classes": 5},  # the bundled model: 64x64 frames, 10.4 M parameters
    "paper": {
        "hidden_size": 768, "depth": 12, "num_heads": 12, "patch_size": 1, "n_mels": 256,
        "latent_size": 32, "classes": 9,
    },  # FLAV-B/1 at 256x256, 324 M parameters
}  # fmt: skip
SWITCHES: dict[str, dict[str, Any]] = {
    "bf16": {"precision": "bf16"},
    "fused": {"fused_optimizer": True},
    "compile": {"torch_compile": True},
    "checkpointing": {"gradient_checkpointing": True},
}
OFF = {"precision": "no", "fused_optimizer": False, "torch_compile": False, "gradient_checkpointing": False}
CLIPS = 64


def config_of(size: str, setting: str, batch: int, fusion: str) -> TrainConfig:
    """The run's config for a size and a setting such as "bf16+fused"."""
    settings: dict[str, Any] = SIZES[size] | OFF
    for name in () if setting == "plain" else setting.split("+"):
        settings |= SWITCHES[name]
    return TrainConfig(**settings, batch_size=batch, fusion=fusion, tracker="none")


class RandomClips:
    """Latents of noise, in memory: what they show makes no difference to the time."""

    def __init__(self, config: TrainConfig) -> None:
        generator = torch.Generator().manual_seed(0)
        size, frames = config.latent_size, 2 * config.window
        self.latent_shape = (4, size, size)
        self.class_names = tuple(map(str, range(config.classes)))
        self._video = torch.randn(CLIPS, frames, *self.latent_shape, generator=generator).half()
        self._audio = torch.randn(CLIPS, frames, 10, config.n_mels, generator=generator).half()

    def __len__(self) -> int:
        """Number of clips."""
        return CLIPS

    def draw_window(self, generator: torch.Generator, frames: int) -> Window:
        """As a cache draws: one clip, one place."""
        clip, start = draw_place([self._video.shape[1]] * CLIPS, frames, generator)
        place = slice(start, start + frames)
        return (
            self._video[clip, place].float(),
            self._audio[clip, place].float(),
            clip % len(self.class_names),
        )


def model_of(config: TrainConfig, device: torch.device) -> RFLAVTransformer:
    """A model of the config's size; the weights of all settings are the same."""
    torch.manual_seed(0)
    settings = {key: getattr(config, key) for key in MODEL_KEYS}
    model = RFLAVTransformer(latent_size=config.latent_size, num_classes=config.classes, **settings)
    return model.to(device)


class Loop:
    """The training step of the library, or the plain one, ready to be timed."""

    def __init__(self, setting: str, config: TrainConfig, device: torch.device) -> None:
        self.setting, self.config, self.device = setting, config, device
        model = model_of(config, device)
        samples = Samples(config, RandomClips(config), model.drop_labels)
        self.batches = BatchSource(samples, 0, 1, device, ahead=0 if setting == "plain" else None)
        self.step_number = 0
        if setting == "plain":
            self.model, self.average = model, EMAModel(model.parameters(), config.ema_decay)
            self.optimizer = torch.optim.AdamW(
                model.parameters(),
                config.learning_rate,
                betas=(config.adam_beta1, config.adam_beta2),
                weight_decay=config.weight_decay,
                foreach=False,
            )
        else:
            self.accelerator = make_accelerator(config)
            self.model, self.optimizer = self.accelerator.prepare(*prepared_for_speed(model, config))
            self.average = EMAModel(model.parameters(), config.ema_decay, foreach=device.type == "cuda")

    def step(self) -> None:
        """Draw, forward, backward, clip, update, average."""
        batch = self.batches.take(self.step_number, 0)
        self.step_number += 1
        if self.setting == "plain":
            loss = loss_of(self.model, batch, self.config.window)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm, foreach=False)
            loss.item()
        else:
            with fast_attention(self.device):
                self.accelerator.backward(loss_of(self.model, batch, self.config.window))
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.step(self.model.parameters())

    def timed_step(self) -> tuple[float, float]:
        """Seconds of a step, and those of them spent waiting for its batch."""
        waited = self.batches.waited
        self._wait()
        began = time.perf_counter()
        self.step()
        self._wait()
        return time.perf_counter() - began, self.batches.waited - waited

    def peak_bytes(self) -> int:
        """Most bytes that tensors hold during a step: weights, optimizer and average included. The last of the loop."""
        self.step()  # the optimizer's state is there from now on
        resting = sum(p.nbytes * 4 for p in self.model.parameters())  # weight, two moments, average
        try:
            return resting + working_bytes(self.step, self.device)
        finally:
            self.close()

    def close(self) -> None:
        """Give the memory back."""
        self.batches.close()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
