"""Data that were made to run code, to write elsewhere, or to fill the memory: refused, and nothing of it happens.

Archives with `..`, absolute paths, links and bombs: tests/data_scripts/test_archives.py.
"""

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from data_scripts.weights import read_pickle
from rflav_lib import released
from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.evaluation.config import EvaluateConfig
from rflav_lib.image_codec import load_vae
from rflav_lib.metrics.feature_set import FeatureSet
from rflav_lib.metrics.long_clips import _read
from rflav_lib.metrics.weights import read_state
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train_config import TrainConfig
from rflav_lib.view.study_answers import Answers, Pair, Study
from tests.tiny import tiny_pipeline


class Evil:
    """Unpickled by pickle, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", ["torch", "plain pickle"])
def test_no_pickle_runs_code(tmp_path, form, protocol):
    path, evidence = tmp_path / "vocoder.pt", tmp_path / "it ran"
    content = {"generator": {"weight": torch.zeros(2)}, "more": Evil(evidence)}
    if form == "torch":
        torch.save(content, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    settings = {
        "num_mels": 8, "upsample_rates": [2], "upsample_kernel_sizes": [4], "upsample_initial_channel": 4,
        "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(settings))
    for read in (read_state, read_pickle, lambda path: released.load_vocoder(path.parent)):
        with pytest.raises((ValueError, RuntimeError), match="vocoder.pt"):
            read(path)
    assert not evidence.exists()


def test_no_numpy_file_runs_code(tmp_path):
    import numpy as np

    path, evidence = tmp_path / "clip.npz", tmp_path / "it ran"
    np.savez(path, frames=np.array([Evil(evidence)], dtype=object), rates=[10, 16000], waveform=[0.0])
    with pytest.raises(ValueError, match="clip.npz cannot be read"):
        _read(path)
    assert not evidence.exists()


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60))


@pytest.mark.parametrize("kind", [TrainConfig, EvaluateConfig, LatentsConfig])
@pytest.mark.parametrize(
    "text",
    [
        "seed: !!python/object/apply:pathlib.Path.mkdir [!!python/object/apply:pathlib.Path ['it ran']]",
        "!!python/object/new:os.system ['mkdir \"it ran\"']",
        LAUGHS,
        MERGES,
        "seed: " + "[" * 5000,
        "seed: " + "9" * 5000,
        "audio_scale: " + "9" * 400,
        "seed: !!int ''",
        "seed: !!timestamp never",
        "5: 5",
        "[1]: 5",
        "seed: null",
        b"seed: \xff\xfe",
        b"\x00",
    ],
    ids=lambda text: str(text)[:30],
)
def test_yaml_of_every_kind_is_one_error_with_its_name(tmp_path, monkeypatch, kind, text):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="hostile.yaml") as caught:
        kind.from_yaml(path)
    assert len(str(caught.value)) < 3000 and not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("change", ["path=x", "cls=x", "depth", "depth=[", "depth=null", "=5"])
def test_settings_of_the_command_line_too(tmp_path, change):
    path = tmp_path / "run.yaml"
    path.write_text("depth: 2\n")
    with pytest.raises(ValueError, match=change.partition("=")[0] or "run.yaml"):
        TrainConfig.from_command_line(path, [change])


def with_header(path: Path, header: object, length: int | None = None, data: bytes = b"") -> None:
    """A safetensors file of a header of one's own."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HEADERS = {
    "a header of 2^60 bytes": lambda path: with_header(path, {}, 2**60),
    "offsets beyond the end": lambda path: with_header(path, {"a": {**TENSOR, "data_offsets": [0, 2**40]}}),
    "offsets that overlap": lambda path: with_header(path, {"a": TENSOR, "b": TENSOR}, data=bytes(8)),
    "offsets backwards": lambda path: with_header(
        path, {"a": {**TENSOR, "data_offsets": [8, 0]}}, data=bytes(8)
    ),
    "a shape of 2^62": lambda path: with_header(
        path, {"a": {**TENSOR, "shape": [2**31, 2**31]}}, data=bytes(8)
    ),
    "a negative shape": lambda path: with_header(path, {"a": {**TENSOR, "shape": [-2]}}, data=bytes(8)),
    "an unknown type": lambda path: with_header(path, {"a": {**TENSOR, "dtype": "PY"}}, data=bytes(8)),
    "another tensor": lambda path: save_file({"other": torch.zeros(2)}, path),
    "nothing": lambda path: path.write_bytes(b""),
}


@pytest.fixture(scope="module")
def pipeline_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "pipeline"
    tiny_pipeline().save_whole(folder)
    return folder


@pytest.mark.parametrize("name", HEADERS)
def test_safetensors_that_lie_about_themselves(name, pipeline_folder, tmp_path):
    HEADERS[name](tmp_path / "features.safetensors")
    with pytest.raises(ValueError, match="features.safetensors"):
        FeatureSet.load(tmp_path / "features.safetensors")
    weights = pipeline_folder / "vae" / "diffusion_pytorch_model.safetensors"
    good = weights.read_bytes()
    try:
        HEADERS[name](weights)
        for opened, place in ((RFLAVPipeline.from_pretrained, pipeline_folder), (load_vae, weights.parent)):
            with pytest.raises(ValueError, match=str(place)):
                opened(place)
    finally:
        weights.write_bytes(good)


@pytest.mark.parametrize(
    "part", [["subprocess", "Popen"], ["os", "system"], ["builtins", "exec"], "vae", None]
)
def test_a_pipeline_names_no_classes_of_other_modules(part, pipeline_folder):
    index = pipeline_folder / "model_index.json"
    good = index.read_text()
    try:
        index.write_text(json.dumps({**json.loads(good), "vae": part}))
        with pytest.raises(ValueError, match="model_index.json: vae is"):
            RFLAVPipeline.from_pretrained(pipeline_folder)
    finally:
        index.write_text(good)


def test_damage_in_one_answer_costs_that_answer_alone(tmp_path):
    """A quotation mark in a line does not swallow the lines behind it; bytes that are no text do not hide the file."""
    study = Study(("one", "two"), tuple(Pair(f"pair {n}", (tmp_path, tmp_path)) for n in range(6)), 0)
    answers = Answers(tmp_path / "answers.csv")
    for trial in study.trials("me"):
        answers.append(study, trial, "me", {"quality": "left", "alignment": "left"})
    lines = answers.path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b",me,", b',"me,')
    lines[4] = lines[4].replace(b",me,", b",\xff,")
    answers.path.write_bytes(b"\n".join(lines))
    rows, broken = answers.rows()
    assert len(rows) == 4 and broken == [3, 5]
    with pytest.raises(ValueError, match="line break"):
        answers.append(study, study.trials("x\ny")[0], "x\ny", {"quality": "left", "alignment": "left"})
