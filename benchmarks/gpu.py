"""All measurements that need a GPU, as stages that fit into minutes: not run on a GPU yet.

    python benchmarks/gpu.py --folder outputs/gpu                       # what is missing, within 540 seconds
    python benchmarks/gpu.py --folder outputs/gpu --only plain-8 tf32-8
    python benchmarks/gpu.py --folder outputs/gpu --list                # the stages, and what has become of them

Each stage is a command of this folder in a process and with a limit of its own, and writes FOLDER/STAGE.json and
FOLDER/STAGE.log as it goes. FOLDER/gpu.json says after each how it went, and gathers the samplers' figures by batch. A
stage that fails or takes too long is recorded, and the next one begins; the same command goes on with what is missing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, nothing needs to be installed

from benchmarks.generation import with_ratios
from rflav_lib import ROOT
from rflav_lib.files import read_json, write_json

LEAST = 20  # seconds: with less there is no use in beginning a stage


@dataclass(frozen=True)
class Stage:
    """A script of this folder, its options, and the seconds that it may take."""

    script: str
    options: tuple[str, ...]
    seconds: int


def _sampling(seconds: int, batch: int, *options: str) -> Stage:
    paper = ("--model", "paper", "--device", "cuda", "--batch", str(batch), "--frames", "10")
    return Stage("generation.py", (*paper, *options), seconds)


STAGES: dict[str, Stage] = {
    "correct": _sampling(180, 8, "--samplers", "fast float32", "--attention"),
    "plain-8": _sampling(120, 8, "--samplers", "plain float32"),
    "bf16-8": _sampling(120, 8, "--samplers", "fast bf16", "--profile"),
    "compiled-8": _sampling(300, 8, "--samplers", "compiled bf16", "--profile"),
    "one-1": _sampling(300, 1, "--samplers", "plain float32", "compiled bf16"),
    "tf32-8": _sampling(120, 8, "--samplers", "plain TF32"),
    "training": Stage(
        "training.py",
        ("--size", "paper", "--device", "cuda", "--batch", "4", "--one-at-a-time",
         "--settings", "plain", "bf16+fused", "bf16+fused+compile"),
        240,
    ),
    "fusions": Stage("fusions.py", ("--size", "paper", "--device", "cuda"), 120),
}  # fmt: skip


def run(stages: Mapping[str, Stage], folder: Path, seconds: float, again: bool = False) -> dict[str, Any]:
    """Run the stages that are not done, one after the other, and say how it went.

    Args:
        stages: by name, in their order.
        folder: for what they write, made if need be; what it holds of earlier runs is kept.
        seconds: for all of them. A stage's own limit is cut to what is left.
        again: run those that are done as well.

    Returns:
        What FOLDER/gpu.json holds: {"stages": {name: {"status", "command", "seconds"}}, "samplers": {batch: rows}}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began, known = time.monotonic(), _known(folder)
    for name, stage in stages.items():
        if not again and known.get(name, {}).get("status") == "done":
            continue
        left = seconds - (time.monotonic() - began)
        if left < LEAST:
            known.setdefault(name, {"status": "not begun"})
        else:
            known[name] = _ran(name, stage, folder, min(left, stage.seconds))
            print(f"{name}: {known[name]['status']} after {known[name]['seconds']:.0f} s", flush=True)
        write_json(folder / "gpu.json", {"stages": known, "samplers": samplers(folder)})
    return {"stages": known, "samplers": samplers(folder)}


def _known(folder: Path) -> dict[str, Any]:
    path = folder / "gpu.json"
    return read_json(path)["stages"] if path.is_file() else {}


def _ran(name: str, stage: Stage, folder: Path, seconds: float) -> dict[str, Any]:
    """Run a stage: how it ended, and the last lines of its log if not well."""
    options = [*stage.options, "--out", str(folder / f"{name}.json")]
    if stage.script == "generation.py":
        options += ["--reference", str(folder)]
    command = [sys.executable, str(ROOT / "benchmarks" / stage.script), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    log, began, status = folder / f"{name}.log", time.monotonic(), "done"
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env=environment, cwd=ROOT, start_new_session=True
        )
        try:
            if code := process.wait(seconds):
                status = f"failed (exit code {code})"
        except subprocess.TimeoutExpired:
            status = f"ended after {seconds:.0f} s"
        finally:
            _end(process)
    found = {"status": status, "command": [stage.script, *options], "seconds": time.monotonic() - began}
    if status != "done":
        found["last lines"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    return found


def _end(process: subprocess.Popen) -> None:
    """End what is left of a stage: the processes that it started as well, which are of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def samplers(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of all stages, by batch, with their ratios to the plain sampler; of finished and unfinished stages."""
    by_batch: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        report = read_json(path)
        if "sampler" in report:
            by_batch.setdefault(f"batch {report['settings']['batch']}", {}).update(report["sampler"])
    return {batch: with_ratios(rows) for batch, rows in by_batch.items()}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("outputs/gpu"), help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=STAGES, metavar="STAGE", help=f"of {', '.join(STAGES)}")
    parser.add_argument(
        "--seconds", type=float, default=540, help="for all stages of this run (default: %(default)s)"
    )
    parser.add_argument("--again", action="store_true", help="also what is done")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    options = parser.parse_args(arguments)
    if options.seconds < LEAST:
        parser.error(f"--seconds must be at least {LEAST}, not {options.seconds:g}")
    return options


def main(arguments: list[str]) -> int:
    """Run the stages; 1 unless all that were asked for are done."""
    options = parse(arguments)
    stages = {name: STAGES[name] for name in options.only or STAGES}
    if options.list:
        known = _known(options.folder)
        for name, stage in stages.items():
            status = known.get(name, {}).get("status", "not begun")
            print(f"{name:12}{status:24}{stage.seconds:>5} s  {stage.script} {' '.join(stage.options)}")
        return 0
    found = run(stages, options.folder, options.seconds, options.again)
    print(json.dumps(found["samplers"], indent=1))
    return int(any(found["stages"][name]["status"] != "done" for name in stages))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
