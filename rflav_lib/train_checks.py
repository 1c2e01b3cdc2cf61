"""Whether a run can begin: what is checked before the first step, and by `--dry-run` without training."""

import tempfile

import torch

from rflav_lib import ROOT
from rflav_lib.data.latent_cache.index import CacheIndex
from rflav_lib.data.latents import LatentCache
from rflav_lib.image_codec import load_vae
from rflav_lib.mel import MelCodec
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_start import weights_for
from rflav_lib.transformer import RFLAVTransformer


def check_data(config: TrainConfig, latent_size: int, classes: int, clips: int, processes: int) -> None:
    """See that a run of `config` in so many processes can train on data of this latent size, classes and clips.

    Raises:
        ValueError: it cannot; names the key to change.
    """
    found = {"latent_size": latent_size, "classes": classes}
    for key, whatever in (("latent_size", 0), ("classes", -1)):
        wanted = getattr(config, key)
        if wanted not in (whatever, found[key]):
            raise ValueError(f"{key}: the config says {wanted}, but the data have {found[key]}")
    if clips < 1:
        raise ValueError("data: there are no clips to train on")
    if config.overfit:
        return
    if clips == 1:
        raise ValueError("data: one clip can only be learnt by heart; if that is meant, set overfit: true")
    samples = config.samples_a_step(processes)
    if samples > clips:
        raise ValueError(
            f"batch_size: a step takes {samples} samples (batch_size {config.batch_size} x "
            f"accumulation_steps {config.accumulation_steps} x {processes} processes), "
            f"but there are only {clips} clips; take a smaller batch or more clips, or set overfit: true"
        )


def check_output(config: TrainConfig) -> None:
    """Raise a ValueError for an output_dir that cannot be written."""
    folder = next(
        path for path in (config.output_path, *config.output_path.absolute().parents) if path.exists()
    )
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"output_dir: {config.output_path} cannot be written ({error})") from error


def check_cache(config: TrainConfig, processes: int) -> None:
    """Raise a ValueError for a cache of latents that a run of `config` would refuse."""
    mel = MelCodec(n_mels=config.n_mels, audio_scale=config.audio_scale, peak=config.audio_peak or None)
    CacheIndex.read(ROOT / config.latents)  # before a codec is fetched for one that is not there
    data = LatentCache(ROOT / config.latents, load_vae(config.vae), mel)
    check_data(config, data.latent_shape[-1], len(data.class_names), len(data), processes)
    data.draw_window(torch.Generator().manual_seed(config.seed), config.longest_sample)


def check_start(config: TrainConfig, settings: dict) -> None:
    """Raise a ValueError for first weights that are not there, or not of a model with these settings."""
    if config.start_from:
        with torch.device("meta"):
            model = RFLAVTransformer(**settings)
        weights_for(model, config.start_from)
