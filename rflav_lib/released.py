"""The authors' checkpoints in this library's terms.

    pipe = released.load("MaverickAlex/R-FLAV-B-1-AIST")        # or a folder of the same layout
    pipe.save_whole("aist")                                     # from now on RFLAVPipeline.from_pretrained("aist")

A released folder holds `config.json`, `model.safetensors`, `vocoder/config.json` and `vocoder/vocoder.pt`. The
image VAE is Stable Diffusion's and comes from a repository of its own.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.utils import logging
from huggingface_hub import snapshot_download
from torch import Tensor, nn

from rflav_lib import ROOT
from rflav_lib.files import read_json
from rflav_lib.hifigan import HiFiGAN, fold_weight_norm
from rflav_lib.image_codec import ImageVAE, load_vae
from rflav_lib.mel import MelCodec
from rflav_lib.misfits import misfit
from rflav_lib.model_folder import opening
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.tensor_files import read_pickle
from rflav_lib.transformer import RFLAVTransformer
from rflav_lib.weight_files import opened_weights

Model = TypeVar("Model", bound=nn.Module)
IMAGE_VAE = "stabilityai/sd-vae-ft-ema"
FILES = ("config.json", "model.safetensors", "vocoder/config.json", "vocoder/vocoder.pt")
AUDIO_SCALES = {0: 3.5009668382765917, 9: 3.0951129410195515}
"""What the mel spectrogram was multiplied by in training, by number of classes: AIST++ has 0, Landscape 9."""

# the released setting and ours
_SETTINGS = {
    "latent_size": "latent_size", "in_channels": "in_channels", "patch_size": "patch_size",
    "hidden_size": "hidden_size", "depth": "depth", "num_heads": "num_heads", "mlp_ratio": "mlp_ratio",
    "predict_frames": "window", "n_mels": "n_mels", "num_classes": "num_classes",
    "class_dropout_prob": "class_dropout", "causal_attn": "causal",
}  # fmt: skip

# the released name, as a pattern, and ours; one row for each part of the network
_TRANSFORMER_NAMES: tuple[tuple[str, str], ...] = (
    (r"video_spatial_pos_embed", "video_patch_position"),
    (r"video_temporal_pos_embed", "video_time_position"),
    (r"audio_spatial_pos_embed", "audio_mel_position"),
    (r"audio_temporal_pos_embed", "audio_time_position"),
    (r"v_embedder\.proj\.(weight|bias)", r"video_embedding.\1"),
    (r"a_embedder\.(weight|bias)", r"audio_embedding.\1"),
    (r"(video|audio)_t_embedder\.mlp\.0\.(weight|bias)", r"\1_time.linear_1.\2"),
    (r"(video|audio)_t_embedder\.mlp\.2\.(weight|bias)", r"\1_time.linear_2.\2"),
    (r"(video|audio)_y_embedder\.embedding_table\.weight", r"\1_label.weight"),
    (r"blocks\.(\d+)\.video_(spatial|temporal)_attn\.qkv\.(.+)", r"blocks.\1.video_\2_attention.qkv.\3"),
    (r"blocks\.(\d+)\.video_(spatial|temporal)_attn\.proj\.(.+)", r"blocks.\1.video_\2_attention.out.\3"),
    (r"blocks\.(\d+)\.audio_spatial_attn\.qkv\.(.+)", r"blocks.\1.audio_attention.qkv.\2"),
    (r"blocks\.(\d+)\.audio_spatial_attn\.proj\.(.+)", r"blocks.\1.audio_attention.out.\2"),
    (r"blocks\.(\d+)\.(video|audio)_adaLN_modulation\.1\.(.+)", r"blocks.\1.\2_modulation.1.\3"),
    (r"blocks\.(\d+)\.(video|audio)_scale\.1\.(.+)", r"blocks.\1.fusion.\2_modulation.1.\3"),
    (r"blocks\.(\d+)\.v_avg_proj\.0\.(.+)", r"blocks.\1.fusion.video_average.\2"),
    (r"blocks\.(\d+)\.a_avg_proj\.0\.(.+)", r"blocks.\1.fusion.audio_average.\2"),
    (r"blocks\.(\d+)\.(video|audio)_mlp\.fc1\.(.+)", r"blocks.\1.fusion.\2_mlp.0.\3"),
    (r"blocks\.(\d+)\.(video|audio)_mlp\.fc2\.(.+)", r"blocks.\1.fusion.\2_mlp.2.\3"),
    (r"(video|audio)_final_layer\.linear\.(.+)", r"\1_head.linear.\2"),
    (r"(video|audio)_final_layer\.adaLN_modulation\.1\.(.+)", r"\1_head.modulation.1.\2"),
)


def load(
    repo_or_folder: str | Path, vae: str | Path | ImageVAE = IMAGE_VAE, audio_scale: float | None = None
) -> RFLAVPipeline:
    """Open a released checkpoint as a pipeline.

    Args:
        repo_or_folder: a repository of the model hub, or a folder of the same layout.
        vae: the image VAE: a repository, a folder, or the module, as of `load_vae(place, variant="fp16")`.
        audio_scale: what mel segments are multiplied by; known for the two released models.

    Raises:
        ValueError: a repository that is not there, or out of reach; a file that is missing, damaged, of another model,
            or holds more than weights; names the file and, where weights are missing or left over, those.
    """
    folder = _local(repo_or_folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such file; a released checkpoint holds {', '.join(FILES)}")
    transformer = _load_transformer(folder)
    classes = transformer.config.num_classes
    if audio_scale is None:
        if classes not in AUDIO_SCALES:
            raise ValueError(f"{folder}: no released model has {classes} classes: say its audio_scale")
        audio_scale = AUDIO_SCALES[classes]
    mel = MelCodec(n_mels=transformer.config.n_mels, audio_scale=audio_scale)
    return RFLAVPipeline(
        transformer,
        vae if isinstance(vae, nn.Module) else load_vae(vae),
        mel,
        load_vocoder(folder / "vocoder"),
    )


def open_checkpoint(place: str) -> RFLAVPipeline:
    """A pipeline folder (relative: of the repository, or else of the working folder), or a released checkpoint.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    folder = ROOT / place if (ROOT / place).is_dir() else Path(place)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # of loading: it would break into that of the work
    try:
        if (folder / "model_index.json").is_file():
            return RFLAVPipeline.from_pretrained(folder)
        return load(folder if folder.is_dir() else place)
    finally:
        if shown:
            logging.enable_progress_bar()


def load_vocoder(folder: str | Path) -> HiFiGAN:
    """A released vocoder folder -> `HiFiGAN`, its weight norm folded.

    Raises:
        ValueError: see `load`.
    """
    folder = Path(folder)
    settings = _read_json(folder / "config.json")
    if settings.get("resblock", "1") != "1":
        raise ValueError(
            f"{folder / 'config.json'}: resblock {settings['resblock']!r}, only type 1 was released"
        )
    names = (
        "upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel", "resblock_kernel_sizes",
        "resblock_dilation_sizes",
    )  # fmt: skip
    path = folder / "vocoder.pt"
    try:
        stored = read_pickle(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    try:
        model = HiFiGAN(n_mels=settings["num_mels"], **{name: settings[name] for name in names})
        folded = fold_weight_norm(stored["generator"])
    except KeyError as error:
        raise ValueError(f"{folder}: {error} is missing in config.json or vocoder.pt") from error
    except Exception as error:  # a network of absurd settings can raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{folder}: config.json and vocoder.pt do not make a vocoder: {reason}") from error
    return _filled(model, folded, path)


def convert_transformer(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a released R-FLAV transformer for `RFLAVTransformer` with fusion (c).

    No value changes.

    Raises:
        ValueError: a key that no released transformer has.
    """
    return {_our_name(key): tensor for key, tensor in state_dict.items()}


def _our_name(key: str) -> str:
    for pattern, ours in _TRANSFORMER_NAMES:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(ours)
    raise ValueError(f"{key!r} is not the name of a weight of a released R-FLAV transformer")


def _local(repo_or_folder: str | Path) -> Path:
    """The folder itself, or a repository's, fetched if need be."""
    folder = Path(repo_or_folder)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or len(folder.parts) != 2 or str(repo_or_folder).startswith("."):
        raise ValueError(f"{repo_or_folder}: no such folder, and not the name of a repository (owner/name)")
    try:
        return Path(snapshot_download(str(repo_or_folder), allow_patterns=list(FILES)))
    except OSError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{repo_or_folder}: no such folder, and as a repository of the model hub it is not there, or out of "
            f"reach: {reason}"
        ) from error


def _load_transformer(folder: Path) -> RFLAVTransformer:
    settings, path = _read_json(folder / "config.json"), folder / "model.safetensors"
    missing = [name for name in ("latent_size", "hidden_size", "depth", "num_heads") if name not in settings]
    if missing:
        raise ValueError(
            f"{folder / 'config.json'}: {', '.join(missing)} missing: not a released R-FLAV model"
        )
    ours = {_SETTINGS[name]: value for name, value in settings.items() if name in _SETTINGS}
    with opened_weights(path) as stored:
        weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # it is no dict
    try:
        converted = convert_transformer(weights)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    # the weights that were read become the model's: nothing is held twice
    with opening(folder / "config.json"), torch.device("meta"):
        model = RFLAVTransformer(**ours)
    return _filled(model, converted, path)


def _filled(model: Model, weights: Mapping[str, Tensor], path: Path) -> Model:
    """The model with these weights, each of which must be wanted, there, and of the right shape."""
    if told := misfit(weights, model.state_dict()):
        raise ValueError(f"{path}: does not fit its config.json: {told}")
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold settings by name")
    return content
