"""Small tensors move without a wait, and as they are."""

import pytest
import torch

from rflav_lib.transfer import to_device
from tests.pretend_gpu import pretend_gpu

GPU = torch.device("cuda")


def test_on_the_cpu_nothing_is_copied():
    values = torch.arange(3)
    assert to_device(values, torch.device("cpu")) is values


@pytest.mark.parametrize("values", [torch.arange(3), torch.arange(2).expand(3, -1)])
def test_from_the_cpu_to_a_gpu_without_a_wait(values):
    with pretend_gpu() as seen:
        there = to_device(values, GPU)
        assert there.is_cuda and not seen.waits
        assert torch.equal(there.cpu(), values)


def test_what_is_on_the_gpu_stays_and_comes_back():
    with pretend_gpu():
        there = torch.ones(2, device="cuda")
        assert to_device(there, GPU) is there
        assert to_device(there, torch.device("cpu")).device.type == "cpu"


@pytest.mark.gpu
def test_the_values_arrive():
    values = torch.randn(5)
    assert torch.equal(to_device(values, GPU).cpu(), values)
