"""The network of an `RFLAVTransformer` behind its conditions, laid out for sampling: see `fast_transformer`.

What depends on times and labels alone comes in as vectors. Weights are constants, packed where that is faster
(`fast_layers`). Nothing here changes a number beyond rounding, but for `dtype`.
"""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rflav_lib.fast_layers import FastAttention, FastLinear, modulated
from rflav_lib.fusion import (
    AverageFusion,
    ConditionedAverageFusion,
    JointAttentionFusion,
    frame_causal_mask,
)
from rflav_lib.transformer import RFLAVBlock, RFLAVTransformer


class FastNetwork(nn.Module):
    """The network behind its conditions: frames and known vectors in, velocities out.

    Video tokens run through it as (k b n d), so that neither kind of attention needs them copied.
    """

    def __init__(self, model: RFLAVTransformer, dtype: torch.dtype, packed: bool = True) -> None:
        super().__init__()
        self.patch, self.side = model.config.patch_size, model.config.latent_size // model.config.patch_size
        self.blocks = nn.ModuleList(FastBlock(block, dtype, packed) for block in blocks_of(model))
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
    """An `RFLAVBlock`: matrix products in `dtype`, all between them in float32."""

    def __init__(self, block: RFLAVBlock, dtype: torch.dtype, packed: bool = True) -> None:
        super().__init__()
        fusion = block.fusion
        self.dtype, self.causal = dtype, block.causal
        self.spatial = FastAttention(block.video_spatial_attention, dtype, packed)
        self.temporal = FastAttention(block.video_temporal_attention, dtype, packed)
        self.audio = FastAttention(block.audio_attention, dtype, packed)
        self.video_mlp, self.audio_mlp = (
            nn.Sequential(
                FastLinear(_linear(mlp, 0), dtype, gelu=True, packed=packed),
                FastLinear(_linear(mlp, 2), dtype, packed=packed),
            )
            for mlp in (fusion.video_mlp, fusion.audio_mlp)
        )
        self.joint: FastAttention | None = None
        if isinstance(fusion, JointAttentionFusion):
            self.joint = FastAttention(fusion.joint_attention, dtype, packed)
            return
        self.conditioned = isinstance(fusion, ConditionedAverageFusion)
        assert isinstance(fusion, AverageFusion), f"no fast form of {type(fusion).__name__}"
        self.video_average, self.audio_average, self.video_modulation, self.audio_modulation = (
            FastLinear(linear, dtype, packed=packed)
            for linear in (
                fusion.video_average, fusion.audio_average,
                _linear(fusion.video_modulation, 1), _linear(fusion.audio_modulation, 1),
            )
        )  # fmt: skip

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
        if self.joint is None:
            for_video, for_audio = self._exchange(video, audio, conditions)
        else:
            video, audio = self._join(self.joint, video, audio, video_known[2], audio_known[1])
            for_video, for_audio = video_known[3].unbind(), audio_known[2].unbind()
        video = _fed(video, self.video_mlp, for_video, self.dtype)
        return video, _fed(audio, self.audio_mlp, for_audio, self.dtype)

    def _exchange(
        self, video: Tensor, audio: Tensor, conditions: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What each branch's feed-forward is modulated by: the other's mean token, and its own condition."""
        b, k, d = len(audio), audio.shape[1], audio.shape[-1]
        means = audio.mean(dim=2), video.mean(dim=2).transpose(0, 1)
        layers = (self.audio_average, self.video_modulation), (self.video_average, self.audio_modulation)
        found = []
        for mean, (average, modulation), condition in zip(means, layers, conditions, strict=True):
            vector = average(mean.reshape(b * k, d).to(self.dtype)).float().view(b, k, d)
            vector = F.silu(vector + condition if self.conditioned else vector)
            vector = modulation(vector.reshape(b * k, d).to(self.dtype)).float().view(b, k, 1, 3 * d)
            scale, shift, gate = vector.chunk(3, dim=-1)
            found.append((shift, 1 + scale, gate))
        return tuple(part.transpose(0, 1) for part in found[0]), found[1]

    def _join(
        self, attention: FastAttention, video: Tensor, audio: Tensor, for_video: Tensor, for_audio: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gated joint attention over the tokens of both branches."""
        b, k, f, d = audio.shape
        both = [
            modulated(video, for_video[0], for_video[1]).transpose(0, 1),
            modulated(audio, for_audio[0], for_audio[1]),
        ]
        tokens = torch.cat(both, dim=2).to(self.dtype).flatten(1, 2)
        mask = frame_causal_mask(k, video.shape[2] + f, video.device) if self.causal else None
        mixed = attention(tokens, along=1, mask=mask).view(b, k, -1, d)
        video_mixed, audio_mixed = mixed.split([video.shape[2], f], dim=2)
        return torch.addcmul(video, for_video[2], video_mixed.transpose(0, 1)), torch.addcmul(
            audio, for_audio[2], audio_mixed
        )


def _fed(tokens: Tensor, mlp: nn.Module, modulation: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    """Tokens plus their gated feed-forward, modulated by shift, 1 + scale and gate."""
    shift, scale, gate = modulation
    rows = modulated(tokens, shift, scale).to(dtype).flatten(0, -2)
    return torch.addcmul(tokens, gate, mlp(rows).view_as(tokens))


def blocks_of(model: RFLAVTransformer) -> Iterable[RFLAVBlock]:
    """The model's blocks."""
    return cast("Iterable[RFLAVBlock]", model.blocks)  # an nn.ModuleList does not say what it holds


def _linear(layers: nn.Sequential, place: int) -> nn.Linear:
    return cast("nn.Linear", layers[place])  # nor does an nn.Sequential


def _constants(layer: nn.Linear | nn.Conv2d) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight (out in) and bias (out)."""
    assert layer.bias is not None, "all layers of the model have one"
    return _constant(layer.weight.flatten(1)), _constant(layer.bias)


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=False)
