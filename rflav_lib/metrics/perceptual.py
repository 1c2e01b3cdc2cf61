"""LPIPS as features: the squared distance of two clips' features *is* their LPIPS, averaged over frames.

LPIPS (Zhang et al. 2018, by the `lpips` package) is a weighted squared difference of normalised features. Written
as features, a whole matrix of distances, as Fig. 7 of the paper needs, costs one pass over the frames:
`loops.distance_matrix` of `Perceptual.rows`, with squared=True.
"""

import os
import warnings
from pathlib import Path

import lpips
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from rflav_lib.metrics import weights
from rflav_lib.metrics.features import FeatureNetwork, check_frames
from rflav_lib.metrics.weights import Published

ALEXNET = Published(
    "lpips/alexnet-owt-7be5be79.pth",
    sha256="7be5be79",  # torchvision publishes the first digits, in the file's name
    fetch="fetch https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
)
LAST_OF_SLICE = (1, 4, 7, 9, 11)  # layers of torchvision's AlexNet in each of the package's five slices


class Perceptual(FeatureNetwork):
    """LPIPS 0.1 with AlexNet. Make one with `Perceptual.load`.

    Attributes:
        width: depends on the size of the frames, so it is 0 until the first batch.
    """

    name = "LPIPS 0.1 AlexNet"
    layer = "five layers, normalised and weighted"
    width = 0

    def __init__(self, weights: str = "random trunk") -> None:
        super().__init__()
        self.weights = weights
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package calls torchvision as it was called years ago
            self.lpips = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: str | Path | None = None, published: Published = ALEXNET) -> "Perceptual":
        """The heads come with the package, the trunk from a file: never from the network behind your back.

        Args:
            path: torchvision's AlexNet; None looks in the weights folder (see `weights.locate`), then in
                torch's own cache.
            published: what the file must be.

        Raises:
            FileNotFoundError: no file. ValueError: another file, damaged, or keys that do not fit.
        """
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.name).name
        if path is None and cached.is_file() and not os.environ.get("RFLAV_WEIGHTS"):
            path = cached
        file = weights.locate(published, path)
        network = cls(published.label)
        state = {}
        for name, tensor in weights.read_state(file).items():
            part, _, rest = name.partition(".")
            if part == "features":  # the classifier is not used
                layer = int(rest.partition(".")[0])
                number = next(i for i, last in enumerate(LAST_OF_SLICE, start=1) if layer <= last)
                state[f"slice{number}.{rest}"] = tensor
        weights.load_exactly(network.lpips.net, state, str(file))
        return network

    def features(self, batch: Tensor) -> Tensor:
        """uint8 (b k h w 3) -> (b d). For single frames give clips of one frame (b 1 h w 3)."""
        check_frames(batch)
        frames = batch.shape[1]
        pictures = rearrange(batch, "b k h w c -> (b k) c h w").float() / 127.5 - 1
        parts = []
        for head, deep in zip(
            self.lpips.lins, self.lpips.net(self.lpips.scaling_layer(pictures)), strict=True
        ):
            weight = head.model[-1].weight  # 1 c 1 1, never negative
            size = deep.shape[-2] * deep.shape[-1] * frames
            parts.append((lpips.normalize_tensor(deep) * (weight / size).sqrt()).flatten(1))
        found = rearrange(torch.cat(parts, dim=1), "(b k) d -> b (k d)", k=frames)
        self.width = found.shape[1]
        return found

    @torch.no_grad()
    def rows(self, frames: NDArray[np.uint8], batch: int = 32) -> Tensor:
        """Features of single frames (k h w 3), `batch` at a time -> (k d), on the CPU.

        LPIPS depends on the size of the frames: give them at the one at which they are to be compared.
        """
        device = next(self.parameters()).device
        pieces = torch.from_numpy(np.ascontiguousarray(frames))[:, None].split(batch)
        return torch.cat([self.features(piece.to(device)).cpu() for piece in pieces])
