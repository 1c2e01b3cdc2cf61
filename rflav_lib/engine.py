"""The fast sampler: the numbers of `RollingSampler`, for less work.

What it leaves out, without changing a result beyond rounding:

- **frames that have not started.** In pre-rolling they neither move nor, with causal attention, matter to others;
- **modulations that are known.** Times repeat with every frame, so the time and class vectors of every block, over
  half of a block's weights, are computed once for a stream and not at every step;
- **a second forward for guidance.** Labelled and unlabelled samples go through the network as one batch.

With `dtype=torch.bfloat16` matrix products run on bf16 copies of the weights, with everything between them in
float32. That is not exact, and about twice as fast on processors with bf16 units.
"""

import copy
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rflav_lib.attention import Modulation, SelfAttention
from rflav_lib.fusion import Fusion, JointAttentionFusion, frame_causal_mask
from rflav_lib.sampler import Guidance, RollingSampler
from rflav_lib.schedule import RollingSchedule
from rflav_lib.transformer import RFLAVBlock, RFLAVTransformer

Parts = tuple[Tensor, ...]


class FastSampler(RollingSampler):
    """`RollingSampler` for an `RFLAVTransformer`, equal to it within rounding.

    Args:
        model, schedule, steps_per_frame, guidance_scale: as there.
        dtype: of the matrix products; None is the model's own, and exact.
    """

    def __init__(
        self,
        model: RFLAVTransformer,
        schedule: RollingSchedule,
        steps_per_frame: int = 2,
        guidance_scale: Guidance = 1.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(model, schedule, steps_per_frame, guidance_scale)
        self.network = FastTransformer(model, dtype)
        self._causal = model.config.causal

    def _step(
        self, video: Tensor, audio: Tensor, t: Tensor, dt: Tensor, y: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        frames = len(t)
        moving = int((dt > 0).sum()) if self._causal else frames  # times fall with k: the first ones move
        rolling = bool((dt == dt[0]).all() and t[-1] + dt[-1] > 0 and t[0] > t[-1])
        velocity = self._guided(video[:, :moving], audio[:, :moving], t[:moving], y, keep=rolling)
        dt = dt[:moving].to(video.device)
        moved = [
            torch.addcmul(state[:, :moving], dt.view(-1, *[1] * (state.ndim - 2)), speed)
            for state, speed in zip((video, audio), velocity, strict=True)
        ]
        if moving == frames:
            return moved[0], moved[1]
        return torch.cat([moved[0], video[:, moving:]], 1), torch.cat([moved[1], audio[:, moving:]], 1)

    def _guided(
        self, video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor]:
        null = self.model.null_label
        labels = None if y is None else tuple(y.tolist())
        if self._scales == (1, 1):
            return self.network(video, audio, t, labels, keep)
        both = labels + (null,) * len(labels)
        velocities = self.network(torch.cat([video, video]), torch.cat([audio, audio]), t, both, keep)
        halves = (velocity.chunk(2) for velocity in velocities)
        return tuple(n + s * (label - n) for (label, n), s in zip(halves, self._scales, strict=True))


@dataclass(frozen=True)
class Known:
    """What the network knows before it sees a frame: vectors of times and labels, (rows k 1 d) each.

    Attributes:
        video, audio: the conditions, (rows k d).
        blocks: of each block the six vectors of its video attentions, the three of its audio attention, and those
            of its fusion that depend on nothing else.
        heads: shift and scale of both outputs.
    """

    video: Tensor
    audio: Tensor
    blocks: list[tuple[Parts, Parts, list[Parts]]]
    heads: tuple[Parts, Parts]


class FastTransformer:
    """An `RFLAVTransformer`'s forward with what depends on times and labels alone taken out and kept.

    Args:
        model: its weights are used as they are when this is made.
        dtype: of the matrix products; None is the model's own.
    """

    KEPT = 64  # sets of known vectors that are kept: one for each step between two frames and class

    def __init__(self, model: RFLAVTransformer, dtype: torch.dtype | None = None) -> None:
        self.model = model
        self.dtype = dtype or model.dtype
        self.blocks: Sequence[RFLAVBlock] = model.blocks
        if self.dtype != model.dtype:
            self.blocks = [_matrices_as(block, self.dtype) for block in model.blocks]
        self._kept: OrderedDict[tuple, Known] = OrderedDict()

    @torch.no_grad()
    def __call__(
        self, video: Tensor, audio: Tensor, t: Tensor, labels: tuple[int, ...] | None, keep: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Velocities of video (b k c h w) and audio (b k f m), at times t (k,) that all samples share.

        `keep` says that these times will come again.
        """
        known = self._known(t, labels, keep)
        dtype = video.dtype
        video, audio = self.model.patchify(video, audio)
        video, audio = video.float(), audio.float()
        for block, (video_parts, audio_parts, fusion_parts) in zip(self.blocks, known.blocks, strict=True):
            video, audio = self._attend(block, video, audio, video_parts, audio_parts)
            video, audio = self._fuse(block.fusion, video, audio, known, fusion_parts)
        outputs = [
            head.linear(_modulated(tokens, *parts).to(head.linear.weight.dtype)).to(dtype)
            for head, tokens, parts in zip(
                (self.model.video_head, self.model.audio_head), (video, audio), known.heads, strict=True
            )
        ]
        return self.model.unpatchify(outputs[0]), outputs[1]

    def _known(self, t: Tensor, labels: tuple[int, ...] | None, keep: bool) -> Known:
        if labels is not None and len(set(labels)) == 1:
            labels = labels[:1]  # one row serves the whole batch
        key = (tuple(t.tolist()), labels)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        known = self._compute(t, labels)
        if keep:
            self._kept[key] = known
            if len(self._kept) > self.KEPT:
                self._kept.popitem(last=False)
        return known

    def _compute(self, t: Tensor, labels: tuple[int, ...] | None) -> Known:
        model = self.model
        device = model.device
        rows = t.to(device).expand(1 if labels is None else len(labels), -1)
        y = None if labels is None else torch.tensor(labels, device=device)
        video, audio = model.condition(rows, y)
        blocks = []
        for block in model.blocks:
            fusion = block.fusion
            own: list[Parts] = []
            if isinstance(fusion, JointAttentionFusion):
                own = [
                    _parts(modulation, condition)
                    for modulation, condition in (
                        (fusion.video_joint_modulation, video),
                        (fusion.audio_joint_modulation, audio),
                        (fusion.video_modulation, video),
                        (fusion.audio_modulation, audio),
                    )
                ]
            blocks.append((_parts(block.video_modulation, video), _parts(block.audio_modulation, audio), own))
        heads = (_parts(model.video_head.modulation, video), _parts(model.audio_head.modulation, audio))
        return Known(video, audio, blocks, heads)

    def _attend(
        self, block: RFLAVBlock, video: Tensor, audio: Tensor, video_parts: Parts, audio_parts: Parts
    ) -> tuple[Tensor, Tensor]:
        """The three attentions of a block: tokens (b k n d), (b k f d) -> the same."""
        shift, scale, gate, time_shift, time_scale, time_gate = video_parts
        b, k, n, d = video.shape
        mixed = self._attention(
            block.video_spatial_attention, _modulated(video, shift, scale).view(b * k, n, d)
        )
        video = torch.addcmul(video, gate, mixed.view(b, k, n, d))
        along = _modulated(video, time_shift, time_scale).transpose(1, 2).reshape(b * n, k, d)
        mixed = self._attention(block.video_temporal_attention, along, is_causal=block.causal)
        video = torch.addcmul(video, time_gate, mixed.view(b, n, k, d).transpose(1, 2))
        shift, scale, gate = audio_parts
        mixed = self._attention(
            block.audio_attention, _modulated(audio, shift, scale).flatten(1, 2), is_causal=block.causal
        )
        return video, torch.addcmul(audio, gate, mixed.view_as(audio))

    def _fuse(
        self, fusion: Fusion, video: Tensor, audio: Tensor, known: Known, own: list[Parts]
    ) -> tuple[Tensor, Tensor]:
        """The fusion of a block. What it hands from branch to branch depends on the frames: nothing to keep there."""
        if isinstance(fusion, JointAttentionFusion):
            video, audio = self._joint(fusion, video, audio, own[0], own[1])
            for_video, for_audio = own[2], own[3]
        else:
            # of the tokens it uses the mean of each frame alone; handed over as one token, they are short to convert
            means = (x.mean(dim=2, keepdim=True).to(self.dtype) for x in (video, audio))
            _, _, *vectors = fusion.exchange(*means, known.video.to(self.dtype), known.audio.to(self.dtype))
            modulations = (fusion.video_modulation, fusion.audio_modulation)
            for_video, for_audio = map(_parts, modulations, vectors)
        scale, shift, gate = for_video
        video = torch.addcmul(video, gate, self._mlp(fusion.video_mlp, _modulated(video, shift, scale)))
        scale, shift, gate = for_audio
        audio = torch.addcmul(audio, gate, self._mlp(fusion.audio_mlp, _modulated(audio, shift, scale)))
        return video, audio

    def _joint(
        self, fusion: JointAttentionFusion, video: Tensor, audio: Tensor, for_video: Parts, for_audio: Parts
    ) -> tuple[Tensor, Tensor]:
        tokens = torch.cat([_modulated(video, *for_video[:2]), _modulated(audio, *for_audio[:2])], dim=2)
        b, k, n, d = tokens.shape
        mask = frame_causal_mask(k, n, tokens.device) if fusion.causal else None
        mixed = self._attention(fusion.joint_attention, tokens.view(b, k * n, d), mask=mask).view(b, k, n, d)
        video_mixed, audio_mixed = mixed.split([video.shape[2], audio.shape[2]], dim=2)
        return torch.addcmul(video, for_video[2], video_mixed), torch.addcmul(
            audio, for_audio[2], audio_mixed
        )

    def _attention(self, attention: SelfAttention, tokens: Tensor, **options: object) -> Tensor:
        return attention(tokens.to(self.dtype), **options).float()

    def _mlp(self, mlp: nn.Sequential, tokens: Tensor) -> Tensor:
        first, activation, last = mlp
        # between the products in float32: the bf16 GELU of CPUs takes ten times as long
        inner = activation(first(tokens.to(self.dtype)).float())
        return last(inner.to(self.dtype)).float()


def _parts(modulation: Modulation, condition: Tensor) -> Parts:
    """A modulation's vectors (rows k d) as float32 (rows k 1 d), which all tokens of a frame share."""
    return tuple(part.float()[:, :, None] for part in modulation(condition))


def _modulated(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm, then x (1 + scale) + shift: tokens (b k n d), vectors (rows k 1 d)."""
    normal = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
    return torch.addcmul(normal + shift, normal, scale)


def _matrices_as(block: RFLAVBlock, dtype: torch.dtype) -> RFLAVBlock:
    """A copy of a block with its weights in `dtype`."""
    return copy.deepcopy(block).to(dtype)
