"""Small, random, fast stand-ins for the real components, for tests of the plumbing between them."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from rflav_lib.mel import MelCodec
from rflav_lib.memory import MemoryLayout
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train_config import TrainConfig
from rflav_lib.transformer import RFLAVTransformer
from rflav_lib.vocoder import GriffinLim

NO_MEMORY = MemoryLayout()


def tiny_vae() -> AutoencoderKL:
    """64x64 frames to 8x8x4 latents with random weights; a forward takes milliseconds."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4, 4), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=2,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )  # fmt: skip
    return vae.eval()


def tiny_pipeline(num_classes: int = 5, window: int = 4, memory: MemoryLayout = NO_MEMORY) -> RFLAVPipeline:
    """A pipeline whose transformer has random weights everywhere, so that every input matters."""
    torch.manual_seed(0)
    transformer = RFLAVTransformer(
        latent_size=8,
        patch_size=2,
        hidden_size=24,
        depth=1,
        num_heads=2,
        window=window,
        n_mels=32,
        num_classes=num_classes,
        sink_frames=memory.sinks,
        context_frames=memory.context,
    )
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    # at scale 1 the noise of an untrained model would be louder than any sound
    mel = MelCodec(n_mels=32, audio_scale=2.5, peak=None)
    names = ["bounce", "pendulum", "rain", "fireworks", "siren"][:num_classes]
    vocoder = GriffinLim.from_codec(mel, iterations=4)  # with 64 it would take longer than all the rest
    pipeline = RFLAVPipeline(transformer, tiny_vae(), mel, vocoder, class_names=names)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_config(folder: Path, **changes) -> TrainConfig:
    """A run of seconds in `folder`: tiny model, tiny VAE, two clips."""
    vae = folder / "vae"
    if not vae.is_dir():
        tiny_vae().save_pretrained(vae)
    settings = {
        "clips": 2, "clip_frames": 6, "vae": str(vae), "n_mels": 32, "audio_scale": 2.5, "hidden_size": 24,
        "depth": 1, "num_heads": 2, "window": 4,
        "batch_size": 2, "max_steps": 6, "warmup_steps": 1, "precision": "no", "output_dir": str(folder /
        "run"),
        "log_every": 1, "sample_every": 100, "sample_frames": 0, "checkpoint_every": 3, "tracker": "none",
        "overfit": True,
    }  # fmt: skip
    return TrainConfig.from_mapping({**settings, **changes})
