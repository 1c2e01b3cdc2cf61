"""An `RFLAVTransformer` for sampling: what depends on times and labels alone is taken out and kept.

The modulations hold over half of a block's weights, and the times of the steps repeat with every frame. So shift, scale
and gate of every layer are computed once for a set of times and labels, not at each step. The rest is laid out
for speed: see `fast_layers`. Nothing here changes a number beyond rounding, but for `dtype`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rflav_lib.attention import Modulation
from rflav_lib.compiling import CompiledNetwork, check_compiler
from rflav_lib.fast_layers import FastAttention, FastLinear, modulated
from rflav_lib.fusion import AverageFusion, ConditionedAverageFusion, JointAttentionFusion, frame_causal_mask
from rflav_lib.transformer import RFLAVBlock, RFLAVTransformer


@dataclass(frozen=True)
class Known:
    """What the network knows before it sees a frame: (shift, 1 + scale, gate) of each modulated layer, in float32.

    Attributes:
        video: (depth layers 3 k rows 1 d); spatial and temporal attention, then what the fusion has of its own.
        audio: (depth layers 3 rows k 1 d); attention, then what the fusion has of its own.
        conditions: time and label embedding of both branches (2 rows k d), for fusions that add it.
        video_head, audio_head: of the outputs, (2 k rows 1 d) and (2 rows k 1 d).
    """

    AXES: ClassVar = {"video": 3, "audio": 4, "conditions": 2, "video_head": 1, "audio_head": 2}  # of frames

    video: Tensor
    audio: Tensor
    conditions: Tensor
    video_head: Tensor
    audio_head: Tensor

    def at(self, frames: Tensor) -> "Known":
        """The same for a window whose frames are these ones (j,) of the k."""
        return Known(**{n: getattr(self, n).index_select(axis, frames) for n, axis in self.AXES.items()})


class FastTransformer:
    """The velocity of a model, for times that all samples share and labels from a small set.

    Args:
        model: its weights are used as they are when this is made.
        dtype: of the blocks' matrix products; None is the model's own, and exact.
        compiled: run windows of two frames and more through `torch.compile`. The first one then takes minutes, later
            ones are faster.

    Raises:
        RuntimeError: `compiled`, and there is no compiler.
    """

    EXPECTED = 256  # times of which vectors are computed in one go: it bounds their memory
    KEPT = 64  # sets of known vectors that are kept: one for each step between two frames and class

    def __init__(
        self, model: RFLAVTransformer, dtype: torch.dtype | None = None, compiled: bool = False
    ) -> None:
        if compiled:
            check_compiler(model.device)
        self.model = model
        self.dtype = dtype or model.dtype
        self.network = FastNetwork(model, self.dtype)
        self._compiled = None
        if compiled:
            axes, frames = (1, 1, *Known.AXES.values()), model.memory_layout.frames + model.config.window
            self._compiled = CompiledNetwork(self._unpacked, axes, frames)
        self._kept: OrderedDict[tuple, Known] = OrderedDict()
        self._expected: tuple[tuple[int, ...] | None, dict[float, int], Known] | None = None

    @torch.no_grad()
    def expect(self, times: Tensor, labels: tuple[int, ...] | None) -> None:
        """Compute what is known at `times` (j,) in one go, for calls with times among them and these labels.

        The steps of pre-rolling have many times in common: T N of them fill T N windows.
        """
        labels = _row_labels(labels)
        distinct = times.unique()
        if len(distinct) <= self.EXPECTED:
            rows = {time: row for row, time in enumerate(distinct.tolist())}
            self._expected = labels, rows, self._compute(distinct, labels)

    def __call__(
        self, video: Tensor, audio: Tensor, t: Tensor, labels: tuple[int, ...] | None, keep: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Velocities of video (b k c h w) and audio (b k f m), at times t (k,) that all samples share.

        `keep` says that these times will come again. Gradients go back to video and audio where these ask for them.
        """
        known = self._known(t, labels, keep)
        network: Callable[..., tuple[Tensor, ...]] = self.network
        if torch.is_grad_enabled() and (video.requires_grad or audio.requires_grad):
            network = self._unpacked
        elif self._compiled and len(t) > 1:
            network = self._compiled
        video, audio = network(
            video, audio, known.video, known.audio, known.conditions, known.video_head, known.audio_head
        )
        return video, audio

    @cached_property
    def _unpacked(self) -> "FastNetwork":
        """For gradients, which packed products do not have, and for the compiler, which packs by itself."""
        return FastNetwork(self.model, self.dtype, packed=False)

    @torch.no_grad()
    def _known(self, t: Tensor, labels: tuple[int, ...] | None, keep: bool) -> Known:
        labels = _row_labels(labels)
        times = tuple(t.tolist())
        key = (times, labels)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        known = self._from_expected(times, labels) or self._compute(t, labels)
        if keep:
            self._kept[key] = known
            if len(self._kept) > self.KEPT:
                self._kept.popitem(last=False)
        return known

    def _from_expected(self, times: tuple[float, ...], labels: tuple[int, ...] | None) -> Known | None:
        if self._expected is None or self._expected[0] != labels:
            return None
        _, rows, known = self._expected
        if not all(time in rows for time in times):
            return None
        return known.at(torch.tensor([rows[time] for time in times], device=self.model.device))

    def _compute(self, t: Tensor, labels: tuple[int, ...] | None) -> Known:
        model = self.model
        rows = t.to(model.device).expand(1 if labels is None else len(labels), -1)
        y = None if labels is None else torch.tensor(labels, device=model.device)
        video, audio = model.condition(rows, y)
        video_layers, audio_layers = [], []
        for block in _blocks(model):
            spatial_and_temporal = _triples(block.video_modulation, video)
            attention = _triples(block.audio_modulation, audio)
            fusion = block.fusion
            if isinstance(fusion, JointAttentionFusion):
                spatial_and_temporal += _triples(fusion.video_joint_modulation, video)
                spatial_and_temporal += _triples(fusion.video_modulation, video, scale_first=True)
                attention += _triples(fusion.audio_joint_modulation, audio)
                attention += _triples(fusion.audio_modulation, audio, scale_first=True)
            video_layers.append(torch.stack(spatial_and_temporal))
            audio_layers.append(torch.stack(attention))
        (video_head,) = _triples(model.video_head.modulation, video)
        (audio_head,) = _triples(model.audio_head.modulation, audio)
        return Known(
            video=torch.stack(video_layers).transpose(-4, -3).contiguous(),
            audio=torch.stack(audio_layers),
            conditions=torch.stack([video, audio]).float(),
            video_head=video_head.transpose(-4, -3).contiguous(),
            audio_head=audio_head,
        )


class FastNetwork(nn.Module):
    """The network behind its conditions: frames and known vectors in, velocities out.

    Video tokens run through it as (k b n d), so that neither kind of attention needs them copied.
    """

    def __init__(self, model: RFLAVTransformer, dtype: torch.dtype, packed: bool = True) -> None:
        super().__init__()
        self.patch, self.side = model.config.patch_size, model.config.latent_size // model.config.patch_size
        self.blocks = nn.ModuleList(FastBlock(block, dtype, packed) for block in _blocks(model))
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


def _row_labels(labels: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Labels of the rows that are computed: one row serves a whole batch of the same class."""
    return labels[:1] if labels is not None and len(set(labels)) == 1 else labels


def _triples(modulation: Modulation, condition: Tensor, scale_first: bool = False) -> list[Tensor]:
    """A modulation's vectors, three layers' worth at a time: (shift, 1 + scale, gate) as (3 rows k 1 d) float32."""
    parts = [part.float()[:, :, None] for part in modulation(condition)]
    triples = []
    for start in range(0, len(parts), 3):
        shift, scale, *gate = parts[start : start + 3]
        if scale_first:
            shift, scale = scale, shift
        triples.append(torch.stack([shift, 1 + scale, *gate]))
    return triples


def _fed(tokens: Tensor, mlp: nn.Module, modulation: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    """Tokens plus their gated feed-forward, modulated by shift, 1 + scale and gate."""
    shift, scale, gate = modulation
    rows = modulated(tokens, shift, scale).to(dtype).flatten(0, -2)
    return torch.addcmul(tokens, gate, mlp(rows).view_as(tokens))


def _blocks(model: RFLAVTransformer) -> Iterable[RFLAVBlock]:
    return cast("Iterable[RFLAVBlock]", model.blocks)  # an nn.ModuleList does not say what it holds


def _linear(layers: nn.Sequential, place: int) -> nn.Linear:
    return cast("nn.Linear", layers[place])  # nor does an nn.Sequential


def _constants(layer: nn.Linear | nn.Conv2d) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight (out in) and bias (out)."""
    assert layer.bias is not None, "all layers of the model have one"
    return _constant(layer.weight.flatten(1)), _constant(layer.bias)


def _constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=False)
