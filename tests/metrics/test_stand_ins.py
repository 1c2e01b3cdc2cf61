"""Stand-ins say what they are, find their weights, and react to what is done to clips."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.metrics.comparison import compare
from rflav_lib.metrics.feature_set import FeatureSet
from rflav_lib.metrics.features import extract
from rflav_lib.metrics.stand_ins import MobileNetStandIn, YamnetStandIn

ASSETS = pytest.mark.skipif(
    "RFLAV_ASSETS" not in os.environ, reason="set RFLAV_ASSETS to a folder with weights/"
)
PATH = {"data": "toy", "seed": 0, "resize": "none", "codec": "none", "progress": False}


def clips(count, world="toy-landscape"):
    return [make_clip(world, 0, index, 16).clip for index in range(count)]


def test_each_says_that_it_is_a_stand_in():
    assert MobileNetStandIn.name.startswith("stand-in ") and YamnetStandIn.name.startswith("stand-in ")


@pytest.mark.parametrize("kind", [MobileNetStandIn, YamnetStandIn])
def test_without_weights_there_is_none(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("RFLAV_ASSETS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="set RFLAV_ASSETS"):
        kind.load()
    (tmp_path / "wrong").write_bytes(b"x")
    with pytest.raises(ValueError, match="wrong: its sha256 is"):
        kind.load(tmp_path / "wrong")


@torch.no_grad()
def test_the_order_of_frames_counts():
    network = MobileNetStandIn()
    frames = torch.from_numpy(clips(1)[0].frames[None, :6])
    found, other = network.features(frames), network.features(frames[:, [0, 3, 1, 4, 2, 5]])
    half = network.width // 2
    assert found.shape == (1, network.width)
    assert torch.allclose(found[:, :half], other[:, :half], rtol=1e-3, atol=0), (
        "the mean does not know an order"
    )
    assert not torch.allclose(found[:, half:], other[:, half:], rtol=1e-2, atol=0), "the change does"
    with pytest.raises(ValueError, match="at least 2"):
        network.features(frames[:, :1])


@ASSETS
def test_mobilenet_with_its_weights_tells_blur_and_world():
    network = MobileNetStandIn.load()
    real = clips(8)
    found = extract(network, real, 8, **PATH)
    blurred = [replace(clip, frames=clip.frames[:, ::4, ::4].repeat(4, 1).repeat(4, 2)) for clip in real]
    far = [
        compare(found, extract(network, each, 8, **PATH), "kvd", resamples=0).value
        for each in (real, blurred)
    ]
    other = extract(network, clips(8, "toy-dance"), 8, **PATH)
    assert far[0] < far[1] < compare(found, other, "kvd", resamples=0).value
    assert "stand-in MobileNetV2, sha256 b918ed74" in str(compare(found, other, "kvd", resamples=0))


@ASSETS
def test_yamnet_with_its_weights_hears_noise():
    pytest.importorskip("ai_edge_litert", reason="pip install ai-edge-litert")
    network = YamnetStandIn.load()
    real = clips(8)
    noise = np.random.default_rng(0).normal(0, 0.3, real[0].waveform.shape).astype(np.float32)
    noisy = [replace(clip, waveform=clip.waveform + noise) for clip in real]
    found, other = (extract(network, each, 8, **PATH) for each in (real, noisy))
    assert isinstance(found, FeatureSet) and found.values.shape == (8, 1024)
    assert compare(found, other, "kvd", resamples=0).value > 0.1
    with pytest.raises(ValueError, match="at least 15600"):
        network.features(torch.zeros(1, 100))
