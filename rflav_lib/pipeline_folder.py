"""Pipelines as folders: opened with all their weights or not at all, saved whole or not at all."""

from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DiffusionPipeline
from torch import nn

from rflav_lib.components import name_list
from rflav_lib.files import whole_folder
from rflav_lib.model_folder import check_folder, check_given, check_weights, opening
from rflav_lib.tensor_files import safetensors_errors
from rflav_lib.weight_files import check_variant, pipeline_files


class StrictPipeline(DiffusionPipeline):
    """A diffusers pipeline that refuses what diffusers would fill at random or read from a pickle."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, variant: str | None = None, **kwargs: Any) -> Self:
        """Open a pipeline folder, or a repository of the model hub. Weights come from safetensors alone.

        Args:
            folder: the folder, or the name of a repository (owner/name), which is fetched if need be.
            variant: of the weights, such as "fp16", where there are several. It says what is read; what is computed in
                is float32 unless `dtype` is given.
            kwargs: what diffusers takes: `revision`, `token`, ... of a repository, `dtype`; or components, such as
                `vocoder`, in the place of the stored ones, whose weights are then not looked at.

        Raises:
            ValueError: a folder of another kind, or weights that are missing, broken, left over or not finite; a
                `variant` that is no name, or of which there are no weights; a `dtype` that is none; `use_safetensors`
                or `low_cpu_mem_usage` other than True; a component that is none, or does not fit the stored ones.
            OSError: a repository that is not there, or out of reach.
        """
        if kwargs.pop("use_safetensors", True) is not True:
            raise ValueError("weights come from safetensors alone: leave use_safetensors out")
        if kwargs.pop("low_cpu_mem_usage", True) is not True:
            raise ValueError(
                "parts of this pipeline stay in float32, which needs low_cpu_mem_usage: leave it out"
            )
        check_variant(variant)
        name_list(kwargs.get("class_names"))
        for name in ("dtype", "torch_dtype"):  # diffusers takes float32 in the place of what is none
            if not isinstance(kwargs.get(name), torch.dtype | dict | None):
                raise ValueError(f"{name} must be a torch.dtype, not {kwargs[name]!r}")
        kwargs |= {"use_safetensors": True, "variant": variant}
        local = Path(folder)
        if not local.is_dir():
            if local.is_absolute() or len(local.parts) > 2 or str(folder).startswith("."):
                raise ValueError(f"{folder}: no such folder")
            with opening(folder):
                local = Path(cls.download(str(folder), **kwargs))
        parts = check_folder(local, cls.__name__)
        check_given(parts, kwargs)
        files = pipeline_files(local, parts, variant, given=kwargs)
        with opening(local, given={*parts, "class_names"} & kwargs.keys()):
            pipeline = super().from_pretrained(str(local), **kwargs)
            for name, module in pipeline.components.items():
                if isinstance(module, nn.Module) and name not in kwargs:
                    check_weights(files[name], module)
        # the repository's name, not where it was fetched to
        pipeline.register_to_config(_name_or_path=str(folder))
        return pipeline

    def save_whole(self, folder: str | Path) -> None:
        """`save_pretrained` into a folder that appears whole or not at all, replacing a pipeline that was there.

        Raises:
            FileExistsError: the folder is there and holds something else than a pipeline.
            OSError: it cannot be written; names the folder.
        """
        with whole_folder(folder, "model_index.json") as draft, safetensors_errors(folder):
            self.save_pretrained(draft, safe_serialization=True)
