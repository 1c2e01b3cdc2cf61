"""The layers every block is made of: self-attention and modulated layer norm (paper Sec. 3.1, DiT's AdaLN)."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention: one qkv projection with bias, no norm on q and k, scale 1/sqrt(head dim)."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """(b n d) -> (b n d).

        `mask` (n n) is True where a row may look; `is_causal` lets each token see itself and those before.
        """
        q, k, v = rearrange(
            self.qkv(tokens), "b n (three heads d) -> three b heads n d", three=3, heads=self.num_heads
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
        return self.out(rearrange(mixed, "b heads n d -> b n (heads d)"))


class ModulatedNorm(nn.Module):
    """LayerNorm without parameters, then x (1 + scale) + shift: one shift and scale a frame, for all its tokens."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size, eps=1e-6, elementwise_affine=False)

    def forward(self, tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """tokens (b k n d), shift and scale (b k d) -> (b k n d)."""
        return self.norm(tokens) * (1 + scale[:, :, None]) + shift[:, :, None]


class Modulation(nn.Sequential):
    """SiLU and a linear layer from a condition (b k d) to `parts` vectors (b k d); starts at zero (AdaLN-zero).

    A zero gate makes the layer it guards add nothing at first, so that a fresh block is the identity.
    """

    def __init__(self, hidden_size: int, parts: int) -> None:
        super().__init__(nn.SiLU(), nn.Linear(hidden_size, parts * hidden_size))
        self.parts = parts

    def zero(self) -> None:
        """Set the linear layer to zero."""
        for parameter in self[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """(b k d) -> `parts` tensors (b k d)."""
        return super().forward(condition).chunk(self.parts, dim=-1)
