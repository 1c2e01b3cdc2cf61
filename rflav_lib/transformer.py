"""The two-branch transformer that predicts the velocity of sound and picture (paper Sec. 3.1, Fig. 1)."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from einops import rearrange
from torch import Tensor, nn

from rflav_lib.attention import ModulatedNorm, Modulation, SelfAttention
from rflav_lib.fusion import FUSIONS
from rflav_lib.memory import MemoryLayout
from rflav_lib.transformer_settings import checked

TIME_FREQUENCIES = 256  # sines and cosines that a time is expanded into, as released


class RFLAVBlock(nn.Module):
    """One block: each branch attends to itself, then the fusion lets them meet and feeds forward (Fig. 1, 3).

    Video: attention inside each frame, then along time for each patch position. Audio: attention over all mel
    frames of the window. With `causal`, time attention sees only the past: video by frame, audio by mel frame.
    """

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float, fusion: str, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.norm = ModulatedNorm(hidden_size)
        self.video_modulation = Modulation(hidden_size, 6)
        self.audio_modulation = Modulation(hidden_size, 3)
        self.video_spatial_attention = SelfAttention(hidden_size, num_heads)
        self.video_temporal_attention = SelfAttention(hidden_size, num_heads)
        self.audio_attention = SelfAttention(hidden_size, num_heads)
        self.fusion = FUSIONS[fusion](hidden_size, num_heads, mlp_ratio, causal)

    def forward(
        self, video: Tensor, audio: Tensor, video_condition: Tensor, audio_condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """video (b k n d), audio (b k f d), conditions (b k d) -> video and audio of the same shapes."""
        frames, patches = video.shape[1:3]

        shift, scale, gate, time_shift, time_scale, time_gate = self.video_modulation(video_condition)
        within_frame = rearrange(self.norm(video, shift, scale), "b k n d -> (b k) n d")
        mixed = self.video_spatial_attention(within_frame)
        video = video + gate[:, :, None] * rearrange(mixed, "(b k) n d -> b k n d", k=frames)

        along_time = rearrange(self.norm(video, time_shift, time_scale), "b k n d -> (b n) k d")
        mixed = self.video_temporal_attention(along_time, is_causal=self.causal)
        video = video + time_gate[:, :, None] * rearrange(mixed, "(b n) k d -> b k n d", n=patches)

        shift, scale, gate = self.audio_modulation(audio_condition)
        mel_frames = rearrange(self.norm(audio, shift, scale), "b k f d -> b (k f) d")
        mixed = self.audio_attention(mel_frames, is_causal=self.causal)
        audio = audio + gate[:, :, None] * rearrange(mixed, "b (k f) d -> b k f d", k=frames)

        return self.fusion(video, audio, video_condition, audio_condition)


class OutputHead(nn.Module):
    """Modulated norm and a linear layer to `channels` numbers a token; the linear starts at zero."""

    def __init__(self, hidden_size: int, channels: int) -> None:
        super().__init__()
        self.norm = ModulatedNorm(hidden_size)
        self.modulation = Modulation(hidden_size, 2)
        self.linear = nn.Linear(hidden_size, channels)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """tokens (b k n d), condition (b k d) -> (b k n channels)."""
        shift, scale = self.modulation(condition)
        return self.linear(self.norm(tokens, shift, scale))


class RFLAVTransformer(ModelMixin, ConfigMixin):
    """Predicts the flow velocity of a window of video latents and mel segments, each frame at its own time.

    Args:
        latent_size: height and width of a frame's latent (paper: h = w).
        in_channels: channels of a latent (paper: c).
        patch_size: side of the square of latent pixels that makes one token (paper: p).
        hidden_size: width of a token (paper: D).
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: inner width of the feed-forwards over `hidden_size`.
        window: frames in the window at most (paper: T).
        mel_frames: mel frames of one video frame (paper: F/T).
        n_mels: mel bins (paper: N_m).
        num_classes: 0 builds a model without labels. With classes, label `num_classes` means "no class".
        class_dropout: share of training labels that `drop_labels` replaces by "no class".
        fusion: "joint_attention" (a), "average" (b) or "conditioned_average" (c), see `rflav_lib.fusion`.
        causal: no frame sees a later one, so the outputs of the first frames do not depend on the rest at all.
        sink_frames, context_frames: memory slots in front of the window, see `rflav_lib.memory`; the released
            models have none. With m of them, every input begins with m frames of memory.

    Raises:
        ValueError: a setting that cannot work; names it.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["RFLAVBlock"]

    @register_to_config
    def __init__(
        self,
        latent_size: int = 32,
        in_channels: int = 4,
        patch_size: int = 1,
        hidden_size: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        window: int = 10,
        mel_frames: int = 10,
        n_mels: int = 256,
        num_classes: int = 0,
        class_dropout: float = 0.1,
        fusion: str = "conditioned_average",
        causal: bool = True,
        sink_frames: int = 0,
        context_frames: int = 0,
    ) -> None:
        super().__init__()
        self.register_to_config(**checked(self.config))
        patches = (latent_size // patch_size) ** 2
        self.video_embedding = nn.Conv2d(in_channels, hidden_size, patch_size, stride=patch_size)
        self.audio_embedding = nn.Linear(n_mels, hidden_size)
        self.video_time_position = nn.Parameter(torch.empty(1, window, 1, hidden_size))
        self.video_patch_position = nn.Parameter(torch.empty(1, 1, patches, hidden_size))
        self.audio_time_position = nn.Parameter(torch.empty(1, window, 1, hidden_size))
        self.audio_mel_position = nn.Parameter(torch.empty(1, 1, mel_frames, hidden_size))
        self.memory_layout = MemoryLayout(sink_frames, context_frames)
        if self.memory_layout.frames:  # places of their own: those of the window keep their meaning
            shape = (1, self.memory_layout.frames, 1, hidden_size)
            self.video_memory_position = nn.Parameter(torch.empty(shape))
            self.audio_memory_position = nn.Parameter(torch.empty(shape))
        self.frequencies = Timesteps(TIME_FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.video_time = TimestepEmbedding(TIME_FREQUENCIES, hidden_size)
        self.audio_time = TimestepEmbedding(TIME_FREQUENCIES, hidden_size)
        self.video_label = nn.Embedding(num_classes + 1, hidden_size) if num_classes else None
        self.audio_label = nn.Embedding(num_classes + 1, hidden_size) if num_classes else None
        self.blocks = nn.ModuleList(
            RFLAVBlock(hidden_size, num_heads, mlp_ratio, fusion, causal) for _ in range(depth)
        )
        self.video_head = OutputHead(hidden_size, in_channels * patch_size**2)
        self.audio_head = OutputHead(hidden_size, n_mels)
        self.gradient_checkpointing = False
        self.initialize_weights()

    def initialize_weights(self) -> None:
        """Xavier for linear layers, small normals for tables, zero for modulations and outputs (AdaLN-zero)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.xavier_uniform_(self.video_embedding.weight.flatten(1))
        assert self.video_embedding.bias is not None, "convolutions have one unless told otherwise"
        nn.init.zeros_(self.video_embedding.bias)
        for name in ("video_time", "video_patch", "audio_time", "audio_mel"):
            nn.init.normal_(getattr(self, f"{name}_position"), std=0.02)
        for embedding in (self.video_time, self.audio_time):
            nn.init.normal_(embedding.linear_1.weight, std=0.02)
            nn.init.normal_(embedding.linear_2.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, Modulation):
                module.zero()
            elif isinstance(module, OutputHead):
                nn.init.zeros_(module.linear.weight)
        # last: a seed gives the other weights their values with and without memory
        if self.memory_layout.frames:
            for table in (self.video_memory_position, self.audio_memory_position):
                nn.init.normal_(table, std=0.02)

    @property
    def time_positions(self) -> tuple[Tensor, Tensor]:
        """Time tables of both branches (1 m+T 1 d): memory slots, if there are any, then the window."""
        if not self.memory_layout.frames:
            return self.video_time_position, self.audio_time_position
        return (
            torch.cat([self.video_memory_position, self.video_time_position], dim=1),
            torch.cat([self.audio_memory_position, self.audio_time_position], dim=1),
        )

    @property
    def null_label(self) -> int:
        """The label that means "no class"."""
        return self.config.num_classes

    def drop_labels(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Replace each label by "no class" with probability `class_dropout`: (b,) -> (b,). For training only.

        Explicit instead of a hidden draw in `forward`, so that sampling can never drop a label by accident.

        Raises:
            ValueError: the model has no classes.
        """
        if not self.config.num_classes:
            raise ValueError(
                "this model was built without classes (num_classes=0): there are no labels to drop"
            )
        dropped = torch.rand(y.shape, generator=generator) < self.config.class_dropout
        return torch.where(dropped.to(y.device), self.null_label, y)

    def condition(self, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Time and class embedding of each branch: t (b k), y (b,) or None -> two tensors (b k d)."""
        # the released network counts time from 1 (noise) to 1000 (clean)
        sines = self.frequencies((999 * t.float() + 1).flatten()).unflatten(0, t.shape)
        sines = sines.to(self.video_time.linear_1.weight.dtype)
        video, audio = self.video_time(sines), self.audio_time(sines)
        if self.video_label is None or self.audio_label is None:
            return video, audio
        if y is None:
            y = torch.full(t.shape[:1], self.null_label, device=t.device)
        return video + self.video_label(y)[:, None], audio + self.audio_label(y)[:, None]

    def patchify(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (b k c h w), mel segments (b k f m) -> tokens with positions, (b k n d) and (b k f d)."""
        frames = video.shape[1]
        dtype = self.video_embedding.weight.dtype  # states stay float32 even where the weights are bf16
        video, audio = video.to(dtype), audio.to(dtype)
        video_time_position, audio_time_position = self.time_positions
        patches = self.video_embedding(rearrange(video, "b k c h w -> (b k) c h w"))
        video = rearrange(patches, "(b k) d rows columns -> b k (rows columns) d", k=frames)
        video = video + video_time_position[:, :frames] + self.video_patch_position
        audio = self.audio_embedding(audio)
        audio = audio + audio_time_position[:, :frames] + self.audio_mel_position
        return video, audio

    def unpatchify(self, patches: Tensor) -> Tensor:
        """(b k n (p p c)) -> latents (b k c h w)."""
        size, patch = self.config.latent_size // self.config.patch_size, self.config.patch_size
        return rearrange(
            patches,
            "b k (rows columns) (p_row p_column c) -> b k c (rows p_row) (columns p_column)",
            rows=size, p_row=patch, p_column=patch,
        )  # fmt: skip

    def forward(
        self, video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Velocity of both modalities.

        Args:
            video: noisy latents (b k c h w), memory slots first; frames of the window may be missing at the end.
            audio: noisy mel segments (b k f m).
            t: flow time of each frame (b k), 0 = noise, 1 = clean.
            y: class labels (b,), int64; None means "no class".

        Returns:
            Video velocity (b k c h w) and audio velocity (b k f m).

        Raises:
            ValueError: shapes or labels that do not fit the configuration, naming the one that does not.
        """
        self._check(video, audio, t, y)
        video_condition, audio_condition = self.condition(t, y)
        video, audio = self.patchify(video, audio)
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                video, audio = self._gradient_checkpointing_func(
                    block, video, audio, video_condition, audio_condition
                )
            else:
                video, audio = block(video, audio, video_condition, audio_condition)
        video = self.unpatchify(self.video_head(video, video_condition))
        return video, self.audio_head(audio, audio_condition)

    def _check(self, video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None) -> None:
        config, (batch, frames) = self.config, video.shape[:2]
        memory = self.memory_layout.frames
        if not memory < frames <= memory + config.window:
            slots = f" behind {memory} memory slots" if memory else ""
            raise ValueError(f"video has {frames} frames, but this model's window is {config.window}{slots}")
        expected = {
            "video": (video, (batch, frames, config.in_channels, config.latent_size, config.latent_size)),
            "audio": (audio, (batch, frames, config.mel_frames, config.n_mels)),
            "t": (t, (batch, frames)),
        }
        for name, (tensor, shape) in expected.items():
            if tuple(tensor.shape) != shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, this model needs {shape}")
        if y is not None:
            self.check_labels(y, batch)

    def check_labels(self, y: Tensor, batch: int) -> None:
        """Raise a ValueError unless these are whole numbers (b,) of classes, or of no class."""
        count = self.config.num_classes
        if not count:
            raise ValueError("this model was built without classes (num_classes=0): leave y out")
        if tuple(y.shape) != (batch,):
            raise ValueError(f"y has shape {tuple(y.shape)}, this model needs {(batch,)}")
        if y.is_floating_point() or y.dtype == torch.bool:
            raise ValueError(f"labels must be whole numbers, not {y.dtype}")
        # only on the CPU, where looking at the values costs no wait for the device
        if y.device.type == "cpu" and not ((y >= 0) & (y <= count)).all():
            raise ValueError(
                f"labels must lie in 0..{count - 1}, or be {count} for no class; got {y.tolist()}"
            )
