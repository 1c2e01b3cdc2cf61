"""JSON and CSV that tools read back."""

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scales
from data_scripts.prepare import Recipe, _same_recipe
from data_scripts.published import Locked, LockFile
from rflav_lib import ROOT, experiments, run_folder
from rflav_lib.data.clip_index import opened_index
from rflav_lib.data.clips import ClipFolder
from rflav_lib.evaluation.tables import read_run, tables
from rflav_lib.media import Clip
from rflav_lib.metrics.toy.report import Measurement
from rflav_lib.view.study_answers import FIELDS, Answers
from tests.faults.readers.base import Found
from tests.tiny import tiny_config


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
    run_folder.record_start(folder, config, 0, 1, "cpu", "no", [])
    (folder / ".running.json").write_text(json.dumps({"host": "here", "pid": 1, "since": "now"}))
    return [folder / name for name in ("metrics.jsonl", "run.json", ".running.json")]


def read_run_folder(folder: Path, path: Path) -> Found:
    """Its history, and who holds it."""
    run_folder.forget_after(folder, 3)
    run_folder._starts(folder / "run.json")
    return isinstance(run_folder._in_use(folder, folder / ".running.json"), str), None


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
    with opened_index(folder, "train", None, 1) as (names, found):
        pass
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
