"""Checkpoints of a training run: folders that appear whole, are pruned, and refused when they do not fit."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from rflav_lib.files import whole
from rflav_lib.train_config import TrainConfig


def save_checkpoint(
    folder: Path,
    step: int,
    config: TrainConfig,
    model: nn.Module,
    ema: EMAModel,
    optimizer: torch.optim.Optimizer,
) -> Path:
    """Write `folder/step-NNNNNN`: weights, their average, optimizer and config; then remove older ones."""
    path = folder / f"step-{step:06d}"
    with whole(path) as draft:
        draft.mkdir(parents=True)
        save_file(
            {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
            draft / "model.safetensors",
        )
        names = [name for name, _ in model.named_parameters()]
        save_file(dict(zip(names, ema.shadow_params, strict=True)), draft / "ema.safetensors")
        torch.save(optimizer.state_dict(), draft / "optimizer.pt")
        state = {"step": step, "ema_step": ema.optimization_step, "config": asdict(config)}
        (draft / "run.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    for old in list_checkpoints(folder)[: -config.keep_checkpoints]:
        shutil.rmtree(old)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    return sorted(folder.glob("step-*"))


def load_checkpoint(
    path: Path, config: TrainConfig, model: nn.Module, ema: EMAModel, optimizer: torch.optim.Optimizer
) -> int:
    """Restore a run; returns its step.

    Raises:
        ValueError: the checkpoint is damaged, or of a run with another config (names the keys that differ).
    """
    try:
        state = json.loads((path / "run.json").read_text(encoding="utf-8"))
        changed = config.changed_from(state["config"])
        if changed:
            listed = ", ".join(f"{key} {old!r} -> {new!r}" for key, (old, new) in changed.items())
            raise ValueError(
                f"{path}: made with another config ({listed}); use another output_dir, or resume=False"
            )
        model.load_state_dict(load_file(path / "model.safetensors"))
        averages = load_file(path / "ema.safetensors")
        ema.shadow_params = [averages[name].to(p.device) for name, p in model.named_parameters()]
        ema.optimization_step = state["ema_step"]
        optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
    except (OSError, KeyError, SafetensorError, RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path}: damaged checkpoint ({error}); delete this folder to go on from the one before"
        ) from error
    return int(state["step"])
