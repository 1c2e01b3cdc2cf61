"""Encoded clips: the same as encoding on the spot, cached under a name that changes with everything that
matters.
"""

import pytest
import torch

from rflav_lib.data import latents
from rflav_lib.data.latents import encode_toy_clips
from rflav_lib.data.toy import make_clip
from rflav_lib.image_codec import encode_frames
from rflav_lib.mel import MelCodec
from tests.tiny import tiny_vae


@pytest.fixture(scope="module")
def codecs():
    return tiny_vae(), MelCodec(n_mels=32, peak=None)


def test_latents_are_those_of_the_clips(codecs):
    vae, mel = codecs
    encoded = encode_toy_clips("toy-landscape", 3, 10, 4, vae, mel)
    assert encoded.video.shape == (10, 4, 4, 8, 8) and encoded.audio.shape == (10, 4, 10, 32)
    made = make_clip("toy-landscape", 3, 9, 4)
    video, audio = encoded.window(9, 1, 3)
    frames = torch.from_numpy(made.clip.frames)
    torch.testing.assert_close(video, encode_frames(vae, frames)[1:], rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(
        audio, mel.encode(torch.from_numpy(made.clip.waveform))[0, 1:], rtol=1e-2, atol=1e-3
    )
    assert encoded.labels[9] == made.label


def test_a_world_without_classes_has_no_labels(codecs):
    assert encode_toy_clips("toy-dance", 3, 2, 4, *codecs).labels is None


def test_the_cache_is_used_and_equal(codecs, tmp_path, monkeypatch):
    first = encode_toy_clips("toy-landscape", 3, 3, 4, *codecs, tmp_path)
    monkeypatch.setattr(latents, "_encode", None)  # a second encoding would fail
    second = encode_toy_clips("toy-landscape", 3, 3, 4, *codecs, tmp_path)
    assert torch.equal(first.video, second.video) and torch.equal(first.labels, second.labels)


def test_another_codec_or_seed_is_another_file(codecs, tmp_path):
    vae, mel = codecs
    encode_toy_clips("toy-landscape", 3, 1, 4, vae, mel, tmp_path)
    encode_toy_clips("toy-landscape", 4, 1, 4, vae, mel, tmp_path)
    encode_toy_clips("toy-landscape", 3, 1, 4, vae, MelCodec(n_mels=32, peak=None, audio_scale=2.0), tmp_path)
    other = tiny_vae()
    torch.nn.init.zeros_(other.quant_conv.weight)
    encode_toy_clips("toy-landscape", 3, 1, 4, other, mel, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_cache_is_named(codecs, tmp_path):
    encode_toy_clips("toy-landscape", 3, 1, 4, *codecs, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=f"{path.name}: not a readable cache of latents"):
        encode_toy_clips("toy-landscape", 3, 1, 4, *codecs, tmp_path)
