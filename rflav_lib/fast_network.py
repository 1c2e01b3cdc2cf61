"""The network of an `RFLAVTransformer` behind its conditions, laid out for sampling: see `fast_transformer`.

What depends on times and labels alone comes in as vectors. Weights are constants, packed where that is faster
(`fast_layers`, `fast_fusion`). Nothing here changes a number beyond rounding, but for `dtype`.
"""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rflav_lib.fast_fusion import FastFusion, fast_form
from rflav_lib.fast_layers import FastAttention, modulated
from rflav_lib.transformer import RFLAVBlock, RFLAVTransformer


class FastNetwork(nn.Module):
    """The network behind its conditions: frames and known vectors in, velocities out.

    Video tokens run through it as (k b n d), so that neither kind of attention needs them copied.
    """

    def __init__(self, model: RFLAVTransformer, dtype: torch.dtype, packed: bool = True) -> None:
        super().__init__()
        self.patch, self.side = model.config.patch_size, model.config.latent_size // model.config.patch_size
        longest = self.side**2, model.memory_layout.frames + model.config.window
        self.blocks = nn.ModuleList(FastBlock(block, dtype, packed, longest) for block in blocks_of(model))
        # the two embeddings and outputs are small: they stay in the model's own type
        self.patch_weight, self.patch_bias = _constants(model.video_embedding)
        self.mel_weight, self.mel_bias = _constants(model.audio_embedding)
        video_time, audio_time = model.time_positions
        self.video_position = _constant(video_time.transpose(0, 1) + model.video_patch_position)  # k 1 n d
        self.audio_position = _constant(audio_time + model.audio_mel_position)  # 1 k f d
        self.video_head_weight, self.video_head_bias = _constants(model.video_head.linear)
        self.audio_head_weight, self.audio_head_bias = _constants(model.audio_head.linear)

    def forward(
        self,
        video: Tensor,
        audio: Tensor,
        video_known: Tensor,
        audio_known: Tensor,
        conditions: Tensor,
        video_head: Tensor,
        audio_head: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Frames (b k c h w), (b k f m) and the parts of `Known` -> velocities of the shapes and type of the frames."""
        dtype, own, frames = video.dtype, self.patch_weight.dtype, video.shape[1]
        patches = rearrange(
            video, "b k c (y p) (x q) -> k b (y x) (c p q)", p=self.patch, q=self.patch, y=self.side
        )
        video = F.linear(patches.to(own), self.patch_weight, self.patch_bias) + self.video_position[:frames]
        audio = F.linear(audio.to(own), self.mel_weight, self.mel_bias) + self.audio_position[:, :frames]
        video, audio = video.float(), audio.float()
        for number, block in enumerate(self.blocks):
            video, audio = block(video, audio, video_known[number], audio_known[number], conditions)
        video = modulated(video, video_head[0], video_head[1]).to(own)
        audio = modulated(audio, audio_head[0], audio_head[1]).to(own)
        video = F.linear(video, self.video_head_weight, self.video_head_bias).to(dtype)
        audio = F.linear(audio, self.audio_head_weight, self.audio_head_bias).to(dtype)
        video = rearrange(
            video, "k b (y x) (p q c) -> b k c (y p) (x q)", y=self.side, p=self.patch, q=self.patch
        )
        return video.contiguous(), audio


class FastBlock(nn.Module):
    """An `RFLAVBlock`: matrix products in `dtype`, all between them in float32.

    `longest` is how many patches a frame and how many frames a window has at most.
    """

    def __init__(self, block: RFLAVBlock, dtype: torch.dtype, packed: bool, longest: tuple[int, int]) -> None:
        super().__init__()
        self.dtype, self.causal = dtype, block.causal
        self.spatial = FastAttention(block.video_spatial_attention, dtype, packed, longest[0])
        self.temporal = FastAttention(block.video_temporal_attention, dtype, packed, longest[1])
        self.audio = FastAttention(block.audio_attention, dtype, packed)
        self.fusion: FastFusion = fast_form(block.fusion)(block.fusion, block.causal, dtype, packed)

    def forward(
        self, video: Tensor, audio: Tensor, video_known: Tensor, audio_known: Tensor, conditions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (k b n d), (b k f d) and the block's part of `Known` -> tokens of the same shapes."""
        k, b, n, d = video.shape
        shift, scale, gate = video_known[0]
        tokens = modulated(video, shift, scale).to(self.dtype)
        video = torch.addcmul(video, gate, self.spatial(tokens.view(k * b, n, d), along=1).view(k, b, n, d))
        shift, scale, gate = video_known[1]
        tokens = modulated(video, shift, scale).to(self.dtype)
        mixed = self.temporal(tokens.view(k, b * n, d), along=0, is_causal=self.causal)
        video = torch.addcmul(video, gate, mixed.view(b, n, k, d).permute(2, 0, 1, 3))
        shift, scale, gate = audio_known[0]
        tokens = modulated(audio, shift, scale).to(self.dtype).flatten(1, 2)
        mixed = self.audio(tokens, along=1, is_causal=self.causal)
        audio = torch.addcmul(audio, gate, mixed.view_as(audio))
        video, audio = self.fusion(video, audio, video_known[2:], audio_known[1:], conditions)
        return video, audio


def blocks_of(model: RFLAVTransformer) -> Iterable[RFLAVBlock]:
    """The model's blocks."""
    return cast("Iterable[RFLAVBlock]", model.blocks)  # an nn.ModuleList does not say what it holds


def _constants(layer: nn.Linear | nn.Conv2d) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight (out in) and bias (out)."""
    assert layer.bias is not None, "all layers of the model have one"
    return _constant(layer.weight.flatten(1)), _constant(layer.bias)


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=False)
