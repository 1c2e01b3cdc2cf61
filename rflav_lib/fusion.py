"""The paper's three ways to let sound and picture see each other (Sec. 3.1, Fig. 3), with one signature.

A fusion is the second half of a block. It takes the tokens of both branches after their own attentions, lets
them exchange, and ends with the feed-forward of each branch:

    (a) joint_attention       attention over the tokens of both branches together, then feed-forwards
                              modulated by time and class
    (b) average               feed-forwards modulated by the mean token of the *other* branch alone
    (c) conditioned_average   as (b), plus the branch's own time and class embedding: the paper's choice

The released code has (c) only; (a) and (b) follow the paper's text and figure. As in the released code, a mean
token goes through a linear layer before it is used (its weights need it; the paper's text does not mention it).
"""

import torch
from einops import rearrange, reduce
from torch import Tensor, nn

from rflav_lib.attention import ModulatedNorm, Modulation, SelfAttention


class Fusion(nn.Module):
    """What the three have in common: the modulated feed-forward of each branch.

    Subclasses say in `exchange` how the tokens mix and which vectors modulate.
    """

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float, causal: bool) -> None:
        super().__init__()
        self.norm = ModulatedNorm(hidden_size)
        self.video_modulation = Modulation(hidden_size, 3)
        self.audio_modulation = Modulation(hidden_size, 3)
        self.video_mlp = feed_forward(hidden_size, mlp_ratio)
        self.audio_mlp = feed_forward(hidden_size, mlp_ratio)

    def exchange(
        self, video: Tensor, audio: Tensor, video_condition: Tensor, audio_condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens and conditions in; tokens and the two vectors (b k d) that modulate the feed-forwards out."""
        raise NotImplementedError

    def forward(
        self, video: Tensor, audio: Tensor, video_condition: Tensor, audio_condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fuse and feed forward.

        Args:
            video: tokens (b k n d).
            audio: tokens (b k f d).
            video_condition: time (+ class) embedding of the video branch (b k d).
            audio_condition: the same of the audio branch.

        Returns:
            Video tokens (b k n d) and audio tokens (b k f d).
        """
        video, audio, for_video, for_audio = self.exchange(video, audio, video_condition, audio_condition)
        # scale before shift is the order of the released weights here; the attentions have shift before scale
        scale, shift, gate = self.video_modulation(for_video)
        video = video + gate[:, :, None] * self.video_mlp(self.norm(video, shift, scale))
        scale, shift, gate = self.audio_modulation(for_audio)
        audio = audio + gate[:, :, None] * self.audio_mlp(self.norm(audio, shift, scale))
        return video, audio


class AverageFusion(Fusion):
    """(b): the other branch's mean token modulates each feed-forward; time and class play no part (Fig. 3b)."""

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float = 4.0, causal: bool = True) -> None:
        super().__init__(hidden_size, num_heads, mlp_ratio, causal)
        self.video_average = nn.Linear(hidden_size, hidden_size)
        self.audio_average = nn.Linear(hidden_size, hidden_size)

    def exchange(
        self, video: Tensor, audio: Tensor, video_condition: Tensor, audio_condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The video branch gets the average of the audio, and the other way round."""
        for_video = self.audio_average(reduce(audio, "b k f d -> b k d", "mean"))
        for_audio = self.video_average(reduce(video, "b k n d -> b k d", "mean"))
        return video, audio, for_video, for_audio


class ConditionedAverageFusion(AverageFusion):
    """(c): as (b), and the time and class embedding of the branch that is modulated is added (Fig. 3c)."""

    def exchange(
        self, video: Tensor, audio: Tensor, video_condition: Tensor, audio_condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The other branch's average plus the own condition."""
        video, audio, for_video, for_audio = super().exchange(video, audio, video_condition, audio_condition)
        return video, audio, for_video + video_condition, for_audio + audio_condition


class JointAttentionFusion(Fusion):
    """(a): self-attention over both branches, causal by frame; time and class modulate the rest (Fig. 3a).

    A frame's n video and f audio tokens see each other and those of all frames before. That is attention over
    k (n + f) tokens, and why the paper finds it four times as slow as (c).
    """

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float = 4.0, causal: bool = True) -> None:
        super().__init__(hidden_size, num_heads, mlp_ratio, causal)
        self.causal = causal
        self.video_joint_modulation = Modulation(hidden_size, 3)
        self.audio_joint_modulation = Modulation(hidden_size, 3)
        self.joint_attention = SelfAttention(hidden_size, num_heads)

    def exchange(
        self, video: Tensor, audio: Tensor, video_condition: Tensor, audio_condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Add gated joint attention to both branches; each is modulated by its own condition."""
        video_shift, video_scale, video_gate = self.video_joint_modulation(video_condition)
        audio_shift, audio_scale, audio_gate = self.audio_joint_modulation(audio_condition)
        tokens = torch.cat(
            [self.norm(video, video_shift, video_scale), self.norm(audio, audio_shift, audio_scale)], dim=2
        )
        frames, per_frame = tokens.shape[1:3]
        mask = frame_causal_mask(frames, per_frame, tokens.device) if self.causal else None
        mixed = self.joint_attention(rearrange(tokens, "b k n d -> b (k n) d"), mask)
        mixed = rearrange(mixed, "b (k n) d -> b k n d", k=frames)
        video_mixed, audio_mixed = mixed.split([video.shape[2], audio.shape[2]], dim=2)
        video = video + video_gate[:, :, None] * video_mixed
        audio = audio + audio_gate[:, :, None] * audio_mixed
        return video, audio, video_condition, audio_condition


def feed_forward(hidden_size: int, mlp_ratio: float) -> nn.Sequential:
    """Linear, tanh-GELU, Linear: (... d) -> (... d)."""
    inner = int(hidden_size * mlp_ratio)
    return nn.Sequential(
        nn.Linear(hidden_size, inner), nn.GELU(approximate="tanh"), nn.Linear(inner, hidden_size)
    )


def frame_causal_mask(frames: int, tokens_per_frame: int, device: torch.device | str = "cpu") -> Tensor:
    """(k n, k n) booleans, True where a row's token may look: its own frame and those before."""
    frame = torch.arange(frames, device=device).repeat_interleave(tokens_per_frame)
    return frame[:, None] >= frame[None, :]


FUSIONS: dict[str, type[Fusion]] = {
    "joint_attention": JointAttentionFusion,
    "average": AverageFusion,
    "conditioned_average": ConditionedAverageFusion,
}
