"""What tests have in common."""

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `gpu` where there is none."""
    if item.get_closest_marker("gpu"):
        import torch  # most runs of a few tests do not need it: it takes seconds to load

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")
