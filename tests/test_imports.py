"""Modules of the library import each other one way, so that each can be read, and loaded, before those that use it."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from changed_tests import imported

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"benchmarks", "data_scripts", "tests", "tools"}


def imported_at_once(tree: ast.Module) -> set[str]:
    """What a module imports while it is loaded: not inside functions, not for type checkers alone."""
    return imported(ast.Module([part for part in tree.body if not isinstance(part, ast.If)], []))


def graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Module -> modules of `sources` that must be loaded before it."""
    found = {}
    for name, source in sources.items():
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = []
        found[name] = {other for other in imported_at_once(tree) if other in sources and other != name}
    return found


def library() -> dict[str, str]:
    """Source of each module of rflav_lib."""
    paths = sorted((ROOT / "rflav_lib").rglob("*.py"))
    dotted = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return {name.removesuffix(".__init__"): path.read_text(encoding="utf-8") for path, name in dotted.items()}


def test_the_library_has_no_circle():
    modules = graph(library())
    assert "rflav_lib.flow" in modules["rflav_lib.sampler"], "the search finds what is there"
    tuple(TopologicalSorter(modules).static_order())


def test_a_circle_is_found():
    sources = {"a": "from b import x", "b": "import c", "c": "def f():\n    import a\n"}
    tuple(TopologicalSorter(graph(sources)).static_order())
    with pytest.raises(CycleError, match="cycle"):
        tuple(TopologicalSorter(graph({**sources, "c": "from a import y"})).static_order())


def test_the_library_stands_alone():
    for name, source in library().items():
        first = {other.split(".")[0] for other in imported_at_once(ast.parse(source))}
        assert not first & OUTSIDE, name
