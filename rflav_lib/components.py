"""Whether the parts of a pipeline fit each other."""

from typing import Any, TypeAlias

from diffusers import ConfigMixin, ModelMixin

from rflav_lib.hifigan import HiFiGAN
from rflav_lib.image_codec import ImageVAE
from rflav_lib.mel import MelCodec
from rflav_lib.transformer import RFLAVTransformer
from rflav_lib.vocoder import GriffinLim

Vocoder: TypeAlias = GriffinLim | HiFiGAN
SOUND_KEYS = ("sample_rate", "n_mels", "hop_length", "n_fft", "win_length", "f_min", "f_max")
"""What a mel codec and its vocoder have to agree about."""


def name_list(class_names: Any) -> list[str]:
    """Names of classes as a list; none for None.

    Raises:
        ValueError: no list of different names.
    """
    names: list[Any] = list(class_names or ()) if isinstance(class_names, list | tuple | None) else [None]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ValueError(f"class_names must be a list of different names, not {class_names!r}")
    return names


def check_fit(
    transformer: RFLAVTransformer,
    vae: ImageVAE,
    mel: MelCodec,
    vocoder: Vocoder,
    class_names: list[str],
) -> None:
    """Raise a ValueError unless the parts of a pipeline are some and fit each other; it names what does not."""
    _check_kinds(transformer, vae, mel, vocoder)
    model, sound = transformer.config, mel.config
    pairs = [
        ("mel bins", model.n_mels, "mel codec", sound.n_mels),
        ("mel frames per video frame", model.mel_frames, "mel codec", mel.frames_per_segment),
        ("latent channels", model.in_channels, "VAE", vae.config.latent_channels),
    ]
    known = {**vars(vocoder), **vocoder.config}  # a trained vocoder knows less than GriffinLim
    pairs += [(f"vocoder {key}", known[key], "mel codec", sound[key]) for key in SOUND_KEYS if key in known]
    for what, ours, other, theirs in pairs:
        if ours != theirs:
            raise ValueError(f"components do not fit: {what} is {ours}, but the {other} has {theirs}")
    if class_names and len(class_names) != model.num_classes:
        raise ValueError(f"{len(class_names)} class names for a transformer with {model.num_classes} classes")


def _check_kinds(transformer: Any, vae: Any, mel: Any, vocoder: Any) -> None:
    """Raise a ValueError for what is no such part; a vocoder may be anybody's that diffusers can load and store."""
    kinds = (
        ("transformer", transformer, RFLAVTransformer),
        ("vae", vae, ImageVAE),
        ("mel", mel, MelCodec),
    )
    for name, part, kind in kinds:
        if not isinstance(part, kind):
            wanted = getattr(kind, "__name__", "AutoencoderKL or AutoencoderTiny")
            raise ValueError(f"{name} must be of class {wanted}, not {type(part).__name__}")
    known = isinstance(vocoder, ModelMixin) and isinstance(vocoder, ConfigMixin)
    if not known or isinstance(vocoder, RFLAVTransformer | ImageVAE | MelCodec):
        raise ValueError(
            "vocoder must be of class GriffinLim or HiFiGAN, or another ModelMixin with a config, "
            f"not {type(vocoder).__name__}"
        )
