"""Kill a training run with SIGKILL, at random moments and inside checkpoint writes, and see that no bit is lost.

    python -m tests.kill_and_resume --kills 20       # a few minutes; `make test` does four kills

Processes are forked from a server that has the libraries loaded, so a restart costs a second, not ten. What is killed
is a real process, and what is compared are the files that the last one leaves.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

from rflav_lib.checkpoints import list_checkpoints
from rflav_lib.run_folder import read_metrics
from rflav_lib.train_config import TrainConfig
from tests.tiny import tiny_config

FILES = ("model.safetensors", "ema.safetensors", "optimizer.safetensors")
OF_THE_CLOCK = {"samples_per_second", "loader_share", "seconds_left"}
ERRORS = "stderr.txt"
PATIENCE = 300  # seconds that one process may take on a busy machine


def run_in_child(values: dict, root: str, die_in_write: int, environment: dict[str, str]) -> None:
    """Train to the end; with `die_in_write` n, die in the n-th write: of a file of a checkpoint, half of which is
    left, or of the pipeline, which then is as it was before.
    """
    os.environ.update(environment)
    import torch

    from rflav_lib import checkpoints, train_run
    from rflav_lib.pipeline import RFLAVPipeline
    from rflav_lib.train import train

    torch.set_num_threads(1)
    sys.stderr = (Path(root) / ERRORS).open("a", encoding="utf-8")
    written, save_file, save_whole = 0, checkpoints.save_file, RFLAVPipeline.save_whole

    def save_and_perhaps_die(tensors: dict, path: Path) -> None:
        nonlocal written
        written += 1
        save_file(tensors, path)
        if written == die_in_write:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def save_whole_or_die(pipeline: RFLAVPipeline, folder: Path) -> None:
        nonlocal written
        written += 1
        if written == die_in_write:
            os.kill(os.getpid(), signal.SIGKILL)
        save_whole(pipeline, folder)

    patches = mock.patch.object(checkpoints, "save_file", save_and_perhaps_die)
    pipelines = mock.patch.object(RFLAVPipeline, "save_whole", save_whole_or_die)
    with patches, pipelines, mock.patch.object(train_run, "ROOT", Path(root)):
        for _ in train(TrainConfig.from_mapping(values)):
            pass


class Runner:
    """Starts children on runs in `root`, and kills them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["rflav_lib.train", "tests.tiny"])

    def start(
        self, config: TrainConfig, die_in_write: int = 0, environment: dict[str, str] | None = None
    ) -> BaseProcess:
        """Start a child that trains."""
        arguments = (asdict(config), str(self._root), die_in_write, environment or {})
        process = self._context.Process(target=run_in_child, args=arguments)
        process.start()
        return process

    def said(self) -> str:
        """The end of what the children wrote to stderr."""
        return (self._root / ERRORS).read_text(encoding="utf-8")[-3000:]

    def run_together(self, config: TrainConfig, count: int) -> None:
        """Run `count` processes as one, over gloo on this machine's CPU, as a launcher would start them."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
        processes = [
            self.start(config, environment={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(count)
        ]
        try:
            for process in processes:
                process.join(PATIENCE)
            assert [process.exitcode for process in processes] == [0] * count, self.said()
        finally:
            for process in processes:
                process.kill()

    def run(self, config: TrainConfig, kill_after: float | None = None, die_in_write: int = 0) -> bool:
        """Run until the end or the kill; True if it came to the end.

        Raises:
            AssertionError: it ended in another way.
        """
        process = self.start(config, die_in_write)
        process.join(PATIENCE if kill_after is None else kill_after)
        if process.is_alive():
            assert kill_after is not None, "the run takes for ever"
            process.kill()
            process.join()
        assert process.exitcode in (0, -signal.SIGKILL), self.said()
        return process.exitcode == 0


def pipeline_files(config: TrainConfig) -> dict[str, bytes]:
    """The pipeline's files by name, but for the path of the codec in its config, which differs by folder."""
    folder = config.output_path / "pipeline"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(config.vae.encode(), b"")
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_same_run(one: TrainConfig, other: TrainConfig) -> None:
    """Weights, averages, moments, steps, the pipeline and every reported number are the same to the last bit."""
    last, other_last = (list_checkpoints(config.output_path / "checkpoints")[-1] for config in (one, other))
    assert last.name == other_last.name
    for name in FILES:
        assert (last / name).read_bytes() == (other_last / name).read_bytes(), f"{name} differs"
    facts, other_facts = (json.loads((path / "run.json").read_text()) for path in (last, other_last))
    assert (facts["step"], facts["ema_step"]) == (other_facts["step"], other_facts["ema_step"])
    assert pipeline_files(one) == pipeline_files(other), "the pipelines differ"
    lines, other_lines = (
        [
            {k: v for k, v in line.items() if k not in OF_THE_CLOCK}
            for line in read_metrics(config.output_path)
        ]
        for config in (one, other)
    )
    assert lines == other_lines, "the reported numbers differ"
    for config in (one, other):
        hidden = [path.name for path in (config.output_path / "checkpoints").iterdir() if path.name[0] == "."]
        assert not hidden, f"left over: {hidden}"


def kill_and_compare(root: Path, kills: int, seed: int, steps: int = 30) -> dict[str, int]:
    """One run in peace and one with `kills` kills; returns how often the killed one died where."""
    settings = {"max_steps": steps, "checkpoint_every": 3, "batch_size": 4, "keep_every": 15}
    for name in ("peace", "war"):
        (root / name).mkdir()
    peace, war = (tiny_config(root / name, **settings) for name in ("peace", "war"))
    runner, chance = Runner(root), random.Random(seed)
    began = time.monotonic()
    assert runner.run(peace)
    seconds, counts = time.monotonic() - began, {"in a write": 0, "at a random moment": 0, "after the end": 0}
    for number in itertools.count():
        if sum(counts.values()) - counts["after the end"] == kills:
            break
        if number % 2 == 0:  # each restart from another checkpoint dies in another file of its next ones
            ended, kind = runner.run(war, die_in_write=1 + chance.randrange(8)), "in a write"
        else:
            ended, kind = runner.run(war, kill_after=chance.uniform(0.1, 0.6) * seconds), "at a random moment"
        counts["after the end" if ended else kind] += 1
        if ended:  # it came through: begin anew, to have something to kill
            assert_same_run(peace, war)
            shutil.rmtree(war.output_path)
    assert runner.run(war)
    assert_same_run(peace, war)
    return counts


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Kill a training run again and again; compare it with one in peace."
    )
    parser.add_argument("--kills", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=90, help="of the run (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = kill_and_compare(Path(folder), options.kills, options.seed, options.steps)
    print(
        "every run ended with the same bits; killed "
        + ", ".join(f"{n} x {kind}" for kind, n in counts.items())
    )


if __name__ == "__main__":
    main()
