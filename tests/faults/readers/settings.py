"""Configurations and notebook parameters."""

import shutil
from contextlib import suppress
from pathlib import Path

import yaml

from rflav_lib import ROOT
from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.evaluation.config import EvaluateConfig
from rflav_lib.train_config import TrainConfig
from tests.faults.readers.base import Found, form

CONFIGS = {"toy-landscape": TrainConfig, "evaluate-toy": EvaluateConfig, "latents/videos": LatentsConfig}


def make_configs(folder: Path) -> list[Path]:
    """The repository's own."""
    for name in CONFIGS:
        shutil.copy(ROOT / "configs" / f"{name}.yaml", folder / f"{Path(name).name}.yaml")
    return sorted(folder.glob("*.yaml"))


def read_config(folder: Path, path: Path) -> Found:
    """As a whole, and each of its lines as a setting of the command line."""
    kind = next(kind for name, kind in CONFIGS.items() if Path(name).name == path.stem)
    for line in path.read_bytes().decode("utf-8", "replace").splitlines()[:3]:
        with suppress(ValueError):
            kind.from_command_line(ROOT / "configs" / "toy-landscape.yaml", [line.replace(": ", "=", 1)])
    config = kind.from_yaml(path)
    return {name: form(value) for name, value in vars(config).items()}, None


def make_parameters(folder: Path) -> list[Path]:
    """What papermill takes with -f."""
    path = folder / "parameters.yaml"
    path.write_text(
        yaml.safe_dump({"max_steps": 5, "learning_rate": 1e-3, "world": "toy-dance", "resume": True})
    )
    return [path]


def read_parameters(folder: Path, path: Path) -> Found:
    """Read as papermill does, put into a namespace as papermill does, and checked."""
    try:
        values = yaml.load(path.read_text(), yaml.SafeLoader)  # papermill's own reading is not ours to judge
    except Exception as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        config = TrainConfig.from_notebook({str(k): v for k, v in dict(values or {}).items()}, set())
    except (TypeError, ValueError) as error:
        if isinstance(values, dict) and not isinstance(error, ValueError):
            raise
        raise ValueError(f"{path}: {error}") from None
    return {name: form(value) for name, value in vars(config).items()}, None
