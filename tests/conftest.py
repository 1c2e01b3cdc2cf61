"""What tests have in common."""

import sys
from collections.abc import Iterator

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `gpu` where there is none."""
    if item.get_closest_marker("gpu"):
        import torch  # most runs of a few tests do not need it: it takes seconds to load

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Give back the number of threads: sums in another order round differently, so bit-equality depends on it."""
    torch = sys.modules.get("torch")
    threads = torch and torch.get_num_threads()
    yield
    if threads and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
