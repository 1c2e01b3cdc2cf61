"""The folder of a run, which tells everything about it: who writes it now, its settings, its history.

config.yaml        the settings
run.json           one entry for each start: commit, machine, versions, seed, command, what had changed
metrics.jsonl      one line for each report; no line beyond what the weights have seen
samples/           clips as mp4, with sound
tensorboard/       the same for TensorBoard
checkpoints/       step-NNNNNN, to go on from
pipeline/          what RFLAVPipeline.from_pretrained opens
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from rflav_lib.files import append_whole, read_json, whole
from rflav_lib.locks import held
from rflav_lib.provenance import provenance
from rflav_lib.yaml_config import YamlConfig


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder: a second run in it is refused and told who holds it.

    Raises:
        ValueError: the folder is held by another run, or cannot be written.
    """
    holder, acquired = folder / ".running.json", ExitStack()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        acquired.enter_context(held(folder / ".lock", lambda: _in_use(folder, holder)))
    except OSError as error:
        raise ValueError(f"output_dir: {folder} cannot be written ({error})") from error
    with acquired:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        try:
            _write(holder, json.dumps(facts))
            yield
        finally:
            holder.unlink(missing_ok=True)


def _in_use(folder: Path, holder: Path) -> str:
    try:
        facts = read_json(holder)
        itself = " (this very process: close the generator of the other run)" * (facts["pid"] == os.getpid())
        who = f"process {facts['pid']} on {facts['host']} since {facts['since']}{itself}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or is just ending
        who = "another process"
    return f"output_dir: {folder} is in use by {who}; choose another output_dir"


def _write(path: Path, text: str) -> None:
    try:
        with whole(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"output_dir: {path.parent} cannot be written ({error})") from error


def record_start(
    folder: Path, config: YamlConfig, step: int, processes: int, device: str, precision: str, said: list[str]
) -> None:
    """Write config.yaml and add an entry to run.json.

    Raises:
        ValueError: a run.json that is damaged, or a folder that cannot be written.
    """
    path, settings = folder / "run.json", asdict(config)
    starts = _starts(path)
    _write(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
    starts.append(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "from_step": step,
            "changed": said,
            "seed": settings["seed"],
            "processes": processes,
            "device": device,
            "precision": precision,
            "command": sys.argv,
            "host": socket.gethostname(),
            "provenance": provenance(device),
        }
    )
    _write(path, json.dumps({"starts": starts}, indent=1) + "\n")


def _starts(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    advice = "move it away: it is the history of this run, and the run goes on without it"
    stored = read_json(path, advice)
    starts = stored.get("starts") if isinstance(stored, dict) else None
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise ValueError(f"{path}: not the history of a run; {advice}")
    return starts


def read_metrics(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, oldest first; a last line that a kill cut short is left out.

    Raises:
        ValueError: another line that is none of ours; names it.
    """
    path = Path(folder) / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    del lines[-1]  # what follows the last newline is no whole line
    return [_metrics(path, number, line) for number, line in enumerate(lines, 1)]


def _metrics(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
        if isinstance(values, dict) and isinstance(values["step"], int):
            return values
        reason = "no step"
    except (ValueError, KeyError, RecursionError) as error:
        reason = str(error)
    raise ValueError(f"{path}: line {number} is damaged ({reason}); take it out, the run needs none of them")


def append_metrics(folder: Path, values: dict[str, Any]) -> None:
    """Add a line to metrics.jsonl, whole or not at all.

    Raises:
        OSError: it cannot be written, as where the disk is full; names the file.
    """
    append_whole(folder / "metrics.jsonl", json.dumps(values) + "\n")


def forget_after(folder: Path, step: int) -> None:
    """Drop lines of metrics.jsonl beyond `step`: the run is about to take those steps again."""
    lines = [json.dumps(line) + "\n" for line in read_metrics(folder) if line["step"] <= step]
    _write(folder / "metrics.jsonl", "".join(lines))
