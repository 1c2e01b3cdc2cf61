"""Making the clips of a row: each a function of the seed and its number alone."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from rflav_lib import released
from rflav_lib.conditions import given_sound, given_video
from rflav_lib.draws import generator_of
from rflav_lib.evaluation.config import Row
from rflav_lib.evaluation.sources import Source, Window
from rflav_lib.image_codec import encode_frames
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import fingerprint, settings_of


class RowSampler:
    """A row's model, opened when first needed.

    Args:
        row: what to sample, and how.
        frames: of each clip.
        seed: of all noise.
        precision: "no", or "bf16" for joint generation.
        source, conditions: real windows: sample i gets the class, the sound or the picture of `conditions[i]`.
        device: where to run.
    """

    def __init__(
        self, row: Row, frames: int, seed: int, precision: str, source: Source, conditions: Sequence[Window],
        device: str | torch.device = "cpu",
    ) -> None:  # fmt: skip
        self.row, self.frames, self.seed, self.precision = row, frames, seed, precision
        self.source, self.conditions, self.device = source, conditions, device

    @cached_property
    def pipeline(self) -> RFLAVPipeline:
        """The model.

        Raises:
            ValueError: no such checkpoint, steps that its window does not divide, or classes that the data have not.
        """
        pipeline = released.open_checkpoint(self.row.checkpoint)
        config, row = pipeline.transformer.config, self.row
        if row.steps % config.window:
            raise ValueError(
                f"rows: {row.name!r}: {row.steps} steps from noise to clean are no multiple of the window of "
                f"{row.checkpoint}, {config.window}: each frame takes window x N steps"
            )
        if row.guidance != 1 and not config.num_classes:
            raise ValueError(
                f"rows: {row.name!r}: guidance is {row.guidance}, but {row.checkpoint} has no classes"
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the model's classes, in order. Where it has none (as released), those of the data, if as many.

        Raises:
            ValueError: classes that the data have not, or the other way round.
        """
        count, names = self.pipeline.transformer.config.num_classes, list(self.pipeline.config.class_names)
        theirs = list(self.source.class_names)
        names = names or (theirs if len(theirs) == count else [])
        if count and self.row.task == "joint" and (not theirs or not set(theirs) <= set(names)):
            known, found = (", ".join(each) or "no names" for each in (names, theirs))
            raise ValueError(
                f"rows: {self.row.name!r}: {self.row.checkpoint} has {count} classes ({known}), {self.source.name} has "
                f"{len(theirs)} ({found})"
            )
        return names

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a table tells of the model: fingerprint, settings of its parts, window, fusion, N, number of weights."""
        transformer = self.pipeline.transformer
        window = transformer.config.window
        return {
            "weights": fingerprint(self.pipeline),
            "settings": settings_of(self.pipeline),
            "window": window,
            "fusion": transformer.config.fusion,
            "steps_per_frame": self.row.steps // window,
            "parameters": sum(weight.numel() for weight in transformer.parameters()),
            "classes": self.class_names,
        }

    def close(self) -> None:
        """Let go of the model; its facts stay."""
        self.__dict__.pop("pipeline", None)

    def recipe(self, numbers: range) -> dict[str, Any]:
        """All that decides the clips with these numbers, before their treatment."""
        row = self.row
        return {
            "weights": self.facts["weights"],
            "settings": self.facts["settings"],
            "steps": row.steps,
            "task": row.task,
            "guidance": row.guidance,
            "condition_scale": None if row.task == "joint" else row.condition_scale,
            "precision": self.precision if row.task == "joint" else "no",
            "seed": self.seed,
            "frames": self.frames,
            "conditions": [self.conditions[number].as_list() for number in numbers],
        }

    def make(self, numbers: Sequence[int]) -> list[Clip]:
        """The clips with these numbers.

        Raises:
            ValueError: a condition that cannot be used (naming it), or a sample that is not finite.
        """
        if self.row.task != "joint":
            return self._completed(numbers)
        pipeline = self.pipeline
        labels = None
        if pipeline.transformer.config.num_classes:
            labels = [self.class_names.index(self.conditions[number].label or "") for number in numbers]
        return pipeline(
            num_frames=self.frames,
            num_clips=len(numbers),
            steps_per_frame=self.facts["steps_per_frame"],
            y=labels,
            guidance_scale=self.row.guidance,
            generator=[generator_of(self.seed, number) for number in numbers],
            dtype=torch.bfloat16 if self.precision == "bf16" else None,
        )

    def coded_recipe(self, windows: Sequence[Window], numbers: range) -> dict[str, Any]:
        """All that decides what `coded` makes of these windows."""
        return {
            "weights": self.facts["weights"],
            "settings": self.facts["settings"],
            "windows": [windows[number].as_list() for number in numbers],
        }

    @torch.no_grad()
    def coded(self, source: Source, windows: Sequence[Window], numbers: Sequence[int]) -> list[Clip]:
        """Real windows through the model's codecs, there and back: what it would make if it made them again.

        Args:
            source: of the windows.
            windows: some of it.
            numbers: which of them.

        Raises:
            ValueError: clips of another size or rate than the model's.
        """
        pipeline, clips = self.pipeline, [source.read(windows[number]) for number in numbers]
        frames = [given_video(clip, pipeline.frame_size, pipeline.mel) for clip in clips]
        sounds = torch.stack([torch.from_numpy(np.clip(clip.waveform, -1, 1)) for clip in clips])
        video = torch.stack([encode_frames(pipeline.vae, each) for each in frames])
        return pipeline.decode(video, pipeline.mel.encode(sounds, round(clips[0].sample_rate)))

    def _completed(self, numbers: Sequence[int]) -> list[Clip]:
        side = "audio" if self.row.task == "a2v" else "video"
        given: dict[str, Any] = {side: [self._given(number) for number in numbers]}
        try:
            return self.pipeline(
                steps_per_frame=self.facts["steps_per_frame"],
                generator=[generator_of(self.seed, number) for number in numbers],
                condition_scale=self.row.condition_scale,
                **given,
            )
        except ValueError as error:
            raise ValueError(
                f"rows: {self.row.name!r}: samples {numbers[0]} to {numbers[-1]}: {error}"
            ) from error

    def _given(self, number: int) -> np.ndarray:
        """The side of a real window that a sample is made for."""
        window, pipeline = self.conditions[number], self.pipeline
        clip = self.source.read(window)
        try:
            if self.row.task == "a2v":  # what a lossy codec lets overshoot, a loudspeaker cuts off
                return given_sound(np.clip(clip.waveform, -1, 1), pipeline.mel)
            return given_video(clip, pipeline.frame_size, pipeline.mel)
        except ValueError as error:
            raise ValueError(
                f"rows: {self.row.name!r}: sample {number} cannot be made for {window.clip} from frame {window.start}: "
                f"{error}"
            ) from error
