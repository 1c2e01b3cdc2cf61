"""Which settings make a transformer: each looked at before layers are built of it."""

from collections.abc import Mapping
from typing import Any

from rflav_lib.arguments import check_flag
from rflav_lib.fusion import FUSIONS
from rflav_lib.numbers_given import finite_number, whole_number

SIZES = (
    "latent_size", "in_channels", "patch_size", "hidden_size", "depth", "num_heads", "window", "mel_frames", "n_mels",
)  # fmt: skip
COUNTS = ("num_classes", "sink_frames", "context_frames")


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """`RFLAVTransformer`'s settings with numbers as Python's own, so that they can be written as JSON.

    Raises:
        ValueError: a setting that cannot work; names the first.
    """
    settings = {
        **given,
        **{name: whole_number(given[name], name) for name in SIZES},
        **{name: whole_number(given[name], name, least=0) for name in COUNTS},
        **{name: finite_number(given[name], name) for name in ("mlp_ratio", "class_dropout")},
    }
    if not 0 <= settings["class_dropout"] <= 1:
        raise ValueError(f"class_dropout must lie in [0, 1], not {settings['class_dropout']}")
    if settings["mlp_ratio"] * settings["hidden_size"] < 1:
        raise ValueError(
            f"mlp_ratio must leave a width of at least 1 beside hidden_size {settings['hidden_size']}, "
            f"not {settings['mlp_ratio']}"
        )
    if settings["latent_size"] % settings["patch_size"]:
        raise ValueError(
            f"latent_size {settings['latent_size']} is not a multiple of patch_size {settings['patch_size']}"
        )
    if settings["fusion"] not in tuple(FUSIONS):
        raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, not {settings['fusion']!r}")
    check_flag(settings["causal"], "causal")
    return settings
