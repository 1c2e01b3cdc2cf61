"""What reads files here: for each, good files to spoil, how they are read, and which errors are right.

A reader makes its files once, in a folder. `read` gets that folder with one file spoilt, and returns what it found as
(form, content): a form that differs from the good one's is a lie, whatever the bytes say.
"""

import csv
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from diffusers.training_utils import EMAModel

from benchmarks import scales
from data_scripts.archives import unpack
from data_scripts.prepare import Recipe, _same_recipe
from data_scripts.published import FetchError, Locked, LockFile
from data_scripts.weights import read_pickle
from rflav_lib import ROOT, checkpoints, experiments, released, run_folder
from rflav_lib.data.clip_index import read_index
from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.data.latents import LatentCache, encode_toy_clips
from rflav_lib.evaluation.clip_sets import ClipSet
from rflav_lib.evaluation.config import EvaluateConfig
from rflav_lib.evaluation.tables import read_fusions, read_run, tables
from rflav_lib.image_codec import load_vae
from rflav_lib.media import Clip, MediaError
from rflav_lib.mel import MelCodec
from rflav_lib.metrics.feature_set import FeatureSet, Origin
from rflav_lib.metrics.toy.report import Measurement
from rflav_lib.metrics.toy_classifier import ToyListener
from rflav_lib.metrics.weights import read_state
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train_config import TrainConfig
from rflav_lib.view.study_answers import FIELDS, Answers
from tests.golden import FIXTURES, facts
from tests.tiny import tiny_config, tiny_pipeline, tiny_vae

Found = tuple[Any, Any]
"""The form of what was read (shapes, names, types), and its content."""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: what is read.
        make: writes good files into an empty folder; returns those to spoil.
        read: reads the folder, whose given file is spoilt.
        errors: the documented ones.
        checked: its format has a checksum or another check, so that other content is a lie too.
    """

    name: str
    make: Callable[[Path], list[Path]]
    read: Callable[[Path, Path], Found]
    errors: tuple[type[Exception], ...] = (ValueError, OSError)
    checked: bool = False


def form(value: Any) -> Any:
    """Types, names and shapes of a nested value, without its numbers and words."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return str(value.dtype), tuple(value.shape)
    if isinstance(value, dict):
        return {name: form(part) for name, part in value.items()}
    return type(value).__name__


# ------------------------------------------------------------------ media and archives


def make_media(folder: Path) -> list[Path]:
    """Two seconds each of H.264 and AAC, of VP8 and Opus."""
    from tests.media_files import write_samples

    return write_samples(folder)


def read_media(folder: Path, path: Path) -> Found:
    """All of a clip. That its content is no lie is judged by tests/mutated_media.py, which asks FFmpeg."""
    clip = Clip.read(path)
    if not (np.isfinite(clip.waveform).all() and len(clip) == round(clip.duration * clip.frame_rate)):
        return "a clip that does not fit itself", None
    return "a clip", None


def make_archives(folder: Path) -> list[Path]:
    """The same three files as zip, tar and tar.gz."""
    source = folder / "source"
    for number in range(3):
        path = source / "train" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.random.default_rng(number).bytes(700) + b"word " * 60)
    made = [folder / name for name in ("a.zip", "a.tar", "a.tar.gz")]
    with zipfile.ZipFile(made[0], "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*.mp4")):
            archive.write(path, path.relative_to(source))
    for path, mode in zip(made[1:], ("w", "w:gz"), strict=True):
        with tarfile.open(path, mode) as archive:
            archive.add(source, "")
    return made


def read_archive(folder: Path, path: Path) -> Found:
    """Names and bytes of what came out; nothing may have come out elsewhere."""
    before = set(folder.rglob("*"))
    out = unpack(path, folder / "out" / "here")
    inside = {
        str(each.relative_to(out)): each.read_bytes() for each in sorted(out.rglob("*")) if each.is_file()
    }
    shutil.rmtree(folder / "out")
    if set(folder.rglob("*")) != before:
        return "files outside of the folder", None
    return "a folder", inside


# ------------------------------------------------------------------ weights and caches


def make_pipeline(folder: Path) -> list[Path]:
    """A tiny pipeline folder."""
    tiny_pipeline().save_whole(folder / "pipeline")
    return sorted(path for path in (folder / "pipeline").rglob("*") if path.is_file())


def read_pipeline(folder: Path, path: Path) -> Found:
    """Its weights."""
    pipeline = RFLAVPipeline.from_pretrained(folder / "pipeline")
    parts = {name: part.state_dict() for name, part in pipeline.components.items()}
    return {
        name: {key: str(x.dtype) + str(tuple(x.shape)) for key, x in s.items()} for name, s in parts.items()
    }, None


def read_vae(folder: Path, path: Path) -> Found:
    """The same of its VAE alone."""
    vae = load_vae(folder / "pipeline" / "vae")
    return {key: str(x.dtype) + str(tuple(x.shape)) for key, x in vae.state_dict().items()}, None


@lru_cache(1)
def _training() -> tuple[TrainConfig, Any, Any, Any]:
    """Settings, model, averages and optimizer, into which every checkpoint is restored."""
    config = TrainConfig()
    model = tiny_pipeline().transformer
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return config, model, EMAModel(model.parameters(), 0.9), optimizer


def make_checkpoint(folder: Path) -> list[Path]:
    """A training checkpoint."""
    config, *state = _training()
    snapshot = checkpoints.take_snapshot(3, config, 1, *state)
    return sorted(checkpoints.write_checkpoint(folder / "checkpoints", snapshot).iterdir())


def read_checkpoint(folder: Path, path: Path) -> Found:
    """Restored into the model, whose step and moments are told."""
    config, model, ema, optimizer = _training()
    step, _ = checkpoints.restore(folder / "checkpoints" / "step-000003", config, 1, model, ema, optimizer)
    moments = {number: form(entry) for number, entry in enumerate(optimizer.state.values())}
    averages = [form(average) for average in ema.shadow_params]
    return (step, moments, averages, {name: form(x) for name, x in model.state_dict().items()}), None


CODECS = {"n_mels": 32, "audio_scale": 2.5, "peak": None}


def make_cache(folder: Path) -> list[Path]:
    """A cache of latents."""
    encode_toy_clips("toy-landscape", 0, 2, 5, tiny_vae(), MelCodec(**CODECS), folder)
    return sorted(path for path in folder.glob("toy-*/*") if path.suffix in (".json", ".safetensors"))


@lru_cache(1)
def _vae() -> Any:
    return tiny_vae()


def read_cache(folder: Path, path: Path) -> Found:
    """Every window."""
    cache = LatentCache(path.parent, _vae(), MelCodec(**CODECS))
    windows = [cache.window(clip, 0, 5) for clip in range(len(cache))]
    return (len(cache), cache.latent_shape, [[form(part) for part in window] for window in windows]), None


def _clip_set(folder: Path) -> ClipSet:
    return ClipSet(folder / "clips", "spoilt", 2, 2, lambda numbers: {"numbers": list(numbers)})


def make_clip_set(folder: Path) -> list[Path]:
    """A shard of an evaluation's clips."""
    rng = np.random.default_rng(0)
    clips = [
        Clip(rng.integers(0, 255, (4, 8, 8, 3), np.uint8), rng.random(6400, np.float32)) for _ in range(2)
    ]
    clip_set = _clip_set(folder)
    clip_set.write(range(2), lambda numbers: clips)
    return list((folder / "clips").iterdir())


def read_clip_set(folder: Path, path: Path) -> Found:
    """Taken, or found damaged and to be made anew."""
    clip_set = _clip_set(folder)
    missing, told = clip_set.missing()
    if missing:
        raise ValueError(told[0])
    clips = list(clip_set.clips())
    return [repr(clip) for clip in clips], [clip.frames.tobytes() + clip.waveform.tobytes() for clip in clips]


ORIGIN = Origin("spoilt", 3, 0, "a network", "a layer", "none", "none", (("torch", "2"),))


def make_features(folder: Path) -> list[Path]:
    """A file of features."""
    return [FeatureSet(torch.arange(15.0).reshape(3, 5), ORIGIN).save(folder / "features.safetensors")]


def read_features(folder: Path, path: Path) -> Found:
    """The features and their origin."""
    found = FeatureSet.load(path)
    return form(found.values), (found.values.tolist(), found.origin)


def make_classifier(folder: Path) -> list[Path]:
    """The toy listener's weights."""
    shutil.copy(ROOT / "checkpoints" / "toy-classifier" / "listener.safetensors", folder)
    return [folder / "listener.safetensors"]


def read_classifier(folder: Path, path: Path) -> Found:
    """The listener."""
    return {name: form(x) for name, x in ToyListener.load(folder).state_dict().items()}, None


def make_pickle(folder: Path) -> list[Path]:
    """A pickled dictionary of weights, as others publish them."""
    torch.save({"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3)}, folder / "weights.pt")
    return [folder / "weights.pt"]


def read_pickled(folder: Path, path: Path) -> Found:
    """Both readers of pickles; tensors of any shape, for the network that takes them checks that."""
    state = read_state(path)
    tensors, _ = read_pickle(path)
    return all(isinstance(x, torch.Tensor) for x in [*state.values(), *tensors.values()]), None


def make_released(folder: Path) -> list[Path]:
    """A folder as the authors release it."""
    inside = folder / "released"
    shutil.copytree(FIXTURES / "vocoder_tiny", inside / "vocoder")
    (inside / "config.json").write_text(json.dumps(facts("model_tiny_class")["config"]))
    shutil.copy(FIXTURES / "model_tiny_class.weights.safetensors", inside / "model.safetensors")
    return sorted(path for path in inside.rglob("*") if path.is_file())


def read_released(folder: Path, path: Path) -> Found:
    """The pipeline."""
    pipeline = released.load(folder / "released", vae=_vae())
    return {name: form(x) for name, x in pipeline.transformer.state_dict().items()}, None


# ------------------------------------------------------------------ settings

CONFIGS = {"toy-landscape": TrainConfig, "evaluate-toy": EvaluateConfig, "latents/videos": LatentsConfig}


def make_configs(folder: Path) -> list[Path]:
    """The repository's own."""
    for name in CONFIGS:
        shutil.copy(ROOT / "configs" / f"{name}.yaml", folder / f"{Path(name).name}.yaml")
    return sorted(folder.glob("*.yaml"))


def read_config(folder: Path, path: Path) -> Found:
    """As a whole, and each of its lines as a setting of the command line."""
    kind = next(kind for name, kind in CONFIGS.items() if Path(name).name == path.stem)
    for line in path.read_bytes().decode("utf-8", "replace").splitlines()[:3]:
        with suppress(ValueError):
            kind.from_command_line(ROOT / "configs" / "toy-landscape.yaml", [line.replace(": ", "=", 1)])
    config = kind.from_yaml(path)
    return {name: form(value) for name, value in vars(config).items()}, None


def make_parameters(folder: Path) -> list[Path]:
    """What papermill takes with -f."""
    path = folder / "parameters.yaml"
    path.write_text(
        yaml.safe_dump({"max_steps": 5, "learning_rate": 1e-3, "world": "toy-dance", "resume": True})
    )
    return [path]


def read_parameters(folder: Path, path: Path) -> Found:
    """Read as papermill does, put into a namespace as papermill does, and checked."""
    try:
        values = yaml.load(path.read_text(), yaml.SafeLoader)  # papermill's own reading is not ours to judge
    except Exception as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        config = TrainConfig.from_notebook({str(k): v for k, v in dict(values or {}).items()}, set())
    except (TypeError, ValueError) as error:
        if isinstance(values, dict) and not isinstance(error, ValueError):
            raise
        raise ValueError(f"{path}: {error}") from None
    return {name: form(value) for name, value in vars(config).items()}, None


# ------------------------------------------------------------------ JSON and CSV that tools read back


def make_results(folder: Path) -> list[Path]:
    """An evaluation's results."""
    shutil.copy(ROOT / "results" / "evaluate-toy.json", folder / "results.json")
    return [folder / "results.json"]


def read_results(folder: Path, path: Path) -> Found:
    """Their tables."""
    return type(tables([read_run(path)])), None


def make_fusions(folder: Path) -> list[Path]:
    """What benchmarks/fusions.py writes."""
    cost = {"median_seconds": 0.1, "peak_bytes": 10**8, "ratios": {"time": 1.0, "memory": 1.0}}
    content = {
        "command": "python", "costs": dict.fromkeys(("joint_attention", "average", "conditioned_average"), cost),
        "setting": {"size": "B", "dtype": "float32", "batch": 1, "repeats": 3},
        "provenance": {"gpu": None, "processor": "a processor", "cores": 2, "load_before": 0.1},
    }  # fmt: skip
    (folder / "fusions.json").write_text(json.dumps(content))
    return [folder / "fusions.json"]


def _measurement() -> Measurement:
    settings = json.loads((ROOT / "results" / "toy-dance.json").read_text())["settings"]
    return Measurement(settings, {"generated": [], "real": []})


def make_measurement(folder: Path) -> list[Path]:
    """A measurement of a toy model, of two clips."""
    content = json.loads((ROOT / "results" / "toy-dance.json").read_text())
    content["readings"] = {name: of[:2] for name, of in content["readings"].items()}
    (folder / "toy.json").write_text(json.dumps(content))
    return [folder / "toy.json"]


def read_measurement(folder: Path, path: Path) -> Found:
    """Gone on with, and summed up."""
    measurement = _measurement()
    measurement.go_on(path)
    measurement.figures()
    return sorted(measurement.readings), None


def make_kept(folder: Path) -> list[Path]:
    """A benchmark's figures."""
    (folder / "kept.json").write_text(json.dumps({"clips": 3, "figures": {"a": [1.0, 2.0], "b": None}}))
    return [folder / "kept.json"]


def read_kept(folder: Path, path: Path) -> Found:
    """Of the budget that is asked for."""
    return type(experiments.kept(path, dict, {"clips": 3})), None


def make_sweep(folder: Path) -> list[Path]:
    """What benchmarks/scales.py goes on with."""
    (folder / "sweep.json").write_text(
        json.dumps({"settings": {"seed": 0}, "sets": {"real": {"a": {"value": 1}}}})
    )
    return [folder / "sweep.json"]


def read_sweep(folder: Path, path: Path) -> Found:
    """The sets that are there."""
    return type(scales.begun(argparse_like(out=path), {"seed": 0})), None


def argparse_like(**options: Any) -> Any:
    """Options of a command line."""
    import argparse

    return argparse.Namespace(**options)


def make_run(folder: Path) -> list[Path]:
    """What a training run tells about itself."""
    config = tiny_config(folder)
    for step in range(1, 6):
        run_folder.append_metrics(folder, {"step": step, "loss": 1 / step})
    run_folder.record_start(folder, config, 0, 1, "cpu", [])
    (folder / ".running.json").write_text(json.dumps({"host": "here", "pid": 1, "since": "now"}))
    return [folder / name for name in ("metrics.jsonl", "run.json", ".running.json")]


def read_run_folder(folder: Path, path: Path) -> Found:
    """Its history, and who holds it."""
    run_folder.forget_after(folder, 3)
    run_folder._starts(folder / "run.json")
    return isinstance(run_folder._who(folder / ".running.json"), str), None


def make_index(folder: Path) -> list[Path]:
    """A folder of clips and the index beside it."""
    rng = np.random.default_rng(0)
    for name in ("rain", "siren"):
        clip = Clip(rng.integers(0, 255, (12, 16, 16, 3), np.uint8), np.zeros(19200, np.float32))
        clip.save(folder / "train" / name / "a.mp4")
    ClipFolder(folder, workers=1)
    return [folder / ".rflav-clips.json"]


def read_clip_index(folder: Path, path: Path) -> Found:
    """Which files there are. The index is a cache: of names and facts that cannot be, not of what might be."""
    names, found = read_index(folder, "train", None, 1)
    return (all(isinstance(name, str) for name in names), [each.place for each in found]), None


def make_answers(folder: Path) -> list[Path]:
    """A CSV of the user study."""
    path = folder / "answers.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for number in range(8):
            row = [
                "2026-01-01",
                "abc",
                'a, "b"',
                number,
                f"größe {number}",
                "one",
                "two",
                "left",
                "right",
                1,
                2,
            ]
            writer.writerow(row)
    return [path]


def read_answers(folder: Path, path: Path) -> Found:
    """Every line is an answer, or broken and told by its number: none is swallowed by its neighbours."""
    rows, broken = Answers(path).rows()
    lines = [line for line in path.read_bytes().split(b"\n")[1:] if line]
    return len(rows) + len(broken) == len(lines) and all(len(row) == len(FIELDS) for row in rows), None


def make_data_json(folder: Path) -> list[Path]:
    """The JSON that data_scripts reads back."""
    LockFile(folder).record("a.bin", Locked("an address", 3, "00"))
    (folder / "prepare.json").write_text(json.dumps(asdict(Recipe())))
    return [folder / "fetch.lock.json", folder / "prepare.json"]


def read_data_json(folder: Path, path: Path) -> Found:
    """Both."""
    locked = LockFile(folder).read()
    _same_recipe(folder / "prepare.json", Recipe())
    return all(isinstance(entry, Locked) and type(entry.size) is int for entry in locked.values()), None


SCRIPTS = (ValueError, OSError, FetchError)

READERS = (
    Reader("media", make_media, read_media, (MediaError,)),
    Reader("archives", make_archives, read_archive),
    Reader("pipeline folder", make_pipeline, read_pipeline),
    Reader(
        "image VAE", lambda folder: [p for p in make_pipeline(folder) if p.parent.name == "vae"], read_vae
    ),
    Reader("training checkpoint", make_checkpoint, read_checkpoint),
    Reader("cache of latents", make_cache, read_cache),
    Reader("shard of clips", make_clip_set, read_clip_set, checked=True),
    Reader("features", make_features, read_features, checked=True),
    Reader("toy classifier", make_classifier, read_classifier),
    Reader("pickled weights", make_pickle, read_pickled, SCRIPTS),
    Reader("released checkpoint", make_released, read_released),
    Reader("YAML config", make_configs, read_config),
    Reader("notebook parameters", make_parameters, read_parameters),
    Reader("evaluation results", make_results, read_results),
    Reader("costs of fusions", make_fusions, lambda folder, path: (type(read_fusions(path)), None)),
    Reader("toy measurement", make_measurement, read_measurement),
    Reader("kept figures", make_kept, read_kept),
    Reader("sweep of scales", make_sweep, read_sweep),
    Reader("run folder", make_run, read_run_folder),
    Reader("index of clips", make_index, read_clip_index),
    Reader("study answers", make_answers, read_answers),
    Reader("data scripts' JSON", make_data_json, read_data_json, SCRIPTS),
)
