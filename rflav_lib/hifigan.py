"""HiFi-GAN, the vocoder of the released models: log-mel -> waveform by convolutions (Kong et al., 2020)."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from rflav_lib.mel import check_log_mel
from rflav_lib.numbers_given import whole_number
from rflav_lib.stream_state import check_missing
from rflav_lib.undo import all_or_nothing

SLOPE, LAST_SLOPE = 0.1, 0.01  # of the leaky ReLUs; the one before the last convolution has PyTorch's default


class HiFiGAN(ModelMixin, ConfigMixin):
    """The generator, without weight norm: `fold_weight_norm` turns released weights into plain ones.

    Called as `vocoder(log_mel (b m frames)) -> waveform (b s)` with s = frames * hop_length, like every vocoder here.

    Args:
        sample_rate: of the sound.
        n_mels: mel bins.
        upsample_rates: factors that multiply to `hop_length`, the samples of a mel frame.
        upsample_kernel_sizes: of the transposed convolutions.
        upsample_initial_channel: channels before the first; each stage halves them.
        resblock_kernel_sizes, resblock_dilation_sizes: of the residual blocks behind each stage, whose mean is taken.

    Raises:
        ValueError: what is no whole number of at least 1, lists that are empty or do not fit each other, kernels below
            their rate, even residual kernels, or channels that cannot be halved.
    """

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 256,
        upsample_rates: tuple[int, ...] = (5, 4, 4, 2),
        upsample_kernel_sizes: tuple[int, ...] = (11, 8, 8, 4),
        upsample_initial_channel: int = 512,
        resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11),
        resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
    ) -> None:
        super().__init__()
        if len(upsample_rates) != len(upsample_kernel_sizes):
            raise ValueError(
                f"upsample_rates and upsample_kernel_sizes must be as many, not {len(upsample_rates)} and "
                f"{len(upsample_kernel_sizes)}"
            )
        if len(resblock_kernel_sizes) != len(resblock_dilation_sizes):
            raise ValueError(
                f"resblock_kernel_sizes and resblock_dilation_sizes must be as many, not {len(resblock_kernel_sizes)} "
                f"and {len(resblock_dilation_sizes)}"
            )
        for name, size in (("sample_rate", sample_rate), ("n_mels", n_mels),
                           ("upsample_initial_channel", upsample_initial_channel)):  # fmt: skip
            whole_number(size, name)
        _check_sizes(upsample_rates, "upsample_rates")
        _check_sizes(resblock_kernel_sizes, "resblock_kernel_sizes")
        for dilations in resblock_dilation_sizes:
            _check_sizes(dilations, "resblock_dilation_sizes")
        for rate, kernel in zip(upsample_rates, upsample_kernel_sizes, strict=True):
            if whole_number(kernel, "each of upsample_kernel_sizes") < rate:
                raise ValueError(
                    f"upsample_kernel_sizes: {kernel} leaves gaps at a rate of {rate}: at least {rate}"
                )
        if even := [kernel for kernel in resblock_kernel_sizes if kernel % 2 == 0]:
            raise ValueError(f"resblock_kernel_sizes must be odd, not {even[0]}: the length has to stay")
        if upsample_initial_channel % 2 ** len(upsample_rates):
            raise ValueError(
                f"{upsample_initial_channel} channels cannot be halved {len(upsample_rates)} times"
            )
        self.hop_length = math.prod(upsample_rates)
        channels = upsample_initial_channel
        self.conv_pre = nn.Conv1d(n_mels, channels, 7, padding=3)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(upsample_rates, upsample_kernel_sizes, strict=True):
            self.ups.append(upsampling(channels, channels // 2, kernel, rate))
            channels //= 2
            self.resblocks.extend(
                ResidualBlock(channels, size, dilations)
                for size, dilations in zip(resblock_kernel_sizes, resblock_dilation_sizes, strict=True)
            )
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Tensor:
        """Natural log-mel (b m frames) -> waveform (b frames*hop_length) in [-1, 1].

        Raises:
            TypeError: not floating point. ValueError: wrong shape, or NaN.
        """
        self.check(log_mel)
        x = self.conv_pre(log_mel.to(self.device, self.dtype))
        blocks = len(self.resblocks) // len(self.ups)
        for stage, upsample in enumerate(self.ups):
            x = upsample(F.leaky_relu(x, SLOPE))
            group = self.resblocks[stage * blocks : (stage + 1) * blocks]
            x = sum(block(x) for block in group) / blocks
        return self.conv_post(F.leaky_relu(x, LAST_SLOPE)).tanh()[:, 0]

    def check(self, log_mel: Tensor) -> None:
        """Raise what `forward` raises for an input that is no log-mel (b m frames) of this vocoder."""
        check_log_mel(log_mel, self.config.n_mels)

    @property
    def reach(self) -> int:
        """Mel frames on each side that a sample depends on, at most."""
        config, rate, reach = self.config, 1, 3.0
        widest = max(
            (kernel - 1) // 2 * (sum(dilations) + len(dilations))
            for kernel, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            )
        )
        for factor, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            reach += math.ceil(kernel / factor) / rate
            rate *= factor
            reach += widest / rate
        return math.ceil(reach + 3 / rate)

    def stream(self, batch: int = 1) -> "HiFiGANStream":
        """A stream that takes log-mel in pieces and gives sound in pieces, equal to the whole within rounding."""
        return HiFiGANStream(self, batch)


def _check_sizes(sizes: Any, name: str) -> None:
    """Raise a ValueError unless this is a list of whole numbers of at least 1, and not empty."""
    if not isinstance(sizes, list | tuple) or not sizes:
        raise ValueError(f"{name} must be a list of whole numbers, not {sizes!r}")
    for size in sizes:
        whole_number(size, f"each of {name}")


class ResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated: (b c s) -> (b c s)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2)
            for d in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add what each pair makes."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


def upsampling(channels: int, out_channels: int, kernel: int, rate: int) -> nn.ConvTranspose1d:
    """A transposed convolution that makes exactly `rate` samples of each; an odd excess needs one more at the end."""
    excess = kernel - rate
    odd = excess % 2
    return nn.ConvTranspose1d(
        channels, out_channels, kernel, rate, padding=excess // 2 + odd, output_padding=odd
    )


def fold_weight_norm(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released weights -> plain ones: weight = g v / |v|, the norm over all dimensions but the first.

    Raises:
        ValueError: a `weight_g` without its `weight_v`, or the other way round.
    """
    folded = {}
    for name, tensor in state_dict.items():
        stem, _, kind = name.rpartition(".")
        if kind not in ("weight_g", "weight_v"):
            folded[name] = tensor
            continue
        partner = f"{stem}.{'weight_v' if kind == 'weight_g' else 'weight_g'}"
        if partner not in state_dict:
            raise ValueError(f"{name} is there, {partner} is not")
        if kind == "weight_v":
            norm = tensor.flatten(1).norm(dim=1).view(-1, *[1] * (tensor.ndim - 1))
            folded[f"{stem}.weight"] = tensor * (state_dict[partner] / norm)
    return folded


class HiFiGANStream:
    """Turns log-mel frames into a waveform while they arrive: blocks with as much context as a sample can depend on."""

    BLOCK = 40  # mel frames at once: fewer would compute their context more often

    def __init__(self, vocoder: HiFiGAN, batch: int = 1) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.vocoder, self.batch = vocoder, batch
        self._begin()

    def _begin(self) -> None:
        self._frames = torch.zeros(self.batch, self.vocoder.config.n_mels, 0)  # context, then what waits
        self._context = 0  # frames of it that have their sound already

    def push(self, log_mel: Tensor) -> Tensor:
        """Natural log-mel (b m frames) -> the samples that are complete (b s); s may be 0.

        If it is interrupted, the frames count as not pushed.

        Raises:
            ValueError: another batch or number of mel bins, or NaN.
        """
        self.vocoder.check(log_mel)
        if len(log_mel) != self.batch:
            raise ValueError(f"log_mel is for {len(log_mel)} sounds, this stream for {self.batch}")
        with all_or_nothing(self):
            self._frames = torch.cat([self._frames, log_mel.float().cpu()], dim=-1)
            pieces = [torch.zeros(self.batch, 0)]
            reach = self.vocoder.reach
            while self._frames.shape[-1] - self._context >= self.BLOCK + reach:
                pieces.append(self._make(self.BLOCK, self._context + self.BLOCK + reach))
            return torch.cat(pieces, dim=-1)

    def flush(self) -> Tensor:
        """The rest (b s); then the stream is as new."""
        count = self._frames.shape[-1] - self._context
        rest = self._make(count, self._frames.shape[-1]) if count else torch.zeros(self.batch, 0)
        self._begin()
        return rest

    @property
    def owed(self) -> int:
        """Samples of the frames that were pushed which have not been handed out: what `flush` would give."""
        return (self._frames.shape[-1] - self._context) * self.vocoder.hop_length

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the sound depends on: a tensor and a number."""
        return {"frames": self._frames.clone(), "context": self._context}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream stood.

        Raises:
            ValueError: it was of another number of sounds or mel bins, or lacks something; then this one is as it was.
        """
        check_missing(state, ("frames", "context"), "vocoder")
        theirs, ours = tuple(state["frames"].shape[:2]), tuple(self._frames.shape[:2])
        if theirs != ours:
            raise ValueError(f"this state is of a stream of {theirs} (sounds, mel bins), not {ours}")
        frames, context = state["frames"].cpu().clone(), int(state["context"])
        if not 0 <= context <= frames.shape[-1]:
            raise ValueError(
                f"this state of a vocoder is damaged: {context} of its {frames.shape[-1]} frames"
            )
        self._frames, self._context = frames, context

    def _make(self, count: int, stop: int) -> Tensor:
        """Sound of the next `count` frames, from the frames before `stop`."""
        hop = self.vocoder.hop_length
        sound = self.vocoder(self._frames[..., :stop]).float().cpu()
        sound = sound[:, self._context * hop : (self._context + count) * hop]
        done = self._context + count
        keep = min(done, self.vocoder.reach)
        self._frames, self._context = self._frames[..., done - keep :].clone(), keep
        return sound
