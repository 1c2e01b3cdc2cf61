"""The reference vectors of tests/fixtures, and the tiny model they come from, in this library's terms."""

import json
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor, nn

from rflav_lib.released import convert_transformer
from rflav_lib.transformer import RFLAVTransformer

FIXTURES = Path(__file__).parent / "fixtures"
TINY: dict[str, Any] = {
    "latent_size": 8,
    "patch_size": 2,
    "hidden_size": 48,
    "depth": 2,
    "num_heads": 4,
    "window": 4,
    "n_mels": 32,
}
RELEASED_MEL = (1, 32, 10)  # the released code has mel segments as (1 m f); ours are (f m)


def vectors(case: str) -> dict[str, Tensor]:
    """Tensors of tests/fixtures/`case`.safetensors, mel segments in our layout (... f m)."""
    return {name: _ours(tensor) for name, tensor in load_file(FIXTURES / f"{case}.safetensors").items()}


def facts(case: str) -> dict[str, Any]:
    """tests/fixtures/`case`.json: what the tensors are, and single numbers."""
    return json.loads((FIXTURES / f"{case}.json").read_text(encoding="utf-8"))


def reference_model(num_classes: int = 0, causal: bool = True) -> RFLAVTransformer:
    """The tiny model with the weights that the vectors were recorded with; `num_classes` is 0 or 9."""
    weights = convert_transformer(load_file(FIXTURES / "model_tiny_class.weights.safetensors"))
    if not num_classes:
        weights = {name: tensor for name, tensor in weights.items() if "_label" not in name}
    model = RFLAVTransformer(**TINY, num_classes=num_classes, causal=causal)
    model.load_state_dict(weights)
    return model.eval()


def open_model(fusion: str, seed: int = 0, **changes: Any) -> RFLAVTransformer:
    """A tiny model in which every weight is random: no gate is shut, every input reaches every output."""
    return open_gates(RFLAVTransformer(**{**TINY, **changes}, fusion=fusion), seed).eval()


def open_gates(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all weights of `module` at random: a fresh one has zero gates, hiding what lies behind."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.15, generator=generator)
    return module


def window_inputs(
    batch: int = 2, frames: int = TINY["window"], seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Random video (b k c h w), audio (b k f m) and times (b k) for a tiny model."""
    generator = torch.Generator().manual_seed(seed)
    video = torch.randn(batch, frames, 4, TINY["latent_size"], TINY["latent_size"], generator=generator)
    audio = torch.randn(batch, frames, 10, TINY["n_mels"], generator=generator)
    return video, audio, torch.rand(batch, frames, generator=generator)


def assert_within(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Same shape, and no element further off than `tolerance`."""
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def _ours(tensor: Tensor) -> Tensor:
    return rearrange(tensor, "... 1 m f -> ... f m") if tensor.shape[-3:] == RELEASED_MEL else tensor
