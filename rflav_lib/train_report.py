"""What a run tells while it goes on: metrics.jsonl, TensorBoard through Accelerate's tracker, and samples to hear."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rflav_lib import run_folder
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train_run import TrainRun, on_main
from rflav_lib.warn import warn

if TYPE_CHECKING:
    from rflav_lib.train import TrainState

MOST_SAMPLES = 4
FRAMES_IN_A_STRIP = 8


class Reporter:
    """Writes for a run; all processes make one, only the main one writes."""

    def __init__(self, run: TrainRun, said: list[str]) -> None:
        self._run, self._folder = run, run.config.output_path
        self._trouble: dict[str, str] = {}  # with clips of the step that is logged next
        accelerator = run.accelerator
        on_main(accelerator, lambda: self._begin(said))
        if run.config.tracker != "none":
            plain = {key: value for key, value in vars(run.config).items() if key != "output_dir"}
            # TensorBoard forgets what a killed run had shown beyond the checkpoint
            options = {run.config.tracker: {"purge_step": run.step + 1}}
            accelerator.init_trackers(run.config.tracker, plain, options)

    def _begin(self, said: list[str]) -> None:
        run, accelerator = self._run, self._run.accelerator
        run_folder.forget_after(self._folder, run.step)
        run_folder.record_start(
            self._folder,
            run.config,
            run.step,
            accelerator.num_processes,
            accelerator.device.type,
            accelerator.mixed_precision,
            said,
        )

    def log(self, state: "TrainState") -> None:
        """One line in metrics.jsonl, and the same numbers to the tracker. All processes must call it.

        Raises:
            OSError: it cannot be written; in all processes.
        """
        on_main(self._run.accelerator, lambda: self._log(state))

    def _log(self, state: "TrainState") -> None:
        values = facts(state)
        run_folder.append_metrics(self._folder, {"step": state.step, **values, **self._trouble})
        self._trouble = {}
        flat = {f"train/{key}": value for key, value in values.items() if not isinstance(value, list)}
        for name in ("video", "audio"):
            losses = values[f"{name}_by_position"]
            flat |= {f"position_{name}/{k}": loss for k, loss in enumerate(losses)}
        self._run.accelerator.log(flat, step=state.step)

    def sample(self) -> tuple[Clip, ...]:
        """Draw clips with the averaged weights, always from the same noise; save them, and show the tracker.

        Clips are no more than a look at a model that may not be fit for any yet. If they fail, there are none; a
        warning says why, and so does `sample_error` in the step's line of metrics.jsonl. All processes must call it.
        """
        run = self._run
        if not run.config.sample_frames:
            return ()
        pipeline = run.pipeline()
        if not run.accelerator.is_main_process:
            return ()
        try:
            return self._sample(pipeline)
        except Exception as error:  # raised here, in one process, it would leave the others waiting
            self._trouble = {"sample_error": f"{type(error).__name__}: {error}"}
            warn(f"no clips at step {run.step} ({self._trouble['sample_error']}); the training goes on")
            return ()

    def _sample(self, pipeline: RFLAVPipeline) -> tuple[Clip, ...]:
        run, config = self._run, self._run.config
        pipeline.set_progress_bar_config(disable=True)
        names = list(run.data.class_names)[:MOST_SAMPLES]
        generator = torch.Generator().manual_seed(config.seed)
        with torch.no_grad():
            clips = pipeline(config.sample_frames, y=names or None, generator=generator)
        for name, clip in zip(names or ["clip"], clips, strict=True):
            folder = self._folder / "samples"
            folder.mkdir(exist_ok=True)
            clip.save(folder / f"step-{run.step:06d}-{name}.mp4")
            if config.tracker == "tensorboard":
                writer = run.accelerator.get_tracker("tensorboard", unwrap=True)
                # its add_video needs moviepy: the strip is shown there, the mp4 lies in samples/
                writer.add_image(f"samples/{name}", strip(clip), run.step, dataformats="HWC")
                writer.add_audio(
                    f"samples/{name}", clip.waveform.clip(-1, 1)[None], run.step, clip.sample_rate
                )
        return tuple(clips)

    def close(self) -> None:
        """Finish the trackers."""
        for tracker in self._run.accelerator.trackers:
            tracker.finish()


def facts(state: "TrainState") -> dict[str, Any]:
    """The numbers of a state that are worth keeping, rounded to six digits."""
    values = {key: value for key, value in vars(state).items() if key not in ("step", "run", "samples")}
    return {key: [_rounded(x) for x in value] if isinstance(value, tuple) else _rounded(value)
            for key, value in values.items()}  # fmt: skip


def _rounded(value: float) -> float:
    return float(f"{value:.6g}") if math.isfinite(value) else value


def strip(clip: Clip) -> np.ndarray:
    """Some frames of a clip side by side, uint8 (h, w, 3)."""
    chosen = np.linspace(0, len(clip) - 1, min(FRAMES_IN_A_STRIP, len(clip))).round().astype(int)
    return np.concatenate(list(clip.frames[chosen]), axis=1)
