"""LPIPS as features: their squared distance is what the lpips package says."""

import hashlib

import numpy as np
import pytest
import torch
from einops import rearrange
from torchvision.models import alexnet

from rflav_lib.data.toy import make_clip
from rflav_lib.metrics.loops import distance_matrix
from rflav_lib.metrics.perceptual import Perceptual
from rflav_lib.metrics.weights import Published


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A file as torchvision publishes it, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = alexnet(weights=None)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(model.features.state_dict(prefix="features.") | {"classifier.1.bias": torch.zeros(3)}, path)
    return path, Published("alexnet.pth", sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:8]), model


@pytest.fixture(scope="module")
def network(trunk):
    path, published, _ = trunk
    return Perceptual.load(path, published)


def frames():
    clips = [make_clip("toy-landscape", 0, index, 2, label=index).clip.frames for index in range(3)]
    return torch.stack([torch.from_numpy(clip) for clip in clips])


def package(network, first, second):
    """LPIPS of frames (b h w 3), as the package computes it."""
    first, second = (rearrange(x, "b h w c -> b c h w").float() / 127.5 - 1 for x in (first, second))
    return network.lpips(first, second).flatten()


@torch.no_grad()
def test_squared_distances_are_lpips(network):
    single = frames()[:, :1]
    found = network.features(single)
    matrix = torch.cdist(found.double(), found.double()).square().float()
    for i in range(3):
        expected = package(network, single[[i] * 3, 0], single[:, 0])
        torch.testing.assert_close(matrix[i], expected, atol=1e-6, rtol=1e-4)
    assert matrix[0, 1] > 0.01 and network.width == found.shape[1]


@torch.no_grad()
def test_of_clips_it_is_the_mean_over_frames(network):
    first, second = frames()[:1], frames()[1:2]
    far = (network.features(first) - network.features(second)).square().sum()
    torch.testing.assert_close(far, package(network, first[0], second[0]).mean(), atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_rows_of_a_video_give_the_lpips_of_each_pair_of_its_frames(network):
    video = make_clip("toy-dance", 5, 0, 4).clip.frames
    ours = distance_matrix(network.rows(video, batch=3), squared=True)
    pairs = [torch.from_numpy(video)[list(each)] for each in zip(*np.ndindex(4, 4), strict=True)]
    theirs = package(network, *pairs).numpy().reshape(4, 4)
    assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-6) and theirs[0, 1] > 0


def test_the_trunk_is_that_of_the_file(network, trunk):
    path, published, model = trunk
    assert torch.equal(network.lpips.net.slice4.get_submodule("8").weight, model.features[8].weight)
    assert network.weights == published.label
    assert all((head.model[-1].weight >= 0).all() for head in network.lpips.lins), "the heads of the package"
    with pytest.raises(ValueError, match="its sha256 is"):
        Perceptual.load(path)


def test_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("RFLAV_WEIGHTS", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match="alexnet-owt-7be5be79.pth: fetch https://download.pytorch.org"
    ):
        Perceptual.load()
