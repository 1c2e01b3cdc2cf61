"""Documents say what is so: links lead somewhere, commands are understood, Python runs."""

import argparse
import importlib
import inspect
import re
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from papermill.cli import papermill
from torch.distributed.run import get_args_parser

from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.evaluation.config import EvaluateConfig
from rflav_lib.media import Clip
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.train_config import TrainConfig
from tests.documentation import (
    PAGES,
    ROOT,
    Example,
    commands,
    dead,
    defined,
    links,
    namespace_of,
    python_blocks,
    python_in_docstrings,
    unknown,
    words,
)
from tests.media_files import clicks, regular, write_media
from tests.tiny import tiny_pipeline

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
CONFIGS = {
    "rflav_lib.train": TrainConfig,
    "rflav_lib.evaluate": EvaluateConfig,
    "rflav_lib.data.latents": LatentsConfig,
}
NOT_OURS = ("git clone", "cd ", "conda env create -f environment.yml", "tensorboard --logdir")
"""Commands of other programs, which the reader has."""
THEIR_MODULES = ("pip", "pytest", "jupyterlab", "ruff", "coverage", "mypy")

# links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page):
    assert [told for link in links(page) if (told := dead(page, link))] == []


def test_links_are_found_and_dead_ones_noticed():
    assert "CONTRIBUTING.md" in links(ROOT / "README.md") and "docs/quickstart.png" in links(
        ROOT / "README.md"
    )
    assert dead(ROOT / "README.md", "docs/none.png") == "docs/none.png: no such file"
    assert dead(ROOT / "README.md", "../else.md") == "../else.md: no such file"
    assert dead(ROOT / "README.md", "tests/README.md#nothing") == "tests/README.md#nothing: no such heading"
    assert dead(ROOT / "README.md", "tests/README.md#gates") == dead(ROOT / "README.md", "#gallery") == ""


# commands


class Parsed(BaseException):
    """The command line was understood; nothing more is to happen."""


@pytest.fixture
def parsing_alone(monkeypatch):
    """Programs end when they have parsed their arguments."""
    for name in ("parse_args", "parse_intermixed_args"):
        whole = getattr(argparse.ArgumentParser, name)

        def parse(self, args=None, namespace=None, whole=whole):
            raise Parsed(whole(self, args, namespace))

        monkeypatch.setattr(argparse.ArgumentParser, name, parse)


def module_of(command: list[str]) -> tuple[str, list[str]]:
    """The module that a command runs, and its arguments; the launcher's own are checked."""
    program, *rest = command
    if program == "accelerate":
        options, _ = launch_command_parser().parse_known_args(rest[1:])
        assert rest[0] == "launch" and options.module
        return options.training_script, options.training_script_args
    if program == "torchrun":
        options, _ = get_args_parser().parse_known_args(rest)
        assert options.module
        return options.training_script, options.training_script_args
    if rest[0] == "-m":
        return rest[1], rest[2:]
    assert (ROOT / rest[0]).is_file(), f"{rest[0]}: no such file"
    return rest[0].removesuffix(".py").replace("/", "."), rest[1:]


def understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise unless the program exists and takes these arguments."""
    program, *rest = split = [word for word in words(command) if word != "--help"]
    if command.startswith(NOT_OURS):
        return
    if program == "make":
        targets = [word for word in rest if "=" not in word]
        assert targets and set(targets) <= TARGETS, f"there is no make {' '.join(targets)}"
    elif program == "papermill":
        papermill.make_context("papermill", list(rest))
        config = yaml.safe_load((ROOT / rest[rest.index("-f") + 1]).read_text(encoding="utf-8"))
        assert (ROOT / rest[0]).is_file() and TrainConfig.from_mapping(config)
    elif program.startswith(".venv/bin/") and program != ".venv/bin/python":
        assert program == ".venv/bin/pre-commit"
    else:
        module, arguments = module_of(split)
        if module not in THEIR_MODULES:
            _parse(module, arguments, monkeypatch)


def _parse(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    program = importlib.import_module(module)
    if hasattr(program, "__path__"):
        program = importlib.import_module(f"{module}.__main__")
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    takes = inspect.signature(program.main).parameters
    with pytest.raises(Parsed) as parsed:
        program.main(*([arguments] if takes else []))
    (options,) = parsed.value.args
    if module in CONFIGS:
        CONFIGS[module].from_command_line(ROOT / options.config, options.changes)


@pytest.mark.parametrize("place", sorted({each.place for each in commands()}))
def test_every_command_is_understood(place, parsing_alone, monkeypatch, capsys):
    refused = []
    for each in commands():
        if each.place == place:
            try:
                understood(each.text, monkeypatch)
            except (Exception, SystemExit) as error:
                said = capsys.readouterr().err.strip().splitlines()
                refused.append(f"{each.text}: {said[-1] if said else repr(error)}")
    assert refused == []


def test_commands_are_found():
    found = {(each.place, each.text) for each in commands()}
    assert ("README.md", "make demo") in found
    assert ("README.md", "python -m data_scripts.aist fetch --original") in found
    assert any("--machine_rank RANK -m rflav_lib.train" in text for _, text in found), "a continued line"
    assert any(place.startswith("rflav_lib/train_codec.py") for place, _ in found)
    assert any(place.startswith("configs/") for place, _ in found)
    assert len(found) > 80


@pytest.mark.parametrize(
    "command",
    [
        "make everything",
        "python benchmarks/none.py",
        "python benchmarks/media.py --secs 60",
        "python -m rflav_lib.train configs/toy-landscape.yaml max_stepz=200",
        "python -m rflav_lib.train configs/none.yaml",
        "accelerate launch -m rflav_lib.nothing configs/toy-landscape.yaml",
        "torchrun --standalone --nproc 2 -m rflav_lib.train configs/toy-landscape.yaml seed=x",
        "papermill notebooks/none.ipynb out.ipynb -f configs/toy-landscape.yaml",
    ],
)
def test_a_command_that_is_not_understood_is_noticed(command, parsing_alone, monkeypatch, capsys):
    with pytest.raises((Exception, SystemExit)):
        understood(command, monkeypatch)


# Python

ONLY_NAMES = {
    "from rflav_lib.view.player import play": "a widget; tests/browser plays it",
    'stream = pipe.stream(steps_per_frame=2, y="rain", dtype=torch.bfloat16': "needs a C++ compiler, and a minute",
    "from rflav_lib import released": "1.6 GB from the network; tests/test_released_load.py loads such files",
}
"""Beginnings of README's blocks that are compiled and have their names checked, but are not run; and why."""
SMALL = {"num_frames": 4, "chunk_frames": 2, "steps_per_frame": 1}
FREE = {"play_or_save": None}
"""What a block leaves to the reader."""


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder with the files that README speaks of, and a small model for the bundled one."""
    monkeypatch.chdir(tmp_path)
    small = {"rate": 16000, "size": (64, 64)}
    for name, seconds in (
        ("data/train/rain/a.mp4", 1.2),
        ("data/test/rain/b.mp4", 1.2),
        ("holiday.mov", 17.5),
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_media(Path(name), regular(10, seconds), seconds, clicks((0.3,), seconds, 16000, 2), **small)
    write_media(Path("silent.mp4"), regular(10, 0.5), 0.5, size=small["size"])
    with wave.open("bounce.wav", "wb") as file:
        file.setparams((1, 2, 16000, 8000, "NONE", ""))
        file.writeframes((3000 * np.sin(np.arange(8000))).astype("<i2").tobytes())
    model = tiny_pipeline()
    monkeypatch.setattr(RFLAVPipeline, "from_pretrained", lambda folder: model)


def smaller(code: str) -> str:
    """The same for few frames and steps."""
    return re.sub(
        r"\b(num_frames|chunk_frames|steps_per_frame)=\d+",
        lambda found: f"{found[1]}={SMALL[found[1]]}",
        code,
    )


def test_readme_s_python_runs_in_order(reader):
    seen: list[Clip] = []
    namespace, run = {"play_or_save": seen.append}, []
    for block in python_blocks(ROOT / "README.md"):
        if not block.text.startswith(tuple(ONLY_NAMES)):
            run.append(block)
            exec(compile(smaller(block.text), "README.md", "exec"), namespace)  # noqa: S102 - our own README
    assert len(run) == 5 and [len(clip) for clip in seen] == [2] * 20
    assert len(next(namespace["stream"])) == 2, "the stream that went on"
    assert Path("fireworks.mp4").is_file() and Path("later.pt").is_file()
    assert namespace["folder"][0]["frames"].shape == (10, 64, 64, 3)


def test_readme_s_python_names_what_is_there():
    known = dict(FREE)
    for block in python_blocks(ROOT / "README.md"):
        assert unknown(block.text, known) == [], block.text
        known |= dict.fromkeys(defined(block.text))
    blocks = [block.text for block in python_blocks(ROOT / "README.md")]
    for beginning in ONLY_NAMES:
        assert sum(text.startswith(beginning) for text in blocks) == 1, "an exception that is none"


GIVEN = dict.fromkeys(("pipe", "clips", "play", "draw", "widgets", "Dropdown", "f", "state"))
"""What examples in docstrings take as given."""


@pytest.mark.parametrize("example", python_in_docstrings(), ids=lambda example: example.place)
def test_examples_in_docstrings_name_what_is_there(example: Example):
    known = GIVEN | namespace_of(example.place)
    stem = Path(example.place.partition(":")[0]).stem
    known |= {stem: importlib.import_module(f"rflav_lib.{stem}")} if f"{stem}." in example.text else {}
    assert unknown(example.text.replace(">>> ", ""), known) == []


def test_examples_in_docstrings_are_found():
    found = {each.place for each in python_in_docstrings()}
    assert {"rflav_lib/experiments.py:module", "rflav_lib/pipeline.py:stream"} <= found and len(found) >= 8


def test_what_is_not_there_is_noticed():
    known = {"pipe": None}
    assert unknown("from rflav_lib.media import Clap", known) == ["from rflav_lib.media import Clap"]
    assert unknown("pipes(1)", known) == ["name pipes"]
    wrong = "from rflav_lib.media import Clip\nClip.read('a.mp4', begin=2)"
    (told,) = unknown(wrong, known)
    assert "begin" in told
