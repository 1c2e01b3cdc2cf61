"""Whether the parts of a pipeline fit each other."""

from typing import TypeAlias

from rflav_lib.hifigan import HiFiGAN
from rflav_lib.image_codec import ImageVAE
from rflav_lib.mel import MelCodec
from rflav_lib.transformer import RFLAVTransformer
from rflav_lib.vocoder import GriffinLim

Vocoder: TypeAlias = GriffinLim | HiFiGAN
SOUND_KEYS = ("sample_rate", "n_mels", "hop_length", "n_fft", "win_length", "f_min", "f_max")
"""What a mel codec and its vocoder have to agree about."""


def check_fit(
    transformer: RFLAVTransformer,
    vae: ImageVAE,
    mel: MelCodec,
    vocoder: Vocoder,
    class_names: list[str],
) -> None:
    """Raise a ValueError unless the parts of a pipeline fit each other; it names what does not."""
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
