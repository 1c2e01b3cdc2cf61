"""The pipeline folder of a run. It says of which step it is: one that a killed run left behind is written again."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from torch import nn

from rflav_lib.files import read_json, write_json
from rflav_lib.pipeline import RFLAVPipeline

if TYPE_CHECKING:
    from rflav_lib.train_run import TrainRun

NOTE = "training.json"


def write_pipeline(pipeline: RFLAVPipeline, folder: Path, step: int) -> None:
    """Write a pipeline in bf16, which changes it, and then the step of its weights beside them.

    Killed in between, it leaves a folder without a step, and `is_of_step` says no.

    Raises:
        OSError: it cannot be written.
    """
    for module in (pipeline.transformer, pipeline.vae):
        nn.Module.to(module, torch.bfloat16)  # diffusers' own `to` warns about every cast
    pipeline.save_whole(folder)
    write_json(folder / NOTE, {"step": step})


def is_of_step(folder: Path, step: int) -> bool:
    """Whether a pipeline lies there that was written at this step."""
    try:
        note: Any = read_json(folder / NOTE)
    except (OSError, ValueError):
        return False
    return (folder / "model_index.json").is_file() and note == {"step": step}


def renew_pipeline(run: "TrainRun") -> None:
    """For a run that goes on: write its pipeline if there is none, or one of another step, as a kill may leave it.

    All processes must call it.

    Raises:
        OSError: it could not be written.
    """
    stale = [run.step > 0 and not is_of_step(run.pipeline_folder, run.step)]
    if run.accelerator.num_processes > 1:  # what the main process sees counts
        broadcast_object_list(stale)
    if stale[0]:
        pipeline = run.pipeline("cpu")
        run.on_main(lambda: write_pipeline(pipeline, run.pipeline_folder, run.step))
