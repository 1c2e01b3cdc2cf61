"""What tests have in common."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

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


@pytest.fixture
def quick_vocoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipelines of new trainings look for phases in 4 rounds: the usual 64 are most of a small test's work."""
    from rflav_lib.vocoder import GriffinLim  # see above

    monkeypatch.setattr(GriffinLim, "from_codec", partial(GriffinLim.from_codec, iterations=4))


@pytest.fixture
def permissions_hold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Closed and read-only files are so for whoever runs this, for root too: its right to pass them is laid down."""
    with ordinary_rights():
        sample = tmp_path_factory.mktemp("sample")
        sample.chmod(0o500)
        try:
            (sample / "file").touch()
        except PermissionError:
            yield
        else:
            pytest.skip("this user may write to read-only folders, and cannot do without that right")


@contextmanager
def ordinary_rights() -> Iterator[None]:
    """Without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, in this thread and those it starts; where there are any."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface; this thread
    # effective, permitted, inheritable: of rights 0 to 31, then of the others
    rights = (ctypes.c_uint32 * 6)()
    if libc is None or libc.capget(header, rights):
        yield
        return
    effective = rights[0]
    rights[0] = effective & ~(1 << 1 | 1 << 2)
    assert libc.capset(header, rights) == 0
    try:
        yield
    finally:
        rights[0] = effective
        assert libc.capset(header, rights) == 0
