"""The authors' checkpoints in this library's terms."""

import re

from torch import Tensor

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
