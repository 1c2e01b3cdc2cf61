"""Writing a cache under fire: killed at any moment, and by two processes at once. The bytes are always the same."""

import hashlib
import os
import socket
import subprocess
import sys

import pytest
import torch

from rflav_lib import ROOT
from rflav_lib.data.latent_cache.encoding import ClipEncoder
from rflav_lib.data.latent_cache.sources import ToySource
from rflav_lib.data.latent_cache.writing import write_cache
from rflav_lib.data.latents import LatentCache, main
from rflav_lib.mel import MelCodec
from tests.tiny import tiny_vae

SETTINGS = {"world": "toy-landscape", "seed": 3, "clips": 30, "clip_frames": 7, "shard_frames": 6}

# Writers are forked from one process that has loaded everything, so that most kills hit the writing, not the start.
# Some are killed before they have written anything, most a random moment after one to three shards more: counted in
# shards, not in seconds, so that a fast machine does not come to the end between two kills.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from rflav_lib.data.latents import main

rng, folder, kills = random.Random(int(sys.argv[1])), Path(sys.argv[2]), 0
shards = lambda: len(list(folder.glob("shard-*")))
while True:
    before, writer = shards(), os.fork()
    if not writer:
        os._exit(main([sys.argv[3], f"latents={folder}"]))
    status, more = None, rng.randrange(3)
    if kills < 10:
        while kills > 2 and shards() <= before + more and status is None:
            time.sleep(0.001)
            done, code = os.waitpid(writer, os.WNOHANG)
            status = code if done else None
        time.sleep(rng.uniform(0, 0.05 if kills < 3 else 0.01))
        if status is None:
            os.kill(writer, signal.SIGKILL)
    status = os.waitpid(writer, 0)[1] if status is None else status
    if os.WIFEXITED(status):
        break
    kills += 1
print("killed", kills)
sys.exit(os.waitstatus_to_exitcode(status))
"""


# As a launcher starts them, but from one process that has loaded everything; launchers are tried in training's tests.
TWO = """
import os, sys
from rflav_lib.data.latents import main

writers = []
for rank in ("0", "1"):
    writers.append(os.fork())
    if not writers[-1]:
        os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[1])
        status = main(sys.argv[2:])
        sys.stdout.flush()  # os._exit does not
        os._exit(status)
sys.exit(any([os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) for writer in writers]))
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A YAML file for the command line, and the cache that one undisturbed process writes from it."""
    folder = tmp_path_factory.mktemp("caches")
    vae = tiny_vae()
    vae.save_pretrained(folder / "vae")
    settings = {**SETTINGS, "vae": str(folder / "vae"), "size": 64, "n_mels": 32, "audio_peak": 0.0}
    lines = "".join(f"{key}: {value}\n" for key, value in settings.items())
    (folder / "cache.yaml").write_text(lines, encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in `run`: on their number the last bits depend
    assert main([str(folder / "cache.yaml"), f"latents={folder / 'undisturbed'}"]) == 0
    torch.set_num_threads(threads)
    return folder


def run(arguments):
    """Python in a process of its own, on one thread."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def contents(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()  # short, for when they differ
        for path in folder.iterdir()
        if path.name != ".lock"
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_and_started_again_gives_the_same_bytes(command, tmp_path):
    said = run(["-c", KILLER, "11", str(tmp_path / "killed"), str(command / "cache.yaml")])
    assert int(said.split("killed")[-1]) >= 4, "no kill came before the end: this tested nothing"
    assert contents(tmp_path / "killed") == contents(command / "undisturbed")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_write_the_same_bytes(command, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = run(["-c", TWO, str(port), str(command / "cache.yaml"), f"latents={tmp_path / 'shared'}"])
    assert said.count("30 clips, 210 frames") == 1
    assert contents(tmp_path / "shared") == contents(command / "undisturbed")


def test_the_undisturbed_cache_is_a_whole_one(command):
    mel = MelCodec(n_mels=32, audio_scale=3.0, peak=None)
    cache = LatentCache(command / "undisturbed", tiny_vae(), mel)
    assert len(cache) == 30 and cache.index.num_shards == 35
    before = contents(command / "undisturbed")
    encoder = ClipEncoder(ToySource("toy-landscape", 3, 30, 7), tiny_vae(), mel, 64)
    write_cache(command / "undisturbed", encoder, 6)
    assert contents(command / "undisturbed") == before
