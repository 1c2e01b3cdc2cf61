"""The parts of the fast network: linear layers packed for the processor, attention without copies, fused norms."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rflav_lib.attention import SelfAttention


class FastLinear(nn.Module):
    """A linear layer for one purpose only: to be run many times with weights that stay as they are.

    On CPUs with oneDNN the weights are laid out once as its kernels read them, and the GELU is computed as the product
    leaves the registers. Elsewhere it is an ordinary linear layer.

    Args:
        linear: the weights; they are not copied if nothing has to be changed.
        dtype: of the product.
        gelu: put tanh-GELU behind, computed in float32 and rounded once to `dtype`.
        packed: use oneDNN where it is there; off for a network that is compiled, as the compiler packs itself.
    """

    def __init__(
        self, linear: nn.Linear, dtype: torch.dtype, gelu: bool = False, packed: bool = True
    ) -> None:
        super().__init__()
        self.gelu, self.dtype = gelu, dtype
        self.packed = packed and can_pack(dtype, linear.weight.device)
        weight, bias = (tensor.detach().to(dtype) for tensor in (linear.weight, linear.bias))
        # on CPUs the bf16 GELU takes ten times as long; on GPUs the kernel itself computes in float32
        self.widened = gelu and linear.weight.device.type == "cpu"
        # a Parameter is what the compiler knows to be constant; a packed weight cannot be one
        self.bias = nn.Parameter(bias, requires_grad=False)
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, 0)
        else:
            self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, rows: Tensor) -> Tensor:
        """(rows in) -> (rows out), both in `dtype`."""
        if self.packed:
            behind: tuple[str, list[float], str] = ("gelu", [], "tanh") if self.gelu else ("none", [], "")
            return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, *behind)
        product = F.linear(rows, self.weight, self.bias)
        if not self.gelu:
            return product
        return tanh_gelu(product.float() if self.widened else product).to(self.dtype)


def tanh_gelu(rows: Tensor) -> Tensor:
    """Tanh-GELU; written over `rows` where no gradient needs them.

    A feed-forward's rows are the largest of a step: 480 MB for FLAV-B/1, batch 8, in bf16, where all beside the
    weights is 1.3 GB.
    """
    if rows.requires_grad:
        return F.gelu(rows, approximate="tanh")
    return torch.ops.aten.gelu_(rows, approximate="tanh")


class FastAttention(nn.Module):
    """The self-attention of `SelfAttention`, on rows of tokens that need not lie in the order of its sequences.

    Args:
        attention: the weights.
        dtype: of the matrix products.
        packed: see `FastLinear`.
        longest: the most tokens of a sequence, if it is known; short ones are `written_out` for the compiler.
    """

    def __init__(
        self, attention: SelfAttention, dtype: torch.dtype, packed: bool = True, longest: int | None = None
    ) -> None:
        super().__init__()
        self.num_heads, self.dtype = attention.num_heads, dtype
        self.qkv = FastLinear(attention.qkv, dtype, packed=packed)
        self.out = FastLinear(attention.out, dtype, packed=packed)
        # short sequences: on CPUs the bf16 kernel takes longer than float32 with both conversions
        on_cpu = attention.qkv.weight.device.type == "cpu"
        self.inner = torch.float32 if on_cpu else dtype
        self.short = written_out(longest)

    def forward(
        self, tokens: Tensor, along: int, is_causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """Attention along one of the first two axes of tokens (u v d): 0 or 1; the other is the batch.

        Returns (batch sequence d), the batch first whichever it was.
        """
        u, v, d = tokens.shape
        heads = self.qkv(tokens.reshape(u * v, d)).to(self.inner).view(u, v, 3, self.num_heads, -1)
        order = (2, 1, 3, 0, 4) if along == 0 else (2, 0, 3, 1, 4)
        q, k, v_ = heads.permute(order)  # batch heads sequence d, without a copy
        if self.short and mask is None and torch.compiler.is_compiling():
            # sums in float32 whatever the type, as the library's kernels have them; compiled, no copy is made for it
            wide = torch.promote_types(self.inner, torch.float32)
            mixed = written_out_attention(q.to(wide), k.to(wide), v_.to(wide), is_causal)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v_, attn_mask=mask, is_causal=is_causal)
        batch, length = q.shape[0], q.shape[2]
        return self.out(mixed.transpose(1, 2).reshape(batch * length, d).to(self.dtype)).view(
            batch, length, d
        )


SHORT = 16  # tokens


def written_out(longest: int | None) -> bool:
    """Whether compiled attention over at most `longest` tokens is `written_out_attention`, and not the library's.

    On a CPU a step of the bundled model (10 frames of 16 patches) takes a fifth less time with it. On GPUs this has
    not been measured. The reason to do it there too: kernels work in tiles of 64 tokens and more, and of ten frames
    nine tenths of a tile would be padding, for each patch and head. `benchmarks/generation.py --attention` times both.
    """
    return longest is not None and longest <= SHORT


def written_out_attention(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> Tensor:
    """`scaled_dot_product_attention` of (b heads n d) in element-wise products and sums.

    The compiler makes one loop of it, for a dozen tokens in less time than a kernel that works in tiles; as it is
    written here, without a compiler, it is slow.
    """
    scores = ((q * q.shape[-1] ** -0.5)[..., :, None, :] * k[..., None, :, :]).sum(-1)
    if is_causal:
        token = torch.arange(q.shape[2], device=q.device)
        scores = torch.where(token <= token[:, None], scores, -torch.inf)
    return (scores.softmax(-1)[..., None] * v[..., None, :, :]).sum(-2)


def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether oneDNN has linear layers with packed weights for this type here, and is quicker by them.

    In float32 without AVX-512 it is not: plain products, which torch takes from another library, are a tenth faster.
    """
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32 and torch.backends.cpu.get_cpu_capability() == "AVX512"


def modulated(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm, then x scale + shift, where `scale` has its 1 added already."""
    return torch.addcmul(shift, F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6), scale)
