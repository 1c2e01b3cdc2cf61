"""Features of clips: one loop for all networks, that loses, repeats and lets pass nothing in silence."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from einops import rearrange
from torch import nn

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.metrics.comparison import compare
from rflav_lib.metrics.feature_set import FeatureSet
from rflav_lib.metrics.features import FeatureNetwork, check_frames, check_sound, extract

PATH = {"data": "toy, real", "seed": 0, "resize": "none", "codec": "none", "progress": False}


class Watcher(FeatureNetwork):
    """A small random network that sees pictures and their order."""

    name, layer, width, weights = "watcher", "mean", 24, "seed 0"

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv3d(3, 12, (3, 4, 4), (1, 4, 4)), nn.ReLU(), nn.Conv3d(12, self.width, 3), nn.ReLU()
            )
        self.batches = []

    def features(self, batch):
        check_frames(batch)
        self.batches.append(len(batch))
        return self.layers(rearrange(batch, "b k h w c -> b c k h w").float() / 127.5 - 1).mean(dim=(2, 3, 4))


class Listener(FeatureNetwork):
    """Energy in 16 stretches of time."""

    name, layer, width, weights, sample_rate = "listener", "energy", 16, "none", 16_000

    def features(self, batch):
        check_sound(batch)
        return rearrange(batch, "b (d s) -> b d s", d=self.width).square().mean(-1)


@functools.cache
def clips(count, frames=16, seed=0):
    """Real clips; cached, so copy before changing one."""
    return [make_clip("toy-landscape", seed, index, frames, label=index % 5).clip for index in range(count)]


def changed(clip, **changes):
    facts = {name: getattr(clip, name) for name in ("frames", "waveform", "frame_rate", "sample_rate")}
    return Clip(**{**facts, **changes})


def test_features_of_clips_in_batches_with_their_origin():
    network, real = Watcher(), clips(7)
    found = extract(network, iter(real), 7, batch_size=3, **PATH)
    assert network.batches == [3, 3, 1]
    one_by_one = torch.cat([network.features(torch.from_numpy(clip.frames)[None]) for clip in real])
    torch.testing.assert_close(found.values, one_by_one.detach().double(), atol=1e-6, rtol=0)
    assert (found.origin.samples, found.origin.network) == (7, "watcher, seed 0")
    assert not found.values.requires_grad
    heard = extract(Listener(), real, 7, **PATH)
    assert heard.values.shape == (7, 16) and heard.origin.layer == "energy"


def test_only_as_many_as_asked_are_taken():
    source = iter(clips(6))
    assert len(extract(Watcher(), source, 4, batch_size=3, **PATH)) == 4
    assert len(list(source)) == 2


def test_fewer_clips_than_asked_are_never_repeated():
    with pytest.raises(ValueError, match="'toy, real': 9 samples were asked for, but only 5 clips came"):
        extract(Watcher(), clips(5), 9, **PATH)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda clip: make_clip("toy-landscape", 0, 0, 15, label=0).clip, "clip 2 has 15 frames, 16 are"),
        (
            lambda clip: changed(clip, frame_rate=25, waveform=clip.waveform[:10_240]),
            "clip 2 differs .* in its frame rate: 25, not 10",
        ),
        (
            lambda clip: changed(clip, sample_rate=8000, waveform=clip.waveform[::2]),
            "in its sample rate: 8000, not 16000",
        ),
        (lambda clip: changed(clip, waveform=clip.waveform[:-1]), "in its number of samples: 25599"),
        (lambda clip: changed(clip, frames=clip.frames[:, :32]), r"in its frame size: \(32, 64\)"),
        (lambda clip: changed(clip, waveform=np.zeros_like(clip.waveform)), "clip 2 is silent"),
    ],
    ids=["length", "rate", "sample rate", "sound", "size", "silent"],
)
def test_a_clip_unlike_the_others_is_named(change, words):
    odd = list(clips(5))
    odd[2] = change(odd[2])
    with pytest.raises(ValueError, match=words):
        extract(Listener(), odd, 5, **PATH)


def test_silence_passes_if_asked_and_does_not_matter_to_those_who_watch():
    quiet = [changed(clip, waveform=np.zeros_like(clip.waveform)) for clip in clips(3)]
    assert len(extract(Listener(), quiet, 3, allow_silence=True, **PATH)) == 3
    assert len(extract(Watcher(), quiet, 3, **PATH)) == 3


def test_sound_of_another_rate_is_refused():
    network = Listener()
    network.sample_rate = 44_100
    with pytest.raises(ValueError, match="clip 0 has 16000 Hz, listener needs 44100"):
        extract(network, clips(2), 2, **PATH)


def test_features_that_are_not_finite_are_named_by_the_clip():
    class Broken(Watcher):
        def features(self, batch):
            found = super().features(batch)
            found[batch.amax(dim=(1, 2, 3, 4)) == 7] = torch.nan
            return found

    odd = list(clips(6))
    odd[4] = changed(odd[4], frames=np.full_like(odd[4].frames, 7))
    with pytest.raises(ValueError, match="features of clip 4 are not finite"):
        extract(Broken(), odd, 6, batch_size=3, **PATH)


def test_a_network_whose_features_depend_on_the_batch_keeps_its_size():
    network = Watcher()
    network.batch_size = 4
    extract(network, clips(8), 8, batch_size=3, **PATH)
    assert network.batches == [4, 4]
    with pytest.raises(ValueError, match="watcher sees 4 clips at a time .* a multiple of 4 samples, not 6"):
        extract(network, clips(6), 6, **PATH)


def degraded(clip, kind, amount):
    """A clip with blur or noise, or with its frames shuffled within stretches of `amount`."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.from_numpy(clip.frames).float()
    if kind == "blur":
        pictures = rearrange(frames, "k h w c -> k c h w")
        small = nn.functional.avg_pool2d(pictures, amount)
        frames = rearrange(nn.functional.interpolate(small, scale_factor=amount), "k c h w -> k h w c")
    elif kind == "noise":
        frames = frames + amount * torch.randn(frames.shape, generator=generator)
    else:
        order = torch.cat(
            [first + torch.randperm(amount, generator=generator) for first in range(0, 16, amount)]
        )
        frames = frames[order]
    return changed(clip, frames=frames.clamp(0, 255).round().to(torch.uint8).numpy())


@pytest.mark.parametrize("metric", ["fvd", "kvd"])
@pytest.mark.parametrize(
    ("kind", "amounts"), [("blur", (2, 4, 16)), ("noise", (10, 25, 60)), ("shuffle", (2, 4, 16))]
)
def test_worse_clips_are_further_away(metric, kind, amounts):
    network, real = Watcher(), clips(40)
    reference = extract(network, real, 40, **PATH)
    far = [0.0]
    for amount in amounts:
        worse = [degraded(clip, kind, amount) for clip in real]
        found = extract(network, worse, 40, **{**PATH, "data": kind})
        far.append(compare(reference, found, metric, resamples=0).value)
    assert far[1] < far[2] < far[3], far
    assert metric == "kvd" or far[0] < far[1], far


def test_clips_of_the_same_world_are_nearer_than_those_of_another():
    network = Watcher()
    reference, again = (
        extract(network, clips(40, seed=seed), 40, **{**PATH, "seed": seed}) for seed in (0, 1)
    )
    dance = [make_clip("toy-dance", 0, index, 16).clip for index in range(40)]
    other = extract(network, dance, 40, **{**PATH, "data": "dance"})
    assert (
        5 * compare(reference, again, "fvd", resamples=0).value
        < compare(reference, other, "fvd", resamples=0).value
    )
    through = FeatureSet(other.values, replace(other.origin, codec="mp4"))
    with pytest.raises(ValueError, match="codec is"):
        compare(reference, through, "fvd")
