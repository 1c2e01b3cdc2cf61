"""What documents promise, as data: their links, their commands, and their Python.

Documents are the README files, CONTRIBUTING.md, the docstrings of the library, the benchmarks and the data scripts, and
the comments at the head of configs. The diary is none: it tells what was run once.
"""

import ast
import builtins
import functools
import importlib
import inspect
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tests", "benchmarks", "data_scripts", "results", "tests/fixtures")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
PAGES += [ROOT / folder / "README.md" for folder in FOLDERS]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")  # not to the web
COMMAND = re.compile(
    r"^(python (-m|\S+\.py)|make [a-z-]+( \w+=.*)?( +#.*)?$|accelerate launch |torchrun -|papermill \S+\.ipynb|"
    r"tensorboard --|conda env |git clone |cd \S+$|\.venv/bin/)"
)
INDENTED = re.compile(r"(?:\A|\n)\n((?:(?: {2,}.*)?\n)+)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """Something to try, and where it stands."""

    place: str
    text: str


def links(page: Path) -> list[str]:
    """Relative links and links within the page."""
    return LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))


def dead(page: Path, link: str) -> str:
    """What is wrong with a link in a page; "" if nothing is."""
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link}: no such file"
    if anchor and target.suffix == ".md":
        titles = HEADING.findall(FENCED.sub("", target.read_text(encoding="utf-8")))
        if anchor not in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}:
            return f"{link}: no such heading"
    return ""


def docstrings(folder: str) -> Iterator[Example]:
    """Those of modules, classes and functions, with their name."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
                text := ast.get_docstring(node)
            ):
                yield Example(f"{path.relative_to(ROOT)}:{getattr(node, 'name', 'module')}", text)


@functools.cache
def commands() -> list[Example]:
    """Every shell command that a document shows, continued lines joined, comments dropped."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown = [block for language, block in FENCED.findall(text) if language == ""]
        shown += ["\n".join(_indented(FENCED.sub("", text))), "\n".join(INLINE.findall(FENCED.sub("", text)))]
        found += [Example(page.relative_to(ROOT).as_posix(), line) for line in _lines("\n".join(shown))]
    for folder in ("rflav_lib", "benchmarks", "data_scripts"):
        found += [Example(each.place, line) for each in docstrings(folder) for line in _lines(each.text)]
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        said = [line[1:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        found += [Example(path.relative_to(ROOT).as_posix(), line) for line in _lines("\n".join(said))]
    # a way to run, not a command
    return [each for each in found if not each.text.endswith((" -m", " python"))]


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        words = line.strip()
        if COMMAND.match(words):
            for part in words.split(" && "):
                # to be split again by `words`, which replaces placeholders
                split = shlex.split(part, comments=True)
                yield " ".join(shlex.quote(word) if " " in word else word for word in split)


def _indented(text: str) -> list[str]:
    return [textwrap.dedent(block) for block in INDENTED.findall(text + "\n")]


def words(command: str) -> list[str]:
    """A command's words, with something in place of what the reader fills in, and optional parts given."""
    command = (
        re.sub(r"\[?\b(key=value|more\.json)( \.\.\.)?\]?|\.\.\.", "", command)
        .replace("[", "")
        .replace("]", "")
    )
    command = re.sub(r"\bNAME\b", "toy", command)
    return [re.sub(r"^[A-Z]{4,}$", "1", word) for word in shlex.split(command)]


def python_in_docstrings() -> list[Example]:
    """Indented blocks of the library's docstrings that look like Python: they begin with a statement or a call."""
    code = re.compile(r"^(from \S+ import |import |[a-z]\w* = |>>> |[\w.]+\(.*\)(\.\w+\(\))?\s*(#.*)?$)")
    return [
        Example(each.place, block)
        for each in docstrings("rflav_lib")
        for block in _indented(each.text)
        if code.match(block.strip().splitlines()[0] if block.strip() else "")
    ]


def python_blocks(page: Path) -> list[Example]:
    """Fenced Python of a page."""
    text = page.read_text(encoding="utf-8")
    return [Example(page.name, block) for language, block in FENCED.findall(text) if language == "python"]


def namespace_of(place: str) -> dict[str, Any]:
    """The module that a docstring belongs to, as its examples see it: "path:name"."""
    name = place.partition(":")[0].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return vars(importlib.import_module(name))


def unknown(code: str, known: dict[str, Any]) -> list[str]:
    """What a piece of Python names that is not there: imports, names, and arguments of calls.

    Args:
        code: has to compile.
        known: names that stand before it; values are looked into, None is a name without a known value.
    """
    tree, told, values = ast.parse(code), [], dict(known)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(module, alias.name):
                    try:
                        importlib.import_module(f"{node.module}.{alias.name}")
                    except ImportError:
                        told.append(f"from {node.module} import {alias.name}")
                values[alias.asname or alias.name] = getattr(module, alias.name, None)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                values[alias.name.split(".")[0]] = importlib.import_module(alias.name.split(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            values[node.id] = None
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            values[node.name] = None
            values |= {each.arg: None for each in ast.walk(node) if isinstance(each, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in values and not hasattr(builtins, node.id):
            told.append(f"name {node.id}")
        elif isinstance(node, ast.Call):
            told += _wrong_arguments(node, values)
    return told


def defined(code: str) -> set[str]:
    """Names that a piece of Python leaves behind."""
    nodes = list(ast.walk(ast.parse(code)))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = [
        alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    return names | {(alias.asname or alias.name).split(".")[0] for alias in imports}


def _value(node: ast.expr, values: dict[str, Any]) -> Any:
    """What an expression of names and dots stands for; None where that is not known."""
    if isinstance(node, ast.Name):
        return values.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, values), node.attr, None)
    return None


def _wrong_arguments(call: ast.Call, values: dict[str, Any]) -> list[str]:
    function = _value(call.func, values)
    if function is None or any(isinstance(each, ast.Starred) for each in call.args):
        return []
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return []
    keywords = {each.arg: None for each in call.keywords if each.arg}
    try:
        signature.bind(*[None] * len(call.args), **keywords)
    except TypeError as error:
        return [f"{ast.unparse(call)}: {error}"]
    return []
