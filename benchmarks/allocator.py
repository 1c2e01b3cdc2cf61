"""What it saves to keep freed memory (`rflav_lib.allocator`): CPU seconds, its own and the kernel's, with and without.

    python benchmarks/allocator.py                    # a few minutes of one core
    python benchmarks/allocator.py --out results/allocator.json

Each case runs in a process of its own, so that the memory of one does not serve the other. CPU seconds hardly depend
on what else the machine does.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rflav_lib import ROOT, experiments
from rflav_lib.allocator import keep_freed_memory
from rflav_lib.files import output_file, write_json
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import provenance
from rflav_lib.train import run_to_the_end
from rflav_lib.train_config import TrainConfig

MODEL = ROOT / "checkpoints" / "toy-landscape"
CLIPS, FRAMES, STEPS_PER_FRAME, TRAINING_STEPS = 20, 20, 2, 12


def sampled() -> Callable[[], Any]:
    """Twenty clips of the bundled model in one batch, decoded."""
    pipe = RFLAVPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    experiments.made(pipe, CLIPS, 2, 1, seed=0)  # what happens once
    return lambda: experiments.made(pipe, CLIPS, FRAMES, STEPS_PER_FRAME, seed=0)


def trained() -> Callable[[], Any]:
    """Steps of the bundled model's training, from clips that are encoded already."""
    folder = tempfile.TemporaryDirectory()

    def run(name: str, steps: int) -> None:
        settings = {
            "clips": 64, "max_steps": steps, "warmup_steps": 2, "tracker": "none", "sample_every": 10**9,
            "checkpoint_every": 10**9, "output_dir": str(Path(folder.name) / name),
        }  # fmt: skip
        run_to_the_end(TrainConfig.from_yaml(experiments.BASE, **settings))

    def work() -> None:
        run("measured", TRAINING_STEPS)
        folder.cleanup()

    run("before", 3)  # what happens once
    return work


CASES: dict[str, Callable[[], Callable[[], Any]]] = {"sampling": sampled, "training": trained}


def measured(case: str, keep: bool) -> dict[str, float]:
    """CPU seconds of one case in this process."""
    torch.set_num_threads(1)
    if keep and not keep_freed_memory():
        raise SystemExit("this system's C library has no mallopt: there is nothing to compare")
    work = CASES[case]()
    before = os.times()
    work()
    after = os.times()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"own": after.user - before.user, "kernel": after.system - before.system, "peak (MB)": peak}


def in_a_process(case: str, keep: bool) -> dict[str, float]:
    """CPU seconds of one case in a new process."""
    command = [sys.executable, __file__, "--one", case, *["--keep"] * keep]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str]) -> int:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=output_file, help="write JSON")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measured(options.one, options.keep)))
        return 0
    found = {
        case: {"given back": in_a_process(case, False), "kept": in_a_process(case, True)} for case in CASES
    }
    print(f"{'CPU seconds':12} {'memory':12} {'own':>8} {'kernel':>8} {'peak (MB)':>10}")
    for case, both in found.items():
        for how, cost in both.items():
            print(f"{case:12} {how:12} {cost['own']:8.1f} {cost['kernel']:8.1f} {cost['peak (MB)']:10.0f}")
        total = {how: cost["own"] + cost["kernel"] for how, cost in both.items()}
        print(f"{'':12} kept saves {1 - total['kept'] / total['given back']:.0%}")
    if options.out:
        command = shlex.join(["python", "benchmarks/allocator.py", *arguments])
        settings = {
            "clips": CLIPS, "frames": FRAMES, "steps per frame": STEPS_PER_FRAME, "training steps": TRAINING_STEPS,
        }  # fmt: skip
        report = {"command": command, "provenance": provenance(), "settings": settings, "cases": found}
        write_json(options.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
