"""Which tests are nearest to what changed since the last commit: what `make check` runs, for the edit loop.

A test file is near to a changed file that it is, imports, or names. Where there is none, those near to the modules that
import the changed one are, and so on outwards. It is not all that a change may break: that is `make test`.
"""

import ast
import re
import subprocess
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

from execute_notebooks import find

CODE = ("rflav_lib", "benchmarks", "data_scripts", "tools", "tests")
SEARCHED = {  # tests that look through folders, and so name no file
    "*.md": "tests/test_documentation.py",
    "*.ipynb": "tests/test_notebook_contract.py",
    "configs/*.yaml": "tests/test_train_config.py",
    "results/*.json": "tests/test_measured.py",
}
APART = ("tests/browser/", "tests/test_notebook_papermill.py")
"""Minutes each: stages of their own."""


def changed_files(root: Path) -> list[str]:
    """Paths below `root` that differ from the last commit, new and deleted ones too.

    Raises:
        ValueError: no git repository with a commit there.
    """
    found: set[str] = set()
    for command in (
        ["ls-files", "--others", "--exclude-standard", "-z"],
        ["diff", "--name-only", "--relative", "-z", "HEAD"],
    ):
        done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            why = done.stderr.partition("\n")[0]
            raise ValueError(f"{root}: git cannot say what has changed ({why}); `make test` runs everything")
        found.update(filter(None, done.stdout.split("\0")))
    return sorted(found)


def python_sources(root: Path) -> dict[str, str]:
    """Text of every Python file of ours, by path below `root`."""
    paths = sorted(path for folder in CODE for path in (root / folder).rglob("*.py"))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def module_names(path: str) -> set[str]:
    """What a Python file may be imported as: tools go by their plain names too. None of any other file."""
    if not path.endswith(".py"):
        return set()
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    return {".".join(parts)} | ({parts[-1]} if parts[0] == "tools" else set())


def imported(tree: ast.Module) -> set[str]:
    """Modules, and names in them, that a tree imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def parsed(source: str) -> ast.Module:
    """A source's tree; an empty one if it does not parse, which lint says."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def names_it(source: str, path: str) -> bool:
    """Whether a source holds the path or the name of a file, of a notebook without its ending."""
    name = Path(path).stem if path.endswith(".ipynb") else Path(path).name
    return path in source or bool(re.search(rf"""["'/ ]{re.escape(name)}\b""", source))


def nearest_tests(changed: Iterable[str], sources: Mapping[str, str]) -> dict[str, set[str]]:
    """For each changed file the test files near to it, none if there is none."""
    imports = {path: imported(parsed(source)) for path, source in sources.items()}
    tests = {path for path in sources if Path(path).name.startswith("test_") and not path.startswith(APART)}
    return {path: _near(path, sources, imports, tests) for path in changed}


def _near(
    path: str, sources: Mapping[str, str], imports: Mapping[str, set[str]], tests: set[str]
) -> set[str]:
    if path in tests:
        return {path}
    near = {test for test in tests if names_it(sources[test], path)}
    near |= {test for pattern, test in SEARCHED.items() if fnmatch(path, pattern)} & tests
    ring, seen = {path}, {path}
    while ring:
        names = set().union(*map(module_names, ring))
        around = {other for other, its in imports.items() if its & names}
        near |= around & tests
        if near:
            return near
        ring = around - seen
        seen |= ring
    return near


def notebooks_naming(changed: Iterable[str], root: Path) -> list[str]:
    """Names of the notebooks that name a changed file: what they print may be another now."""
    paths = [path for path in changed if not path.endswith(".ipynb")]
    texts = {path.stem: path.read_text(encoding="utf-8") for path in find([], root / "notebooks")}
    return [name for name, text in texts.items() if any(names_it(text, path) for path in paths)]


def command(root: Path) -> list[str] | None:
    """The run of pytest for what changed below `root`; None if there is nothing to run. Says what it chose, and why."""
    sources = python_sources(root)
    near = nearest_tests(changed_files(root), sources)
    if not near:
        print(
            "nothing has changed since the last commit: no tests to run here, `make test` runs all",
            flush=True,
        )
        return None
    if told := notebooks_naming(near, root):
        print(f'notebooks name what changed: make notebooks NAMES="{" ".join(told)}"', flush=True)
    alone = sorted(path for path, tests in near.items() if not tests)
    if alone:
        print(f"no test is near to {', '.join(alone)}: only `make test` tries what it does", flush=True)
    chosen = sorted(set().union(*near.values()))
    if not chosen:
        return None
    print(f"changed: {', '.join(near)}; test files near to them: {len(chosen)}", flush=True)
    return ["pytest", "-q", "-m", "not slow", *chosen]
