"""Checkpoints of a training run: folders that appear whole, are pruned by a rule, and refused when they do not fit.

A checkpoint holds full tensors under the model's own names, whatever the processes did with them: it loads on
another number of processes, plain, DDP or FSDP. No generator states are in it, because there are none: sample i
of step s is a pure function of (seed, s, i), so the step is the state of all draws, and the schedule follows from it.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from rflav_lib.files import read_json, whole_folder
from rflav_lib.misfits import misfit
from rflav_lib.tensor_files import safetensors_errors
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_sources import changed_sources, check_sources

NOTHING: Mapping[str, Any] = MappingProxyType({})
FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


@dataclass(frozen=True)
class Snapshot:
    """Everything that a run goes on from: full tensors by name, on the CPU, and facts for JSON."""

    model: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    facts: dict[str, Any]


def take_snapshot(
    step: int,
    config: TrainConfig,
    processes: int,
    model: nn.Module,
    ema: EMAModel,
    optimizer: torch.optim.Optimizer,
    made_of: Mapping[str, Any] = NOTHING,
) -> Snapshot:
    """Collect the state; with several processes all of them must call it, for each may hold a part.

    `made_of` are the facts of `train_sources.sources`, kept for `restore`.
    """
    weights: dict[str, Any] = get_model_state_dict(model, options=FULL)
    optimizer_state: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=FULL)
    moments = optimizer_state.get("state", {})  # main process only
    return Snapshot(
        weights,
        full_averages(model, ema),
        {f"{name}/{key}": tensor for name, entry in moments.items() for key, tensor in entry.items()},
        {
            "step": step,
            "ema_step": ema.optimization_step,
            "processes": processes,
            "config": asdict(config),
            "made_of": dict(made_of),
        },
    )


def full_averages(model: nn.Module, ema: EMAModel) -> dict[str, Tensor]:
    """The averaged weights by name, on the CPU. All processes must call it."""
    names = [name for name, _ in model.named_parameters()]
    averages = zip(names, ema.shadow_params, strict=True)
    return {name: (x.full_tensor() if isinstance(x, DTensor) else x).cpu() for name, x in averages}


def write_checkpoint(folder: Path, snapshot: Snapshot) -> Path:
    """Write `folder/step-NNNNNN`, whole or not at all.

    Raises:
        OSError: it could not be written (a full disk, a lost mount); names the last good checkpoint.
        FloatingPointError: weights that are not finite, from which nothing can go on; names it too.
    """
    path = folder / f"step-{snapshot.facts['step']:06d}"
    for name, tensor in (*snapshot.model.items(), *snapshot.ema.items()):
        if not tensor.isfinite().all():
            raise FloatingPointError(f"{path} is not written: {name} is not finite; {last_good(folder)}")
    try:
        with whole_folder(path, "run.json", "model.safetensors") as draft, safetensors_errors(path):
            draft.mkdir(parents=True)
            for name in ("model", "ema", "optimizer"):
                tensors = {key: tensor.contiguous() for key, tensor in getattr(snapshot, name).items()}
                save_file(tensors, draft / f"{name}.safetensors")
            (draft / "run.json").write_text(json.dumps(snapshot.facts, indent=1), encoding="utf-8")
            _flush(draft)
    except OSError as error:
        raise OSError(f"{path} could not be written ({error}); {last_good(folder)}") from error
    return path


def _flush(folder: Path) -> None:
    """Have the files on the disk before the folder gets its name: a machine that loses power keeps whole ones."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def prune(folder: Path, keep_last: int, keep_every: int) -> None:
    """Remove all checkpoints but the last `keep_last` and those whose step is a multiple of `keep_every` (0: none)."""
    for path in list_checkpoints(folder)[:-keep_last]:
        if not (keep_every and step_of(path) % keep_every == 0):
            # renamed first: a run that is killed here does not leave half a checkpoint behind under a good name
            doomed = path.with_name(f".{path.name}.old")
            os.replace(path, doomed)
            shutil.rmtree(doomed)


def remove_drafts(*folders: Path) -> None:
    """Remove what a killed run was just writing or deleting: hidden names beside the finished ones."""
    for folder in folders:
        for pattern in (".step-*", ".pipeline-*"):
            for draft in folder.glob(pattern):
                shutil.rmtree(draft)


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    return sorted(folder.glob("step-*"), key=step_of)


def step_of(path: Path) -> int:
    """The step in a checkpoint's name.

    Raises:
        ValueError: the folder is none of ours.
    """
    number = path.name.removeprefix("step-")
    if not number.isdecimal():
        raise ValueError(f"{path}: not a checkpoint (those are named step-NNNNNN); move it elsewhere")
    return int(number)


def last_good(folder: Path) -> str:
    """A half-sentence that names the newest checkpoint."""
    found = list_checkpoints(folder)
    return f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet"


def restore(
    path: Path,
    config: TrainConfig,
    processes: int,
    model: nn.Module,
    ema: EMAModel,
    optimizer: torch.optim.Optimizer,
    made_of: Mapping[str, Any] = NOTHING,
) -> tuple[int, list[str]]:
    """Load a checkpoint; returns its step and what is said about what changed without harm: settings, clips.

    Raises:
        ValueError: the checkpoint is damaged, of another architecture, or of a run with another config (names the
            keys that differ), other codecs or other classes.
    """
    try:
        facts = _facts(path)
        tensors: dict[str, dict[str, Any]] = {
            name: load_file(path / f"{name}.safetensors") for name in ("model", "ema", "optimizer")
        }
    except (OSError, KeyError, TypeError, AttributeError, SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path}: damaged checkpoint ({error}); delete this folder to go on from the one before"
        ) from error
    said = config.differences(facts["config"], processes, facts["processes"], str(path))
    said += changed_sources(facts["made_of"], made_of, str(path))
    _check_shapes(path, model, tensors["model"], tensors["ema"])
    moments = _moments(path, tensors["optimizer"], model)
    set_model_state_dict(model, tensors["model"], options=FULL)
    for average, (name, _) in zip(ema.shadow_params, model.named_parameters(), strict=True):
        average.copy_(_like(tensors["ema"][name], average))
    ema.optimization_step = facts["ema_step"]
    set_optimizer_state_dict(model, optimizer, _optimizer_state(moments, optimizer, model), options=FULL)
    return facts["step"], said


def _facts(path: Path) -> dict[str, Any]:
    """run.json of a checkpoint. Raises ValueError, KeyError or TypeError for another file."""
    facts = {"processes": 1, "made_of": {}, **read_json(path / "run.json")}
    for key in ("step", "ema_step", "processes"):
        if type(facts[key]) is not int or facts[key] < 0:
            raise ValueError(f"run.json: {key} is {facts[key]!r}")
    check_sources(facts["made_of"])
    if facts["step"] != step_of(path):
        raise ValueError(f"run.json is of step {facts['step']}")
    # types and values of what this version knows; `differences` refuses other keys, which are no damage
    TrainConfig.from_mapping(
        {key: value for key, value in facts["config"].items() if key in vars(TrainConfig())}
    )
    return facts


def _check_shapes(path: Path, model: nn.Module, *stored: Mapping[str, Tensor]) -> None:
    for tensors in stored:
        if other := sorted(name for name, tensor in tensors.items() if not tensor.is_floating_point()):
            raise ValueError(f"{path}: damaged: {other[0]} holds {tensors[other[0]].dtype}")
        if told := misfit(tensors, dict(model.named_parameters())):
            raise ValueError(f"{path}: of another architecture: {told}")


def _like(full: Tensor, other: Tensor) -> Tensor:
    """The part of a full tensor that this process holds of `other`."""
    if isinstance(other, DTensor):
        return distribute_tensor(full.to(other.device), other.device_mesh, other.placements)
    return full.to(other.device)


Moments = dict[str, dict[str, Tensor]]
"""What AdamW keeps of each parameter, by name: `exp_avg` and `exp_avg_sq` of its shape, and the number `step`."""


def _moments(path: Path, tensors: Mapping[str, Tensor], model: nn.Module) -> Moments:
    """By parameter, from the file. Raises ValueError for moments that are not those of the model's parameters."""
    state: Moments = {}
    for name, tensor in tensors.items():
        parameter, _, key = name.rpartition("/")
        state.setdefault(parameter, {})[key] = tensor
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    for parameter, entry in state.items():
        wanted = {"step": (), "exp_avg": shapes.get(parameter), "exp_avg_sq": shapes.get(parameter)}
        found = {key: tuple(tensor.shape) for key, tensor in entry.items()}
        if found != wanted or not all(tensor.is_floating_point() for tensor in entry.values()):
            raise ValueError(
                f"{path}: damaged checkpoint (optimizer.safetensors: {parameter!r} holds {found}, not {wanted}); "
                "delete this folder to go on from the one before"
            )
    return state


def _optimizer_state(state: Moments, optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Any]:
    """Moments from the file; settings such as weight decay as the config has them."""
    (group,) = optimizer.param_groups
    settings = {key: value for key, value in group.items() if key != "params"}
    return {
        "state": state,
        "param_groups": [{**settings, "params": [name for name, _ in model.named_parameters()]}],
    }
