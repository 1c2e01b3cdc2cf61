"""The toy worlds' own feature networks: as accurate as they say, and their distances grow as clips get worse."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.metrics.comparison import compare
from rflav_lib.metrics.features import extract
from rflav_lib.metrics.toy_classifier import (
    FOLDER,
    NETWORKS,
    SCENES,
    Settings,
    ToyListener,
    ToyWatcher,
    draw,
    evaluate,
    main,
    train,
    truth,
)

PATH = {"data": "toy", "seed": 5, "resize": "none", "codec": "none", "progress": False}
N = 60
EACH = pytest.mark.parametrize("kind", NETWORKS)


@pytest.fixture(scope="module")
def clips():
    return [draw(5, index).clip for index in range(N)]


@EACH
def test_it_is_as_accurate_as_its_config_says(kind):
    stated = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))["accuracy"][kind.name]
    measured = evaluate(kind.load(), clips=60)
    assert measured["scene"] >= stated["scene"] - 0.04 >= 0.9
    assert measured["frames"] == pytest.approx(stated["frames"], abs=0.04)
    assert stated["frames"] > stated["guessing"] + 0.1


@EACH
def test_features_in_batches_with_an_origin_that_says_stand_in(kind, clips):
    network = kind.load()
    found = extract(network, clips[:7], 7, batch_size=3, **PATH)
    assert found.values.shape == (7, 64)
    assert found.origin.network.startswith("stand-in toy") and "sha256 " in found.origin.network
    assert not any(name.startswith("mel.") for name in network.state_dict())


def blurred(clip, amount):
    return replace(clip, frames=clip.frames[:, ::amount, ::amount].repeat(amount, 1).repeat(amount, 2))


def with_noise(clip, amount):
    noise = np.random.default_rng(0).normal(0, amount, clip.frames.shape)
    return replace(clip, frames=(clip.frames + noise).clip(0, 255).astype(np.uint8))


def mixed(amount):
    """The numbers 0 to 15, shuffled within stretches of `amount`."""
    return np.random.default_rng(0).permuted(np.arange(16).reshape(-1, amount), axis=1).ravel()


def shuffled(clip, amount):
    return replace(clip, frames=clip.frames[mixed(amount)])


def hiss(clip, amount):
    noise = np.random.default_rng(0).normal(0, amount, clip.waveform.shape).astype(np.float32)
    return replace(clip, waveform=clip.waveform + noise)


def chopped(clip, amount):
    return replace(clip, waveform=clip.waveform.reshape(16, -1)[mixed(amount)].ravel())


def frozen(clip, amount):
    """A shift in time: the picture starts `amount` frames late, the first frame stands until then."""
    return replace(clip, frames=clip.frames[np.maximum(np.arange(16) - amount, 0)])


def late(clip, amount):
    """The same for the sound: silence until then."""
    samples = round(1600 * amount)
    return replace(clip, waveform=np.pad(clip.waveform, (samples, 0))[: len(clip.waveform)])


@pytest.mark.parametrize(
    ("kind", "worsen", "amounts"),
    [
        (ToyWatcher, blurred, (2, 4, 16)),
        (ToyWatcher, with_noise, (5, 20, 60)),
        (ToyWatcher, shuffled, (2, 4, 16)),
        (ToyWatcher, frozen, (1, 3, 8)),
        (ToyListener, hiss, (0.003, 0.03, 0.3)),
        (ToyListener, chopped, (2, 4, 16)),
        (ToyListener, late, (1, 3, 8)),
    ],
)
@pytest.mark.filterwarnings("ignore:60 samples of 64")
def test_worse_clips_are_further_away(clips, kind, worsen, amounts):
    network = kind.load()
    real = extract(network, clips, N, **PATH)
    for metric in ("fvd", "kvd"):
        far = []
        for amount in amounts:
            worse = extract(network, [worsen(clip, amount) for clip in clips], N, **PATH)
            far.append(compare(real, worse, metric, resamples=0).value)
        assert far[0] < far[1] < far[2], (metric, far)


def test_truth_of_a_clip():
    toy = make_clip("toy-landscape", 0, 0, 24, label=0)
    scene, happens = truth(toy, first=4)
    expected = {int(event.time * 10) - 4 for event in toy.events if 0.4 <= event.time < 2.0}
    assert scene == 0 and set(happens.nonzero().flatten().tolist()) == expected
    assert truth(make_clip("toy-dance", 0, 0, 16))[0] == SCENES.index("dance") == 5
    assert [truth(draw(0, index))[0] for index in range(7)] == [0, 1, 2, 3, 4, 5, 0]


def test_a_run_writes_a_folder_that_loads(tmp_path):
    results = train(Settings(steps=2, batch=4, clips=6, unseen=6), tmp_path / "toy")
    assert {entry.name for entry in (tmp_path / "toy").iterdir()} == {
        "config.json",
        "listener.safetensors",
        "watcher.safetensors",
    }
    for kind in NETWORKS:
        assert 0 <= results[kind.name]["scene"] <= 1
        assert not torch.equal(kind.load(tmp_path / "toy").scene.weight, kind.load().scene.weight)
    (tmp_path / "toy" / "watcher.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no .*watcher.safetensors: train one"):
        ToyWatcher.load(tmp_path / "toy")


def test_the_command_line_says_in_one_line_what_it_cannot_do(capsys, tmp_path):
    assert main(["--evaluate", "/nope"]) == 2
    assert capsys.readouterr().err.startswith("error: no /nope/watcher.safetensors: train one with")
    assert main(["--out", str(tmp_path / "networks"), "--steps", "0"]) == 2
    assert capsys.readouterr().err == "error: steps must be a whole number, at least 1, not 0\n"
