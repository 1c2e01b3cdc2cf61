"""Feature networks that need no large download, for trying things out. Their figures are no FVD and no FAD.

Each says in its name that it is a stand-in, so that every table does. Their weights are looked for in the folder
`$RFLAV_ASSETS/weights`.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torchvision.models import mobilenet_v2

from rflav_lib.metrics import weights
from rflav_lib.metrics.features import FeatureNetwork, check_frames, check_sound
from rflav_lib.metrics.weights import Published

MOBILENET = Published(
    "mobilenet_v2_features_fp16.DERIVED.pth",
    sha256="b918ed741450c270a3854779b70329d8e26c202983e174994170068b52b8c184",
    fetch="set RFLAV_ASSETS to a folder with weights/ in it",
)
YAMNET = Published(
    "yamnet.tflite",
    sha256="687f226c147a2caab4706fbbab5e9cecb14b9a368264bf61108078b1fddf68f5",
    fetch="set RFLAV_ASSETS to a folder with weights/ in it",
)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _asset(published: Published, path: str | Path | None) -> Path:
    folder = os.environ.get("RFLAV_ASSETS")
    if path is None and folder:
        path = Path(folder) / "weights" / published.name
    return weights.locate(published, path)


class MobileNetStandIn(FeatureNetwork):
    """For I3D: the last block of MobileNetV2, 320 channels averaged over the picture.

    A clip is the mean over its frames, and the mean size of the change from frame to frame, so that frames in
    another order are another clip. Make one with `MobileNetStandIn.load`.
    """

    name = "stand-in MobileNetV2"
    layer = "last block, mean over frames and mean change"
    width = 640
    side = 128  # pixels; frames are brought to it, bilinear with antialias
    mean: Tensor
    std: Tensor

    def __init__(self, weights: str = "random weights") -> None:
        super().__init__()
        self.weights = weights
        self.trunk = mobilenet_v2(weights=None).features
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.eval()

    @classmethod
    def load(cls, path: str | Path | None = None, published: Published = MOBILENET) -> "MobileNetStandIn":
        """With ImageNet weights, from `path` or `$RFLAV_ASSETS/weights`; errors as `weights.locate` has them."""
        file = _asset(published, path)
        network = cls(published.label)
        state = {name: tensor.float() for name, tensor in weights.read_state(file).items()}
        weights.load_exactly(network.trunk, state, str(file))
        return network

    def features(self, batch: Tensor) -> Tensor:
        """uint8 (b k h w 3), at least 2 frames -> (b 640)."""
        check_frames(batch, at_least=2)
        pictures = rearrange(batch, "b k h w c -> (b k) c h w").float() / 255
        pictures = F.interpolate(pictures, (self.side, self.side), mode="bilinear", antialias=True)
        deep = self.trunk[:-1]((pictures - self.mean) / self.std).mean(dim=(2, 3))
        deep = rearrange(deep, "(b k) d -> b k d", b=len(batch))
        return torch.cat([deep.mean(dim=1), deep.diff(dim=1).abs().mean(dim=1)], dim=1)


class YamnetStandIn(FeatureNetwork):
    """For AudioCLIP: the 1024 numbers before YAMNet's classes, averaged over patches of 0.975 s.

    Runs in `ai-edge-litert`, an optional dependency (`.[yamnet]`). Make one with `YamnetStandIn.load`.
    """

    name = "stand-in YAMNet"
    layer = "global average pooling, mean over patches of 0.975 s"
    width = 1024
    sample_rate = 16_000
    patch = 15_600  # samples

    def __init__(self, interpreter: Any, weights: str) -> None:
        super().__init__()
        self.weights = weights
        self._run = interpreter
        interpreter.allocate_tensors()
        self._input = interpreter.get_input_details()[0]["index"]
        places = [
            tensor["index"]
            for tensor in interpreter.get_tensor_details()
            if tuple(tensor["shape"]) == (1, self.width) and "global_average_pooling2d/Mean" in tensor["name"]
        ]
        if len(places) != 1:
            raise ValueError(
                f"this is not YAMNet: {len(places)} tensors look like its pooling layer, not one"
            )
        self._place = places[0]

    @classmethod
    def load(cls, path: str | Path | None = None, published: Published = YAMNET) -> "YamnetStandIn":
        """With its weights, from `path` or `$RFLAV_ASSETS/weights`; errors as `weights.locate` has them.

        Raises:
            ImportError: `ai-edge-litert` is not installed.
        """
        file = _asset(published, path)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise ImportError(
                'YAMNet needs ai-edge-litert: pip install -c constraints.txt -e ".[yamnet]"'
            ) from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # keeping the inner tensors is what we want it for
            interpreter = Interpreter(str(file), num_threads=1, experimental_preserve_all_tensors=True)
        return cls(interpreter, published.label)

    def features(self, batch: Tensor) -> Tensor:
        """Sound (b s) in [-1, 1] at 16 kHz, at least 0.975 s -> (b 1024).

        Raises:
            ValueError: no such sound, or a shorter one.
        """
        check_sound(batch)
        length = batch.shape[-1]
        if length < self.patch:
            raise ValueError(f"sounds of {length} samples; {self.name} needs at least {self.patch}")
        count = -(-length // self.patch)  # as few patches as cover all of it, evenly spread
        starts = torch.linspace(0, length - self.patch, count).round().long().tolist()
        return torch.stack(
            [
                torch.stack([self._embed(sound[start : start + self.patch]) for start in starts]).mean(0)
                for sound in batch.cpu().float()
            ]
        )

    def _embed(self, sound: Tensor) -> Tensor:
        self._run.set_tensor(self._input, sound.numpy())
        self._run.invoke()
        return torch.from_numpy(self._run.get_tensor(self._place)[0].copy())
