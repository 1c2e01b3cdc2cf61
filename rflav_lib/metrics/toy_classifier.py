"""Two small networks for the toy worlds, one that watches and one that listens: features that need no download.

    python -m rflav_lib.metrics.toy_classifier --out checkpoints/toy-classifier      # train: 4 minutes on an idle core
    python -m rflav_lib.metrics.toy_classifier --evaluate checkpoints/toy-classifier

Each learns from clips whose truth is known: which of the six scenes it is, and in which frames something happens.
Its inner numbers are then features for distances between *toy* clips. Accuracy stands in `config.json` beside the
weights. They are stand-ins, named so in every table.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from rflav_lib import ROOT
from rflav_lib.data.seeds import UNSEEN_SEED, kept_for
from rflav_lib.data.toy import CLASSES, ToyClip, make_clip
from rflav_lib.files import refuse_other, whole_folder
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.metrics import weights
from rflav_lib.metrics.features import FeatureNetwork, check_frames, check_sound
from rflav_lib.numbers_given import whole_number
from rflav_lib.provenance import provenance
from rflav_lib.tensor_files import safetensors_errors

FOLDER = ROOT / "checkpoints" / "toy-classifier"
SCENES = (*CLASSES["toy-landscape"], "dance")
FRAMES = 16


@dataclass(frozen=True)
class Settings:
    """Of a training run: `steps` of `batch` windows, cut out of `clips` longer clips; `unseen` clips test it."""

    steps: int = 600
    batch: int = 32
    clips: int = 1600
    learning_rate: float = 2e-3
    seed: int = 0
    unseen: int = 600

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "clips", "unseen"):
            whole_number(getattr(self, name), name)
        if kept := kept_for(self.seed):
            raise ValueError(f"seed {self.seed} is kept: {kept}; take another")


class ToyNetwork(FeatureNetwork):
    """What both have in common: numbers for each frame, then for the clip, then the answers.

    Subclasses say in `frames` how a batch becomes (b channels k).
    """

    channels = 48
    width = 64
    file = ""

    def __init__(self) -> None:
        super().__init__()
        self.weights = "random weights"
        self.along_time = nn.Conv1d(self.channels, self.channels, 5, padding=2)
        self.whole_clip = nn.Linear(2 * self.channels, self.width)
        self.scene = nn.Linear(self.width, len(SCENES))
        self.happens = nn.Conv1d(self.channels, 1, 1)

    def frames(self, batch: Tensor) -> Tensor:
        """What it takes -> (b channels k)."""
        raise NotImplementedError

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What it takes -> features (b d), scores of the scenes (b 6), scores of "something happens" (b k)."""
        x = self.frames(batch)
        x = x + F.relu(self.along_time(x))
        # the mean says what there is, the change from frame to frame how it moves
        summary = torch.cat([x.mean(dim=-1), x.diff(dim=-1).abs().mean(dim=-1)], dim=1)
        features = torch.tanh(self.whole_clip(summary))
        return features, self.scene(features), self.happens(x)[:, 0]

    def features(self, batch: Tensor) -> Tensor:
        """What it takes -> (b 64)."""
        return self(batch)[0]

    @classmethod
    def load(cls, folder: str | Path = FOLDER) -> Self:
        """The bundled network, or another from a folder that `train` has written.

        Raises:
            FileNotFoundError: none there.
            ValueError: a file that does not fit.
        """
        file = Path(folder) / cls.file
        if not file.is_file():
            raise FileNotFoundError(
                f"no {file}: train one with python -m rflav_lib.metrics.toy_classifier --out ..."
            )
        network = cls()
        try:
            state = load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file}: damaged ({error}); train it again") from error
        weights.load_exactly(network, state, str(file))
        network.weights = f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:8]}"
        return network.eval()


class ToyWatcher(ToyNetwork):
    """Watches: uint8 frames (b k 64 64 3)."""

    name = "stand-in toy watcher"
    layer = "64 numbers before the scenes"
    file = "watcher.safetensors"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(3, 16, (1, 4, 4), (1, 4, 4)),
            nn.ReLU(),
            nn.Conv3d(16, 32, 3, (1, 2, 2), padding=1),
            nn.ReLU(),
            nn.Conv3d(32, self.channels, (1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
            nn.ReLU(),
        )

    def frames(self, batch: Tensor) -> Tensor:
        """uint8 (b k h w 3) -> (b channels k)."""
        check_frames(batch, at_least=2)
        pictures = rearrange(batch, "b k h w c -> b c k h w").float() / 127.5 - 1
        return reduce(self.layers(pictures), "b c k h w -> b c k", "mean")


class ToyListener(ToyNetwork):
    """Listens: sound (b s) at 16 kHz, by its log-mel."""

    name = "stand-in toy listener"
    layer = "64 numbers before the scenes"
    file = "listener.safetensors"
    sample_rate = 16_000
    mel: MelCodec

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["mel"] = MelCodec(n_mels=64, peak=None)  # fixed: no part of the weights
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, (5, 5), (5, 2), padding=(0, 2)),
            nn.ReLU(),
            nn.Conv2d(16, 32, (2, 3), (2, 2), padding=(0, 1)),
            nn.ReLU(),
            nn.Conv2d(32, self.channels, (1, 16)),
            nn.ReLU(),
        )

    def frames(self, batch: Tensor) -> Tensor:
        """Sound (b s) -> (b channels k)."""
        check_sound(batch)
        segments = self.mel.to(batch.device).encode(batch)  # b k f m
        return self.layers(rearrange(segments, "b k f m -> b 1 (k f) m"))[..., 0]


NETWORKS: tuple[type[ToyNetwork], ...] = (ToyWatcher, ToyListener)


def truth(toy: ToyClip, first: int = 0) -> tuple[int, Tensor]:
    """Number of the scene, and for each of 16 frames from `first` on whether an event falls into it."""
    happens = torch.zeros(FRAMES)
    for event in toy.events:
        frame = int(event.time * toy.clip.frame_rate) - first
        if 0 <= frame < FRAMES:
            happens[frame] = 1
    return (len(SCENES) - 1 if toy.label is None else toy.label), happens


def draw(seed: int, index: int, frames: int = FRAMES) -> ToyClip:
    """Clip number `index` of a stream in which all six scenes take turns."""
    scene = index % len(SCENES)
    if SCENES[scene] == "dance":
        return make_clip("toy-dance", seed, index, frames)
    return make_clip("toy-landscape", seed, index, frames, label=scene)


def taken(network: type[ToyNetwork], clip: Clip, first: int = 0) -> Tensor:
    """What the network takes of 16 frames from `first` on."""
    piece = clip.part(first, first + FRAMES)
    return torch.from_numpy(piece.frames if network.sample_rate is None else piece.waveform)


def train(settings: Settings, folder: str | Path) -> dict[str, dict[str, float]]:
    """Train both networks, write them and their accuracy to `folder`, whole or not at all; returns the accuracy.

    Raises:
        FileExistsError: the folder is there and holds something else.
    """
    refuse_other(folder, "config.json")  # before the work
    longer = FRAMES + 8
    clips = [draw(settings.seed, i, longer) for i in tqdm(range(settings.clips), desc="clips")]
    networks = [_trained(kind, clips, settings) for kind in NETWORKS]
    results = {network.name: evaluate(network, settings.unseen) for network in networks}
    with whole_folder(folder, "config.json") as draft, safetensors_errors(folder):
        draft.mkdir()
        for network in networks:
            save_file(network.state_dict(), draft / network.file)
        facts = {"settings": asdict(settings), "accuracy": results, "provenance": provenance()}
        (draft / "config.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return results


def _trained(kind: type[ToyNetwork], clips: list[ToyClip], settings: Settings) -> ToyNetwork:
    rng = np.random.default_rng(settings.seed)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        network = kind()
    optimizer = torch.optim.AdamW(network.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, settings.steps)
    for _ in (bar := tqdm(range(settings.steps), desc=network.name)):
        rows, firsts = rng.integers(len(clips), size=settings.batch), rng.integers(9, size=settings.batch)
        pairs = [(clips[row], int(first)) for row, first in zip(rows, firsts, strict=True)]
        batch = torch.stack([taken(kind, toy.clip, first) for toy, first in pairs])
        scenes, happens = zip(*(truth(toy, first) for toy, first in pairs), strict=True)
        _, scene_scores, happens_scores = network(batch)
        loss = F.cross_entropy(scene_scores, torch.tensor(scenes))
        loss = loss + F.binary_cross_entropy_with_logits(happens_scores, torch.stack(happens))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    return network.eval()


@torch.no_grad()
def evaluate(network: ToyNetwork, clips: int = 600) -> dict[str, float]:
    """Share of unseen clips whose scene it names, and of their frames of which it knows whether something happens.

    `guessing` is what saying "nothing happens" always would reach for the frames.
    """
    right, frames_right, quiet = [], [], []
    for first in range(0, clips, 50):
        toys = [draw(UNSEEN_SEED, i) for i in range(first, min(first + 50, clips))]
        scenes, happens = zip(*map(truth, toys), strict=True)
        _, scene_scores, scores = network(torch.stack([taken(type(network), toy.clip) for toy in toys]))
        right.append(scene_scores.argmax(1) == torch.tensor(scenes))
        frames_right.append((scores > 0) == (torch.stack(happens) > 0))
        quiet.append(torch.stack(happens) == 0)
    names, parts = ("scene", "frames", "guessing"), (right, frames_right, quiet)
    return {name: torch.cat(part).double().mean().item() for name, part in zip(names, parts, strict=True)}


def main(arguments: list[str] | None = None) -> int:
    """Train or evaluate as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="train, and write a folder")
    parser.add_argument("--evaluate", type=Path, help="measure the networks of a folder")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--clips", type=int, default=Settings.clips)
    options = parser.parse_args(arguments)
    if (options.out is None) == (options.evaluate is None):
        parser.error("give either --out or --evaluate")
    try:
        if options.out:
            results = train(Settings(steps=options.steps, clips=options.clips), options.out)
        else:
            networks = [kind.load(options.evaluate) for kind in NETWORKS]
            results = {network.name: evaluate(network) for network in networks}
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, shares in results.items():
        print(
            f"{name}: scene {shares['scene']:.1%}, frames with an event {shares['frames']:.1%} "
            f'(always "nothing": {shares["guessing"]:.1%})'
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
