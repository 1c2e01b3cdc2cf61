"""bf16 is taken where a device has instructions for it, and never without a word where it has none."""

import warnings

import nbformat
import pytest
import torch

from rflav_lib import ROOT, precision
from rflav_lib.engine import FastSampler
from rflav_lib.precision import chosen, multiplies_bf16, quick_dtype, quick_name, warn_if_slow
from rflav_lib.schedule import RollingSchedule
from rflav_lib.train_run import make_accelerator
from tests.tiny import tiny_config, tiny_pipeline


@pytest.fixture(params=["avx512_bf16", "amx_bf16", "bf16", "avx2"])
def processor(request, monkeypatch):
    """A CPU that has one set of instructions alone."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {request.param: True, "amx_int8": False})
    return request.param


def test_a_processor_is_asked_for_its_instructions(processor):
    quick = processor != "avx2"
    assert multiplies_bf16("cpu") == multiplies_bf16(torch.device("cpu")) == quick
    assert quick_dtype("cpu") == (torch.bfloat16 if quick else None)
    assert precision.DTYPES[quick_name("cpu")] == quick_dtype("cpu")
    assert chosen("auto", "cpu") == ("bf16" if quick else "no")


@pytest.mark.parametrize("emulated", [False, True])
def test_a_gpu_that_only_emulates_bf16_is_not_quick_in_it(emulated, monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
    )
    assert multiplies_bf16("cuda:1") is not emulated


def test_who_asks_for_bf16_gets_it_and_is_warned_where_it_is_slow(processor):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert chosen("bf16", "cpu") == "bf16" and chosen("no", "cpu") == "no"
        warn_if_slow(torch.bfloat16, "cpu")
        warn_if_slow(None, "cpu")
    message = "this cpu device has no instructions for bf16: matrix products will take many times as long"
    assert [str(each.message).startswith(message) for each in told] == [True, True] * (processor == "avx2")


def test_samplers_warn(processor):
    model = tiny_pipeline().transformer
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        FastSampler(model, RollingSchedule(model.config.window))
        assert not told
        FastSampler(model, RollingSchedule(model.config.window), dtype=torch.bfloat16)
    assert len(told) == (processor == "avx2")


def test_training_takes_what_the_processor_is_quick_in(processor, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    found = [
        make_accelerator(tiny_config(tmp_path, precision=p)).mixed_precision for p in ("auto", "no", "auto")
    ]
    assert found == [chosen("auto", "cpu"), "no", chosen("auto", "cpu")]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb")), ids=lambda path: path.stem
)
def test_no_notebook_asks_for_bf16_whatever_the_processor(path):
    """One that did would run for an hour where others take a minute."""
    code = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
    assert "dtype=torch.bfloat16" not in code and 'precision="bf16"' not in code
