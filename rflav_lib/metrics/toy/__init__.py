"""How well a model of a toy world does what it was asked, beside the same trackers on real clips.

    python -m rflav_lib.metrics.toy checkpoints/toy-landscape --clips 500 --out outputs/toy-landscape.json

The worlds are made from known events, so class, number of objects, pitch, tempo and synchrony of *generated* clips
are measured exactly, without a downloaded network. Real clips go through the same trackers twice: as they are, and
through the codecs (image VAE, mel, vocoder), which no model can beat.

`reading` is one clip, `figures` many, `clips` where they come from, `report` the file, `__main__` the command, and
`compare` sets two such files against each other, clip by clip.
"""

from rflav_lib.data.seeds import UNSEEN_SEED
from rflav_lib.metrics.toy.clips import (
    WORLD,
    generated_clips,
    real_clips,
    through_codecs,
    world_of,
)
from rflav_lib.metrics.toy.figures import per_class, summarise, table
from rflav_lib.metrics.toy.reading import Reading, read_clip

__all__ = [
    "UNSEEN_SEED", "WORLD", "Reading", "generated_clips", "per_class", "read_clip", "real_clips", "summarise", "table",
    "through_codecs", "world_of",
]  # fmt: skip
