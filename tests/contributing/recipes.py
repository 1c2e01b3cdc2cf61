"""CONTRIBUTING.md as data: its code blocks, and its diffs applied to the files that they name."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return [text for name, text in BLOCK.findall(TEXT) if name == language]


@dataclass(frozen=True)
class Change:
    """A hunk of a diff: the file, its lines before and after."""

    path: str
    before: str
    after: str


def changes(diff: str) -> list[Change]:
    """The hunks of a diff; a line "--- path" begins a file, "@@" a further hunk.

    Raises:
        ValueError: a line that is none of a diff.
    """
    found: list[list[list[str]]] = []
    path = ""
    for line in diff.splitlines():
        if line.startswith("--- "):
            path = line.removeprefix("--- ")
        if line.startswith(("--- ", "@@")):
            found.append([[path], [], []])
        elif line[:1] in (" ", "-", "+", ""):
            for side, other in ((1, "+"), (2, "-")):
                if line[:1] != other:
                    found[-1][side].append(line[1:])
        else:
            raise ValueError(f"{line!r}: no line of a diff")
    return [
        Change(head[0], "\n".join(before), "\n".join(after))
        for head, before, after in found
        if before or after
    ]


def all_changes() -> list[Change]:
    """Those of all diffs of CONTRIBUTING.md."""
    return [change for diff in blocks("diff") for change in changes(diff)]


def changed(path: str, added: str = "", before: str = "") -> str:
    """A file of the repository as the diffs leave it.

    Args:
        path: relative to the root.
        added: code that CONTRIBUTING.md says to put into it, too.
        before: where to: the text that it comes before.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    for change in all_changes():
        if change.path == path:
            assert f"\n{text}\n".count(f"\n{change.before}\n") == 1, (
                f"{path} does not hold once:\n{change.before}"
            )
            text = text.replace(change.before, change.after)
    if added:
        assert text.count(before) == 1
        text = text.replace(before, f"{added}\n\n{before}")
    return text


def executed(path: str, monkeypatch: pytest.MonkeyPatch, source: str) -> ModuleType:
    """A module of the repository with another source, in place of the real one for the rest of the test."""
    name = path.removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    module.__file__ = str(ROOT / path)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - the repository's own code
    return module
