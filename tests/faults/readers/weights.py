"""Weights, checkpoints and caches."""

import json
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from data_scripts.weights import read_pickle
from rflav_lib import ROOT, checkpoints, released
from rflav_lib.data.latents import LatentCache, encode_toy_clips
from rflav_lib.evaluation.clip_sets import ClipSet
from rflav_lib.image_codec import load_vae
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.metrics.feature_set import FeatureSet, Origin
from rflav_lib.metrics.toy_classifier import ToyListener
from rflav_lib.metrics.weights import read_state
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train_config import TrainConfig
from tests.faults.readers.base import Found, form
from tests.golden import FIXTURES, facts
from tests.tiny import tiny_pipeline, tiny_vae


def make_pipeline(folder: Path) -> list[Path]:
    """A tiny pipeline folder."""
    tiny_pipeline().save_whole(folder / "pipeline")
    return sorted(path for path in (folder / "pipeline").rglob("*") if path.is_file())


def read_pipeline(folder: Path, path: Path) -> Found:
    """Its weights."""
    pipeline = RFLAVPipeline.from_pretrained(folder / "pipeline")
    parts = {name: part.state_dict() for name, part in pipeline.components.items()}
    return {
        name: {key: str(x.dtype) + str(tuple(x.shape)) for key, x in s.items()} for name, s in parts.items()
    }, None


def read_vae(folder: Path, path: Path) -> Found:
    """The same of its VAE alone."""
    vae = load_vae(folder / "pipeline" / "vae")
    return {key: str(x.dtype) + str(tuple(x.shape)) for key, x in vae.state_dict().items()}, None


@lru_cache(1)
def _training() -> tuple[TrainConfig, Any, Any, Any]:
    """Settings, model, averages and optimizer, into which every checkpoint is restored."""
    config = TrainConfig()
    model = tiny_pipeline().transformer
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return config, model, EMAModel(model.parameters(), 0.9), optimizer


def make_checkpoint(folder: Path) -> list[Path]:
    """A training checkpoint."""
    config, *state = _training()
    snapshot = checkpoints.take_snapshot(3, config, 1, *state)
    return sorted(checkpoints.write_checkpoint(folder / "checkpoints", snapshot).iterdir())


def read_checkpoint(folder: Path, path: Path) -> Found:
    """Restored into the model, whose step and moments are told."""
    config, model, ema, optimizer = _training()
    step, _ = checkpoints.restore(folder / "checkpoints" / "step-000003", config, 1, model, ema, optimizer)
    moments = {number: form(entry) for number, entry in enumerate(optimizer.state.values())}
    averages = [form(average) for average in ema.shadow_params]
    return (step, moments, averages, {name: form(x) for name, x in model.state_dict().items()}), None


CODECS = {"n_mels": 32, "audio_scale": 2.5, "peak": None}


def make_cache(folder: Path) -> list[Path]:
    """A cache of latents."""
    encode_toy_clips("toy-landscape", 0, 2, 5, tiny_vae(), MelCodec(**CODECS), folder)
    return sorted(path for path in folder.glob("toy-*/*") if path.suffix in (".json", ".safetensors"))


@lru_cache(1)
def _vae() -> Any:
    return tiny_vae()


def read_cache(folder: Path, path: Path) -> Found:
    """Every window."""
    cache = LatentCache(path.parent, _vae(), MelCodec(**CODECS))
    windows = [cache.window(clip, 0, 5) for clip in range(len(cache))]
    return (len(cache), cache.latent_shape, [[form(part) for part in window] for window in windows]), None


def _clip_set(folder: Path) -> ClipSet:
    return ClipSet(folder / "clips", "spoilt", 2, 2, lambda numbers: {"numbers": list(numbers)})


def make_clip_set(folder: Path) -> list[Path]:
    """A shard of an evaluation's clips."""
    rng = np.random.default_rng(0)
    clips = [
        Clip(rng.integers(0, 255, (4, 8, 8, 3), np.uint8), rng.random(6400, np.float32)) for _ in range(2)
    ]
    clip_set = _clip_set(folder)
    clip_set.write(range(2), lambda numbers: clips)
    return list((folder / "clips").iterdir())


def read_clip_set(folder: Path, path: Path) -> Found:
    """Taken, or found damaged and to be made anew."""
    clip_set = _clip_set(folder)
    missing, told = clip_set.missing()
    if missing:
        raise ValueError(told[0])
    clips = list(clip_set.clips())
    return [repr(clip) for clip in clips], [clip.frames.tobytes() + clip.waveform.tobytes() for clip in clips]


ORIGIN = Origin("spoilt", 3, 0, "a network", "a layer", "none", "none", (("torch", "2"),))


def make_features(folder: Path) -> list[Path]:
    """A file of features."""
    return [FeatureSet(torch.arange(15.0).reshape(3, 5), ORIGIN).save(folder / "features.safetensors")]


def read_features(folder: Path, path: Path) -> Found:
    """The features and their origin."""
    found = FeatureSet.load(path)
    return form(found.values), (found.values.tolist(), found.origin)


def make_classifier(folder: Path) -> list[Path]:
    """The toy listener's weights."""
    shutil.copy(ROOT / "checkpoints" / "toy-classifier" / "listener.safetensors", folder)
    return [folder / "listener.safetensors"]


def read_classifier(folder: Path, path: Path) -> Found:
    """The listener."""
    return {name: form(x) for name, x in ToyListener.load(folder).state_dict().items()}, None


def make_pickle(folder: Path) -> list[Path]:
    """A pickled dictionary of weights, as others publish them."""
    torch.save({"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3)}, folder / "weights.pt")
    return [folder / "weights.pt"]


def read_pickled(folder: Path, path: Path) -> Found:
    """Both readers of pickles; tensors of any shape, for the network that takes them checks that."""
    state = read_state(path)
    tensors, _ = read_pickle(path)
    return all(isinstance(x, torch.Tensor) for x in [*state.values(), *tensors.values()]), None


def make_released(folder: Path) -> list[Path]:
    """A folder as the authors release it."""
    inside = folder / "released"
    shutil.copytree(FIXTURES / "vocoder_tiny", inside / "vocoder")
    (inside / "config.json").write_text(json.dumps(facts("model_tiny_class")["config"]))
    shutil.copy(FIXTURES / "model_tiny_class.weights.safetensors", inside / "model.safetensors")
    return sorted(path for path in inside.rglob("*") if path.is_file())


def read_released(folder: Path, path: Path) -> Found:
    """The pipeline."""
    pipeline = released.load(folder / "released", vae=_vae())
    return {name: form(x) for name, x in pipeline.transformer.state_dict().items()}, None
