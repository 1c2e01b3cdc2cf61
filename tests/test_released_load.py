"""Released checkpoints as pipelines, on folders of the released layout with small random weights."""

import json
import logging
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from rflav_lib import released
from rflav_lib.image_codec import load_vae
from rflav_lib.pipeline import RFLAVPipeline
from tests.golden import FIXTURES, assert_within, facts, reference_model, vectors
from tests.tiny import tiny_vae


@pytest.fixture
def folder(tmp_path) -> Path:
    """What a released repository holds, small: the weights that the vectors were recorded with."""
    folder = tmp_path / "R-FLAV tiny"
    folder.mkdir()
    shutil.copytree(FIXTURES / "vocoder_tiny", folder / "vocoder")
    (folder / "config.json").write_text(json.dumps(facts("model_tiny_class")["config"]))
    save_file(load_file(FIXTURES / "model_tiny_class.weights.safetensors"), folder / "model.safetensors")
    return folder


def generate(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(3, 1, y=2, generator=torch.Generator().manual_seed(0))[0]


def tiny_kind() -> AutoencoderTiny:
    blocks = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    return AutoencoderTiny(**blocks, num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4)


def test_a_folder_becomes_a_pipeline_that_samples_saves_and_opens(folder, tmp_path):
    pipeline = released.load(folder, vae=tiny_vae())
    clip = generate(pipeline)
    assert clip.frames.shape == (3, 64, 64, 3) and clip.waveform.shape == (4800,)
    pipeline.save_whole(tmp_path / "ours")
    again = generate(RFLAVPipeline.from_pretrained(tmp_path / "ours"))
    assert np.array_equal(again.frames, clip.frames) and np.allclose(again.waveform, clip.waveform, atol=1e-6)
    assert not list((tmp_path / "ours").rglob("*.pt"))


@pytest.mark.parametrize("vae", [tiny_vae, tiny_kind])
def test_a_converted_model_opens_without_a_warning_of_its_parts(folder, tmp_path, caplog, monkeypatch, vae):
    released.load(folder, vae=vae()).save_whole(tmp_path / "ours")
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        RFLAVPipeline.from_pretrained(tmp_path / "ours")
    assert not [record.getMessage() for record in caplog.records if "Expected types" in record.getMessage()]


def test_its_numbers_are_the_released_ones(folder):
    model, golden = released.load(folder, vae=tiny_vae()).transformer, vectors("model_tiny_class")
    with torch.no_grad():
        video, audio = model(golden["v"], golden["a"], golden["t"], golden["y"])
    assert_within(video, golden["v_out"], 3e-6)
    assert_within(audio, golden["a_out"], 3e-6)


def test_settings_and_scale_are_the_released_ones(folder):
    pipeline = released.load(folder, vae=tiny_vae())
    config = pipeline.transformer.config
    assert (config.window, config.n_mels, config.num_classes, config.causal) == (4, 32, 9, True)
    assert pipeline.mel.config.audio_scale == 3.0951129410195515 and pipeline.mel.config.peak == 0.95
    assert pipeline.vocoder.hop_length == 160


def test_the_vae_may_be_a_folder_also_of_the_tiny_kind(folder, tmp_path):
    tiny_vae().save_pretrained(tmp_path / "kl")
    assert len(generate(released.load(folder, vae=tmp_path / "kl"))) == 3
    tiny_kind().save_pretrained(tmp_path / "taesd")
    assert len(generate(released.load(folder, vae=tmp_path / "taesd"))) == 3


def test_it_streams(folder):
    clips = released.load(folder, vae=tiny_vae()).stream(
        1, 4, y=1, generator=torch.Generator().manual_seed(0)
    )
    assert len(next(clips).waveform) == 6400


def test_a_repository_is_fetched_and_no_more_than_needed(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        released,
        "snapshot_download",
        lambda repo, allow_patterns: asked.append((repo, allow_patterns)) or str(folder),
    )
    released.load("MaverickAlex/R-FLAV-B-1-AIST", vae=tiny_vae())
    assert asked == [("MaverickAlex/R-FLAV-B-1-AIST", list(released.FILES))]


@pytest.mark.parametrize("name", released.FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name}: no such file"):
        released.load(folder, vae=tiny_vae())


@pytest.mark.parametrize("name", released.FILES)
def test_a_damaged_file_is_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=Path(name).name):
        released.load(folder, vae=tiny_vae())


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("a_embedder.bias"), r"json: 1 missing \(audio_embedding.bias\)$"),
        (
            lambda w: w.update({"blocks.7.v_avg_proj.0.bias": torch.zeros(1)}),
            r"1 left over \(.*video_average.bias\)$",
        ),
        (
            lambda w: w.update({"a_embedder.bias": torch.zeros(7)}),
            r"1 of another shape \(audio_embedding.bias is \(7,\), not",
        ),
        (lambda w: w.update({"head.weight": torch.zeros(1)}), "'head.weight' is not the name of a weight"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder, change, message):
    change_weights(folder, change)
    with pytest.raises(ValueError, match=f"model.safetensors: .*{message}"):
        released.load(folder, vae=tiny_vae())


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("evil-was-here"),))


def test_a_vocoder_that_runs_code_is_refused_and_not_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "vocoder" / "vocoder.pt").write_bytes(pickle.dumps({"generator": Evil()}))
    with pytest.raises(ValueError, match=r"vocoder\.pt: damaged, or holds more than weights"):
        released.load(folder, vae=tiny_vae())
    torch.save({"generator": Evil()}, folder / "vocoder" / "vocoder.pt")
    with pytest.raises(ValueError, match=r"vocoder\.pt: damaged, or holds more than weights"):
        released.load(folder, vae=tiny_vae())
    assert not (tmp_path / "evil-was-here").exists()


@pytest.mark.parametrize("text", ["{", "[1]", '{"hidden_size": 48}'])
def test_a_config_that_is_none_is_named(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        released.load(folder, vae=tiny_vae())


def test_other_numbers_of_classes_need_a_scale(folder):
    config = {**facts("model_tiny_class")["config"], "num_classes": 3}
    (folder / "config.json").write_text(json.dumps(config))
    change_weights(folder, lambda w: w.update({k: v[:4].clone() for k, v in w.items() if "_y_embedder" in k}))
    with pytest.raises(ValueError, match="no released model has 3 classes: say its audio_scale"):
        released.load(folder, vae=tiny_vae())
    assert released.load(folder, vae=tiny_vae(), audio_scale=2.0).mel.config.audio_scale == 2.0


def test_a_place_that_is_none_is_named(tmp_path):
    for place in (tmp_path / "gone", "./gone", "gone"):
        with pytest.raises(ValueError, match="no such folder, and not the name of a repository"):
            released.load(place)
    with pytest.raises(ValueError, match="no image VAE here"):
        load_vae(tmp_path / "no vae")


def test_the_model_itself_is_the_one_that_the_vectors_come_from(folder):
    ours, theirs = released.load(folder, vae=tiny_vae()).transformer, reference_model(num_classes=9)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_repository_out_of_reach_is_named(monkeypatch):
    def unreachable(*_place, **_settings):
        raise LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder")

    monkeypatch.setattr(released, "snapshot_download", unreachable)
    with pytest.raises(ValueError, match=r"^owner/model: no such folder.*out of reach: Cannot find"):
        released.load("owner/model", vae=tiny_vae())


def test_an_image_vae_out_of_reach_is_no_folder_without_a_file(monkeypatch):
    def unreachable(*_place, **_settings):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("diffusers.configuration_utils.hf_hub_download", unreachable)
    with pytest.raises(ValueError, match="owner/vae: no image VAE here: no such folder.*it is out of reach"):
        load_vae("owner/vae")
