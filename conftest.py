"""Settings for every run of pytest below this folder: tests and notebooks alike."""

import os
from pathlib import Path

import pytest
from notebook_environment import KERNEL_ENVIRONMENT

ROOT = Path(__file__).resolve().parent


def pytest_configure(config: pytest.Config) -> None:
    """Give notebook kernels the environment they were recorded in, and find the sanitize file from any folder.

    A worker of `pytest -n` has a core: torch, which is loaded later, would take all of them in each.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name, value in KERNEL_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    sanitize = getattr(config.option, "nbval_sanitize_with", None)
    if sanitize and not Path(sanitize).is_absolute():
        config.option.nbval_sanitize_with = str(ROOT / sanitize)
