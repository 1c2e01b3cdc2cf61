"""A tiny untrained model and toy clips: an evaluation in a second."""

import pytest

from rflav_lib.evaluate import EvaluateConfig
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A pipeline folder: five classes, window 4."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    tiny_pipeline().save_whole(folder)
    return folder


@pytest.fixture
def settings(checkpoint, tmp_path):
    """Values of a config that takes a second: six samples of four frames."""
    return {
        "rows": [{"name": "tiny", "checkpoint": str(checkpoint), "steps": 4}],
        "samples": 6, "batch": 2, "allow_silence": True, "frames": 4, "toy_clips": 20,
        "toy_frames": 6, "resamples": 10, "pairs": 1,
        "output_dir": str(tmp_path / "run"),
    }  # fmt: skip


@pytest.fixture
def config(settings):
    return EvaluateConfig.from_mapping(settings)
