"""The GPU that is not there: what it refuses, what it counts, and that it leaves torch as it was."""

import pytest
import torch
from torch import nn

from tests.pretend_gpu import OnGPU, pretend_gpu


@pytest.fixture
def seen():
    with pretend_gpu() as seen:
        yield seen


@pytest.mark.parametrize(
    "move",
    [
        lambda here: here.to("cuda"),
        lambda here: here.cuda(),
        lambda here: here.to(torch.device("cuda", 0), torch.float32),
        lambda here: here.to(device="cuda"),
        lambda here: here.to(torch.zeros(1, device="cuda")),
    ],
)
def test_tensors_go_there_and_back_as_copies(seen, move):
    here = torch.arange(3.0)
    there = move(here)
    assert there.device == torch.device("cuda", 0) and there.is_cuda and seen.waits == ["to cuda"]
    there += 1
    back = there.cpu()
    assert back.device.type == "cpu" and type(back) is torch.Tensor and seen.waits == ["to cuda", "to cpu"]
    assert back.tolist() == [1, 2, 3] and here.tolist() == [0, 1, 2]
    assert there.to(torch.float64).is_cuda and there.to(torch.float64).dtype == torch.float64
    assert there.to(here).device.type == "cpu"


@pytest.mark.parametrize("make", [torch.zeros, torch.ones, torch.empty, torch.randn])
def test_tensors_are_made_there(seen, make):
    assert make(2, device="cuda").is_cuda and not make(2).is_cuda
    with torch.device("cuda"):
        assert make(2).is_cuda
    assert torch.zeros_like(make(2, device="cuda")).is_cuda and make(2, device="cuda").new_ones(3).is_cuda
    assert not torch.zeros_like(make(2, device="cuda"), device="cpu").is_cuda


def test_what_is_computed_there_is_there(seen):
    there = torch.ones(2, 3, device="cuda")
    both = torch.cat([there, there[:1]]), there.unbind(), (there * 2).max(0), torch.nn.functional.gelu(there)
    assert all(
        tensor.is_cuda for tensor in (both[0], *both[1], *both[2], both[3], there.mT @ there, there[0, 0])
    )
    assert not seen.waits


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: there + here,
        lambda here, there: here @ there,
        lambda here, there: torch.cat([here, there]),
        lambda here, there: there.add_(here),
        lambda here, there: torch.where(there > 0, there, here),
        lambda here, there: nn.functional.linear(there, here),
        lambda here, there: here.index_select(0, torch.zeros(1, dtype=torch.int64, device="cuda")),
        lambda here, there: there.masked_fill(here > 0, 0),
    ],
)
def test_tensors_of_two_devices_do_not_mix(seen, mix):
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device.*cuda:0 and cpu"):
        mix(torch.ones(2, 2), torch.ones(2, 2, device="cuda"))


def test_what_torch_allows_beside_a_gpu_s_tensor(seen):
    there = torch.ones(2, 2, device="cuda")
    assert (there * torch.tensor(2.0)).is_cuda  # a single number
    there[torch.tensor([0])] = 3  # an index, which torch moves
    there.copy_(torch.ones(2, 2))
    assert [wait for wait in seen.waits if "CPU tensor" not in wait] == []
    assert len(seen.waits) == 1


def test_what_needs_the_cpu_is_refused(seen):
    there, generator = torch.ones(2, device="cuda"), torch.Generator()
    for refused, error, message in (
        (
            lambda: torch.randn(2, generator=generator, device="cuda"),
            RuntimeError,
            "'cuda' device type for generator",
        ),
        (lambda: there.normal_(generator=generator), RuntimeError, "'cuda' device type for generator"),
        (there.numpy, TypeError, "Use Tensor.cpu"),
        (there.pin_memory, RuntimeError, "cannot pin"),
    ):
        with pytest.raises(error, match=message):
            refused()


def test_readings_are_counted(seen):
    there = torch.ones(2, device="cuda")
    (
        there.tolist(),
        there[0].item(),
        bool(there[0] > 0),
        float(there[1]),
        torch.equal(there, there),
        there.nonzero(),
    )
    assert seen.waits == ["tolist", "item", "__bool__", "__float__", "equal", "nonzero"]
    seen.waits.clear()
    here = torch.ones(2)
    here.tolist(), here[0].item(), torch.equal(here, here), here.cpu()
    assert not seen.waits


def test_only_copies_from_pinned_memory_need_no_wait(seen):
    here = torch.ones(2)
    for copy, waits in (
        (lambda: here.to("cuda"), 1),
        (lambda: here.to("cuda", non_blocking=True), 1),
        (lambda: here.pin_memory().to("cuda"), 1),
        (lambda: here.pin_memory().to("cuda", non_blocking=True), 0),
        (lambda: here.pin_memory().cuda(non_blocking=True), 0),
    ):
        seen.waits.clear()
        assert copy().is_cuda and len(seen.waits) == waits


def test_modules_move_with_parameters_and_buffers(seen):
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    module.to("cuda")
    assert all(tensor.is_cuda for tensor in module.state_dict().values())
    assert all(
        isinstance(parameter, nn.Parameter) and parameter.requires_grad for parameter in module.parameters()
    )
    module.to("cpu")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": True}])
def test_a_module_learns_there_as_it_does_here(options):
    def learned(device, seen=None):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(device)
        seen and seen.waits.clear()
        optimizer = torch.optim.AdamW(module.parameters(), 0.1, **options)
        for _ in range(3):
            optimizer.zero_grad()
            module(torch.ones(2, 3, device=device)).square().mean().backward()
            nn.utils.clip_grad_norm_(module.parameters(), 0.1)
            optimizer.step()
        return module.state_dict()

    here = learned("cpu")
    with pretend_gpu() as seen:
        there = learned("cuda", seen)
        assert all(tensor.is_cuda for tensor in there.values()) and not seen.waits
        assert all(torch.equal(there[name].cpu(), tensor) for name, tensor in here.items())


def test_gradients_of_inputs_are_there(seen):
    there = torch.ones(2, device="cuda").requires_grad_()
    (gradient,) = torch.autograd.grad((there * 3).sum(), there)
    assert gradient.is_cuda and gradient.tolist() == [3, 3]


def test_files_hold_plain_tensors(seen, tmp_path):
    path = tmp_path / "tensors.pt"
    torch.save({"x": torch.ones(2, device="cuda")}, path)
    assert torch.load(path, map_location="cuda", weights_only=True)["x"].is_cuda
    assert type(torch.load(path, map_location="cpu", weights_only=True)["x"]) is torch.Tensor


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_afterwards_there_is_no_gpu():
    with pretend_gpu():
        assert torch.cuda.is_available()
        left = torch.ones(2, device="cuda")
    assert not torch.cuda.is_available() and not torch.__future__.get_swap_module_params_on_conversion()
    assert type(left) is OnGPU
    with pytest.raises((AssertionError, RuntimeError)):
        torch.ones(2, device="cuda")
