"""The network behind FVD and KVD: Inception-v1 I3D with its 400 Kinetics logits, as MM-Diffusion uses it.

Carreira and Zisserman's network in the PyTorch form that video generation has settled on (VideoGPT, TATS,
MM-Diffusion; weights `i3d_pretrained_400.pt`). Names of layers are those of the weights.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from rflav_lib.metrics import weights
from rflav_lib.metrics.features import FeatureNetwork, check_frames

SIDE = 224  # pixels
LEAST_FRAMES = 9  # the last pool needs two time cells
MIXED = {  # channels of b0, b1a, b1b, b2a, b2b, b3b
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


def pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Zeros around (b c t h w) as TensorFlow's "same" has them: by the size, the larger half behind."""
    sides: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):  # F.pad: last axis first
        total = max(k - (size % s or s), 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides)


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-5, momentum=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(b c t h w), same size divided by the stride."""
        return F.relu(self.bn(self.conv3d(pad_same(x, self.conv3d.kernel_size, self.conv3d.stride))))


class Pool(nn.Module):
    """Max-pool with the same padding; what it pools is never negative, so zeros do no harm."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(b c t h w), same size divided by the stride."""
        return F.max_pool3d(pad_same(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """Four branches side by side: 1, 1-3, 1-3, pool-1."""

    def __init__(self, inputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = channels
        self.b0 = Unit(inputs, b0)
        self.b1a, self.b1b = Unit(inputs, b1a), Unit(b1a, b1b, kernel=3)
        self.b2a, self.b2b = Unit(inputs, b2a), Unit(b2a, b2b, kernel=3)
        self.b3a, self.b3b = Pool((3, 3, 3), (1, 1, 1)), Unit(inputs, b3b)

    def forward(self, x: Tensor) -> Tensor:
        """The branches' channels in order."""
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, dim=1)


class Logits(nn.Module):
    """A convolution of one cell, with bias and nothing after it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b c t h w) -> (b outputs t h w)."""
        return self.conv3d(x)


class I3D(FeatureNetwork):
    """Clips -> 400 logits, averaged over time. Make one with `I3D.load`.

    The dropout before the logits is left out: evaluation has none.
    """

    name = "I3D Kinetics-400"
    layer = "400 logits, mean over time"
    width = 400

    def __init__(self, weights: str = "random weights") -> None:
        super().__init__()
        self.weights = weights
        self.logits = Logits(1024, 400)
        self.Conv3d_1a_7x7 = Unit(3, 64, kernel=7, stride=2)
        self.MaxPool3d_2a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64)
        self.Conv3d_2c_3x3 = Unit(64, 192, kernel=3)
        self.MaxPool3d_3a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        self.MaxPool3d_4a_3x3 = Pool((3, 3, 3), (2, 2, 2))
        self.MaxPool3d_5a_2x2 = Pool((2, 2, 2), (2, 2, 2))
        inputs = 192
        for place, channels in MIXED.items():
            self.add_module(f"Mixed_{place}", Mixed(inputs, channels))
            inputs = channels[0] + channels[2] + channels[4] + channels[5]
        self.eval()

    @classmethod
    def load(cls, path: str | Path | None = None, published: weights.Published = weights.I3D) -> "I3D":
        """The network with its published weights.

        Args:
            path: `i3d_pretrained_400.pt`; None looks in the weights folder (see `weights.locate`).
            published: what the file must be.

        Raises:
            FileNotFoundError: no file. ValueError: another file, damaged, or keys that do not fit.
        """
        file = weights.locate(published, path)
        network = cls(published.label)
        weights.load_exactly(network, weights.read_state(file), str(file))
        return network

    @staticmethod
    def prepare(batch: Tensor) -> Tensor:
        """uint8 (b k h w 3) -> (b 3 k 224 224) in [-1, 1].

        The shorter side is brought to 224 pixels, bilinear without antialias, and the middle is cut out. The
        longer side is rounded up, so that some square frames (50x50) become 225 pixels high first: as recorded.
        """
        clips, _, height, width, _ = batch.shape
        ratio = SIDE / min(height, width)
        size = (SIDE, math.ceil(width * ratio)) if height < width else (math.ceil(height * ratio), SIDE)
        pictures = rearrange(batch, "b k h w c -> (b k) c h w").float() / 255
        pictures = F.interpolate(pictures, size, mode="bilinear", align_corners=False)
        top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
        pictures = pictures[..., top : top + SIDE, left : left + SIDE]
        return (rearrange(pictures, "(b k) c h w -> b c k h w", b=clips) - 0.5) * 2

    def cells(self, prepared: Tensor) -> Tensor:
        """(b 3 k 224 224) -> logits of each time cell (b 400 cells)."""
        x = self.MaxPool3d_2a_3x3(self.Conv3d_1a_7x7(prepared))
        x = self.MaxPool3d_3a_3x3(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)))
        for place in MIXED:
            if place == "4b":
                x = self.MaxPool3d_4a_3x3(x)
            if place == "5b":
                x = self.MaxPool3d_5a_2x2(x)
            x = self.get_submodule(f"Mixed_{place}")(x)
        return self.logits(F.avg_pool3d(x, (2, 7, 7), stride=1))[..., 0, 0]

    def features(self, batch: Tensor) -> Tensor:
        """uint8 (b k h w 3), at least 9 frames -> (b 400)."""
        check_frames(batch, LEAST_FRAMES)
        return self.cells(self.prepare(batch)).mean(dim=-1)
