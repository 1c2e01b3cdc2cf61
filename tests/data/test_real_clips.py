"""The whole way with real clips: a folder of videos as they come, a cache, a trained model, a new clip with sound."""

import math
import os
import shutil
from pathlib import Path

import pytest
import torch

from rflav_lib import ROOT
from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.latent_cache.encoding import ClipEncoder
from rflav_lib.data.latent_cache.index import Span
from rflav_lib.data.latent_cache.sources import FolderSource
from rflav_lib.data.latents import LatentCache, main
from rflav_lib.image_codec import load_vae
from rflav_lib.mel import MelCodec
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train import train
from tests.tiny import tiny_config

CODECS = {"vae": str(ROOT / "checkpoints" / "toy-vae"), "n_mels": 64, "audio_scale": 2.5, "audio_peak": 0.95}
CLASSES = {
    "hitting": ["greatesthits_hitting_bag.mp4"],
    "dancing": ["aist_real_d2mgan_motivation_gt.mp4", "rflav_generated_aist_video0.mp4"],
    "animals": ["mdn_rabbit320.mp4"],
}


@pytest.fixture
def videos(tmp_path):
    """Real clips in class folders: mp3 and aac, 10 to 60 fps, from 256x256 to 1920x1080."""
    folder = Path(os.environ.get("RFLAV_ASSETS") or tmp_path / "none") / "clips"
    if not folder.is_dir():
        pytest.skip("set RFLAV_ASSETS to a folder of real media (clips/*.mp4) to train on them")
    for name, files in CLASSES.items():
        (tmp_path / "videos" / "train" / name).mkdir(parents=True)
        for file in files:
            shutil.copy(folder / file, tmp_path / "videos" / "train" / name / file)
    return tmp_path / "videos"


@pytest.mark.slow
def test_from_real_clips_to_a_new_clip(videos, tmp_path, capsys):
    cache = tmp_path / "cache"
    lines = {**CODECS, "videos": str(videos), "latents": str(cache), "size": 64, "shard_frames": 128}
    (tmp_path / "cache.yaml").write_text(
        "".join(f"{key}: {value}\n" for key, value in lines.items()), encoding="utf-8"
    )
    assert main([str(tmp_path / "cache.yaml")]) == 0
    said = capsys.readouterr().out
    assert "4 clips" in said and "left out" not in said

    vae, mel = load_vae(CODECS["vae"]), MelCodec(n_mels=64, audio_scale=2.5, peak=0.95)
    stored, folder = LatentCache(cache, vae, mel), ClipFolder(videos)
    encoder = ClipEncoder(FolderSource(folder), vae, mel, 64)
    assert stored.class_names == ("animals", "dancing", "hitting")
    for number, file in enumerate(folder.files):  # what is stored is what the file holds, wherever one looks
        start = file.frames // 2
        video, audio = stored.window(number, start, 5)
        live_video, live_audio = encoder.encode([Span(number, start, 5)])
        torch.testing.assert_close(video, live_video, rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(audio, live_audio, rtol=2e-3, atol=2e-3)

    config = tiny_config(
        tmp_path, **CODECS, latents=str(cache), window=10, batch_size=8, max_steps=30, learning_rate=3e-3,
        log_every=10, checkpoint_every=30, patch_size=2,
    )  # fmt: skip
    losses = [state.loss for state in train(config)]
    assert len(losses) == 3 and all(map(math.isfinite, losses)) and losses[-1] < losses[0]

    pipeline = RFLAVPipeline.from_pretrained(tmp_path / "run" / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    (clip,) = pipeline(12, y="hitting", steps_per_frame=1, generator=torch.Generator().manual_seed(0))
    assert clip.frames.shape == (12, 64, 64, 3) and len(clip.waveform) == 12 * 1600
    clip.save(tmp_path / "hitting.mp4")
