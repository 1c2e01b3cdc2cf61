"""Small tensors move without a wait, and as they are."""

import pytest
import torch

from rflav_lib import transfer
from rflav_lib.transfer import to_device


def test_on_the_cpu_nothing_is_copied():
    values = torch.arange(3)
    assert to_device(values, torch.device("cpu")) is values


def test_from_the_cpu_to_a_gpu_it_goes_through_pinned_memory():
    """No GPU is needed to see which calls are made."""
    calls = []

    class Values:
        device = torch.device("cpu")

        def contiguous(self):
            calls.append("contiguous")  # what is expanded cannot be pinned
            return self

        def pin_memory(self):
            calls.append("pin")
            return self

        def to(self, device, **how):
            calls.append((device.type, how))

    to_device(Values(), torch.device("cuda"))
    assert calls == ["contiguous", "pin", ("cuda", {"non_blocking": True})]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_values_arrive():
    values = torch.randn(5)
    assert torch.equal(transfer.to_device(values, torch.device("cuda")).cpu(), values)
