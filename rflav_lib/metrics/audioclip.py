"""The network behind FAD: the audio head of AudioCLIP, an ESResNeXt-50 with attention over an FBSP spectrum.

Guzhov et al.'s network (weights `AudioCLIP-Full-Training.pt`), twice: as it was trained, and as MM-Diffusion uses
it, whose numbers the papers print. MM-Diffusion never calls `eval()`, so each embedding depends on the seven clips
beside it, and feeds sound in [-1, 1] where the network expects the range of int16, 90 dB louder. Only figures of
the second kind may be set beside published ones, only the first kind says something about sound.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy.signal.windows import blackmanharris
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from rflav_lib.metrics import weights
from rflav_lib.metrics.features import FeatureNetwork, check_sound

SAMPLE_RATE = 44_100
FULL_SCALE = 32_768
FRAME, HOP, PADDED, BINS = 1654, 561, 2048, 1025  # samples, samples, samples, bins
BAND = 341  # bins of each of the three channels
BATCH = 8  # clips at a time, as MM-Diffusion runs it, on whose statistics its features depend
SILENT_POWER = 1e-18  # stands where the power is exactly 0; smaller powers stay as they are
OPTIONAL = ("window", "fbsp.bias")  # fixed by definition; some files lack them

Mode = Literal["exact", "mm_diffusion"]
MODE_NAMES: dict[Mode, str] = {
    "exact": "AudioCLIP audio head, exact",
    "mm_diffusion": "AudioCLIP audio head, as MM-Diffusion runs it",
}


def time_axis() -> Tensor:
    """2048 instants from -pi to pi (both included), float32, bit-equal on every machine.

    `torch.linspace` rounds differently with and without AVX2, and the last bit counts: phases reach 3217 radians.
    """
    step, place = np.float64(np.float32(2 / (PADDED - 1))), np.arange(PADDED)
    line = np.where(place < PADDED // 2, -1 + place * step, 1 - (PADDED - 1 - place) * step).astype(
        np.float32
    )
    return torch.from_numpy(line * np.float32(np.pi) + np.float32(1e-8))


class FBSP(nn.Module):
    """A learned complex spectrum (frequency B-splines): windowed frames -> real and imaginary part of each bin.

    With its first parameters (m = 0, fb = 1, fc = k) a Fourier sum with bins 44100 / 2047 Hz apart: no FFT.
    """

    t: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.zeros(BINS))
        self.fb = nn.Parameter(torch.ones(BINS))
        self.fc = nn.Parameter(torch.arange(float(BINS)))
        self.bias = nn.Parameter(torch.empty(0))  # the published file has an empty one
        self.register_buffer("t", time_axis(), persistent=False)

    def kernel(self) -> tuple[Tensor, Tensor]:
        """Real and imaginary part (bins 2048), float32 as recorded; a float64 kernel gives other quiet bins."""
        m, fb, fc = (parameter[:, None] for parameter in (self.m, self.fb, self.fc))
        a = fb * self.t / (m + 1e-8)
        sinc = torch.where(a == 0, torch.ones_like(a), a.sin() / a)
        size = (fb.sqrt() / PADDED**0.5) * sinc.abs() ** m
        # a negative number to a real power is complex: its phase is pi m
        phase = torch.where(sinc < 0, torch.pi * m, torch.zeros_like(sinc))
        angle = fc * self.t
        real = size * (phase.cos() * angle.cos() + phase.sin() * angle.sin())
        imaginary = size * (phase.sin() * angle.cos() - phase.cos() * angle.sin())
        return real, imaginary

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (... 2048) -> power (... bins)."""
        real, imaginary = self.kernel()
        return (frames @ real.T).square() + (frames @ imaginary.T).square()


class Gate(nn.Module):
    """Which parts of a stage's output count, from what entered the stage: max-pool, two convolutions, sigmoid."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_depth = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=inputs)
        self.conv_point = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, entered: Tensor, size: torch.Size) -> Tensor:
        """What entered (b c h w), size of the output -> gate in (0, 1), (b c' h' w')."""
        pooled = F.adaptive_max_pool2d(entered, size)
        return torch.sigmoid(self.bn(self.conv_point(self.conv_depth(pooled))))


class AudioCLIP(FeatureNetwork):
    """Sound at 44.1 kHz -> 1024 numbers, not normalised. Make one with `AudioCLIP.load`.

    Args:
        mode: "exact": as trained, statistics of the training, sound in the range of int16. "mm_diffusion": batch
            statistics over 8 clips, sound in [-1, 1].
        weights: a short name of the weights.
    """

    layer = "fc, 1024, not normalised"
    width = 1024
    sample_rate = SAMPLE_RATE
    window: Tensor
    conv1: nn.Module
    bn1: nn.Module
    fc: nn.Module

    def __init__(self, mode: Mode = "exact", weights: str = "random weights") -> None:
        super().__init__()
        if mode not in MODE_NAMES:
            raise ValueError(f"mode must be 'exact' or 'mm_diffusion', not {mode!r}")
        self.weights, self.mode = weights, mode
        self.name = MODE_NAMES[mode]
        self.batch_size = BATCH if mode == "mm_diffusion" else None
        window = blackmanharris(FRAME, sym=False).astype(np.float32)
        self.register_buffer("window", torch.from_numpy(window))
        trunk = ResNet(Bottleneck, [3, 4, 6, 3], num_classes=self.width, groups=32, width_per_group=4)
        for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"):
            self.add_module(name, trunk.get_submodule(name))
        self.att1, self.att2 = Gate(64, 256, (3, 1)), Gate(256, 512, (1, 5))
        self.att3, self.att4 = Gate(512, 1024, (3, 1)), Gate(1024, 2048, (1, 5))
        self.att5 = Gate(2048, 2048, (3, 5))
        self.fbsp = FBSP()
        self.train(False)

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        mode: Mode = "exact",
        published: weights.Published = weights.AUDIOCLIP,
    ) -> "AudioCLIP":
        """The head with its published weights: the keys "audio." of the whole AudioCLIP.

        Args:
            path: `AudioCLIP-Full-Training.pt`; None looks in the weights folder (see `weights.locate`).
            mode: "exact" or "mm_diffusion".
            published: what the file must be.

        Raises:
            FileNotFoundError: no file. ValueError: another file, damaged, or keys that do not fit.
        """
        file = weights.locate(published, path)
        prefix = "audio."
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in weights.read_state(file).items()
            if name.startswith(prefix)
        }
        network = cls(mode, published.label)
        weights.load_exactly(network, state, f"the audio part of {file}", OPTIONAL)
        return network

    def train(self, mode: bool = True) -> "AudioCLIP":
        """Never in training: as MM-Diffusion runs it, batch norms use the batch, and still keep what they have."""
        super().train(False)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(self.mode == "mm_diffusion")
                module.track_running_stats = self.mode == "exact"
        return self

    @staticmethod
    def scaled(sound: Tensor) -> Tensor:
        """The range of int16 -> [-1, 1], in float32 and in this order.

        For sound that is in [-1, 1] already, as MM-Diffusion feeds it, adding 32768 rounds to steps of 1/256.
        """
        divisor = torch.full_like(sound[:1, :1], 65_535.0)  # a number would become a reciprocal on a GPU
        return (sound + 32_768.0) * 2.0 / divisor - 1.0

    def decibels(self, sound: Tensor) -> Tensor:
        """Sound (b s) as it is fed -> (b 3 341 frames): bands of 7.3 kHz as channels, low ones first."""
        scaled = self.scaled(sound.float())
        frames = max(0, -(-(scaled.shape[-1] - FRAME) // HOP)) + 1
        missing = (frames - 1) * HOP + FRAME - scaled.shape[-1]
        padded = F.pad(scaled, (missing // 2, missing - missing // 2))
        pieces = padded.unfold(-1, FRAME, HOP) * self.window  # b frames samples
        side = (PADDED - FRAME) // 2
        power = self.fbsp(F.pad(pieces, (side, PADDED - FRAME - side)))
        power = rearrange(power[..., : 3 * BAND], "b frames (bands bins) -> b bands bins frames", bands=3)
        return 10 * torch.where(power > 0, power, torch.full_like(power, SILENT_POWER)).log10()

    def embed(self, decibels: Tensor) -> Tensor:
        """(b 3 341 frames) -> (b 1024)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(decibels))), 3, stride=2, padding=1)
        for number in range(1, 5):
            stage = self.get_submodule(f"layer{number}")(x)
            x = stage * self.get_submodule(f"att{number}")(x, stage.shape[-2:])
        pooled = F.adaptive_avg_pool2d(x, 1)
        return self.fc((pooled * self.att5(x, pooled.shape[-2:])).flatten(1))

    def features(self, batch: Tensor) -> Tensor:
        """Sound (b s) in [-1, 1] at 44.1 kHz -> (b 1024).

        Raises:
            ValueError: no such sound, or another number of clips than `batch_size`.
        """
        check_sound(batch)
        if self.batch_size and len(batch) != self.batch_size:
            raise ValueError(f"{self.name} takes {self.batch_size} clips at a time, not {len(batch)}")
        return self.embed(self.decibels(batch * FULL_SCALE if self.mode == "exact" else batch))
