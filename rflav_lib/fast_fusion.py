"""The fusions as the fast network runs them.

Each built-in fusion has a fast form here. Any other, a subclass of a built-in one too, runs as it is written: slower,
and with the right numbers. A fast form is one more entry of `FAST`.

Video tokens are (k b n d) here, audio tokens (b k f d). What is known before a frame is seen are triples (shift, 1 +
scale, gate), see `rflav_lib.fast_transformer.Known`.
"""

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rflav_lib.attention import Modulation
from rflav_lib.fast_layers import FastAttention, FastLinear, modulated
from rflav_lib.fusion import (
    AverageFusion,
    ConditionedAverageFusion,
    Fusion,
    JointAttentionFusion,
    frame_causal_mask,
)

Triples = list[Tensor]


class FastFusion(nn.Module):
    """A fusion as it is written, in the weights' own type; the fast forms override both methods.

    Args:
        fusion: its weights are used as they are when this is made.
        causal: whether a frame is kept from seeing later ones.
        dtype: of the matrix products of fast forms.
        packed: see `FastLinear`.
    """

    def __init__(self, fusion: Fusion, causal: bool, dtype: torch.dtype, packed: bool) -> None:
        super().__init__()
        self.written = fusion
        self.own = next(fusion.parameters()).dtype

    @staticmethod
    def known(fusion: Fusion, video: Tensor, audio: Tensor) -> tuple[Triples, Triples]:
        """What conditions (rows k d) alone decide: triples of the video branch, and of the audio branch."""
        return [], []

    def forward(
        self, video: Tensor, audio: Tensor, video_known: Tensor, audio_known: Tensor, conditions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (k b n d), (b k f d), the triples of `known` and both conditions (2 rows k d) -> such tokens."""
        b, k = audio.shape[:2]
        inputs = (video.transpose(0, 1), audio, *(condition.expand(b, k, -1) for condition in conditions))
        video_out, audio_out = self.written(*(tensor.to(self.own) for tensor in inputs))
        return video_out.transpose(0, 1).to(video.dtype), audio_out.to(audio.dtype)


class FastFeedForwards(FastFusion):
    """What the fast forms have in common: both feed-forwards, packed."""

    KNOWN_BY_MODULATIONS: ClassVar = False  # whether `known` reads the fusion's modulations again and again

    def __init__(self, fusion: Fusion, causal: bool, dtype: torch.dtype, packed: bool) -> None:
        nn.Module.__init__(self)
        self.dtype, self.causal = dtype, causal
        self.video_mlp, self.audio_mlp = (
            nn.Sequential(
                FastLinear(linear(mlp, 0), dtype, gelu=True, packed=packed),
                FastLinear(linear(mlp, 2), dtype, packed=packed),
            )
            for mlp in (fusion.video_mlp, fusion.audio_mlp)
        )

    def fed(self, tokens: Tensor, mlp: nn.Module, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """Tokens plus their gated feed-forward."""
        rows = modulated(tokens, shift, scale).to(self.dtype).flatten(0, -2)
        return torch.addcmul(tokens, gate, mlp(rows).view_as(tokens))


class FastAverageFusion(FastFeedForwards):
    """`AverageFusion` and `ConditionedAverageFusion`: matrix products in `dtype`, all between them in float32."""

    def __init__(self, fusion: AverageFusion, causal: bool, dtype: torch.dtype, packed: bool) -> None:
        super().__init__(fusion, causal, dtype, packed)
        self.conditioned = type(fusion) is ConditionedAverageFusion
        self.video_average, self.audio_average, self.video_modulation, self.audio_modulation = (
            FastLinear(layer, dtype, packed=packed)
            for layer in (
                fusion.video_average, fusion.audio_average,
                linear(fusion.video_modulation, 1), linear(fusion.audio_modulation, 1),
            )
        )  # fmt: skip

    def forward(
        self, video: Tensor, audio: Tensor, video_known: Tensor, audio_known: Tensor, conditions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Each feed-forward is modulated by the other's mean token, and its own condition."""
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
        for_video = (part.transpose(0, 1) for part in found[0])
        return self.fed(video, self.video_mlp, *for_video), self.fed(audio, self.audio_mlp, *found[1])


class FastJointAttentionFusion(FastFeedForwards):
    """`JointAttentionFusion`: matrix products in `dtype`, all between them in float32."""

    KNOWN_BY_MODULATIONS = True

    def __init__(self, fusion: JointAttentionFusion, causal: bool, dtype: torch.dtype, packed: bool) -> None:
        super().__init__(fusion, causal, dtype, packed)
        self.joint = FastAttention(fusion.joint_attention, dtype, packed)

    @staticmethod
    def known(fusion: Fusion, video: Tensor, audio: Tensor) -> tuple[Triples, Triples]:
        """Of the joint attention, then of the feed-forward."""
        assert isinstance(fusion, JointAttentionFusion)
        return (
            triples(fusion.video_joint_modulation, video)
            + triples(fusion.video_modulation, video, scale_first=True),
            triples(fusion.audio_joint_modulation, audio)
            + triples(fusion.audio_modulation, audio, scale_first=True),
        )

    def forward(
        self, video: Tensor, audio: Tensor, video_known: Tensor, audio_known: Tensor, conditions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gated joint attention over the tokens of both branches, then the feed-forwards."""
        b, k, f, d = audio.shape
        for_video, for_audio = video_known[0], audio_known[0]
        both = [
            modulated(video, for_video[0], for_video[1]).transpose(0, 1),
            modulated(audio, for_audio[0], for_audio[1]),
        ]
        tokens = torch.cat(both, dim=2).to(self.dtype).flatten(1, 2)
        mask = frame_causal_mask(k, video.shape[2] + f, video.device) if self.causal else None
        mixed = self.joint(tokens, along=1, mask=mask).view(b, k, -1, d)
        video_mixed, audio_mixed = mixed.split([video.shape[2], f], dim=2)
        video = torch.addcmul(video, for_video[2], video_mixed.transpose(0, 1))
        audio = torch.addcmul(audio, for_audio[2], audio_mixed)
        return self.fed(video, self.video_mlp, *video_known[1]), self.fed(
            audio, self.audio_mlp, *audio_known[1]
        )


FAST: dict[type[Fusion], type[FastFusion]] = {
    AverageFusion: FastAverageFusion,
    ConditionedAverageFusion: FastAverageFusion,
    JointAttentionFusion: FastJointAttentionFusion,
}


def fast_form(fusion: Fusion) -> type[FastFusion]:
    """The class that runs a fusion fast. By its exact class: a subclass may do anything."""
    return FAST.get(type(fusion), FastFusion)


def linear(layers: nn.Sequential, place: int) -> nn.Linear:
    """One layer; an nn.Sequential does not say what it holds."""
    return cast("nn.Linear", layers[place])


def triples(modulation: Modulation, condition: Tensor, scale_first: bool = False) -> Triples:
    """A modulation's vectors, three layers' worth at a time: (shift, 1 + scale, gate) as (3 rows k 1 d) float32."""
    parts = [part.float()[:, :, None] for part in modulation(condition)]
    found = []
    for start in range(0, len(parts), 3):
        shift, scale, *gate = parts[start : start + 3]
        if scale_first:
            shift, scale = scale, shift
        found.append(torch.stack([shift, 1 + scale, *gate]))
    return found
