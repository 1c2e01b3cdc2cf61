"""The configuration of a cache of latents."""

from dataclasses import dataclass

from rflav_lib.data.seeds import kept_for
from rflav_lib.data.toy import CLASSES
from rflav_lib.yaml_config import YamlConfig


@dataclass(frozen=True)
class LatentsConfig(YamlConfig):
    """What to encode, with which codecs, and where to. Relative paths are relative to the repository's root.

    Raises:
        ValueError: a value that cannot work, named with its key.
    """

    # videos in <videos>/<split>/[class/]; or, with videos empty, `clips` clips of a toy world
    videos: str = ""
    split: str = "train"
    strict: bool = False  # stop at the first video that cannot be used, instead of listing it
    min_frames: int = 10  # shorter clips are left out and listed: they hold no window to train on
    world: str = "toy-landscape"
    clips: int = 3000
    clip_frames: int = 40
    seed: int = 0

    # the codecs; training needs the same
    vae: str = "stabilityai/sd-vae-ft-ema"
    size: int = 256  # sides of the square into which pictures are letterboxed
    n_mels: int = 256
    audio_scale: float = 3.0
    audio_peak: float = 0.95  # each clip's sound is scaled to it; 0 keeps the loudness

    # where to
    latents: str = "outputs/latents"
    shard_frames: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        kept = None if self.videos else kept_for(self.seed)
        check = [
            ("world", self.world in CLASSES, f"one of {', '.join(CLASSES)}"),
            ("audio_scale", 0 < self.audio_scale < float("inf"), "above 0"),
            ("audio_peak", 0 <= self.audio_peak <= 1, "in [0, 1]"),
            ("seed", self.seed >= 0, "0 or more"),
            ("seed", kept is None, f"one that is not kept for measuring (this one: {kept})"),
            ("latents", self.latents != "", "a folder"),
        ]
        at_least_one = ("min_frames", "clips", "clip_frames", "size", "n_mels", "shard_frames")
        check += [(key, getattr(self, key) >= 1, "at least 1") for key in at_least_one]
        for key, holds, wanted in check:
            if not holds:
                raise ValueError(f"config: {key} must be {wanted}, not {getattr(self, key)!r}")
