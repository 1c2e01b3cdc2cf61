"""Takes definitions out of a notebook without running it, so that tests can compare them with the library.

Only imports, functions, classes and simple constants of the code cells are executed, in their order. Loops,
prints, plots and training stay where they are, so this takes milliseconds however long the notebook runs.
"""

import ast
import builtins
from pathlib import Path
from types import SimpleNamespace

import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def code_cells(path: str | Path) -> list[str]:
    """Sources of the code cells of a notebook, in order.

    Args:
        path: a file, or the name of a notebook in `notebooks/` with or without ".ipynb" ("02_flow_matching").

    Raises:
        FileNotFoundError: no such notebook.
    """
    found = _find(path)
    return [cell.source for cell in nbformat.read(found, as_version=4).cells if cell.cell_type == "code"]


def definitions(path: str | Path) -> SimpleNamespace:
    """What the notebook defines: every import, function, class and simple constant, as attributes.

    A constant is simple if it is a literal, or an expression of literals and names defined so far with no
    function call in it (`SCALE = 1 / 3`, `Weighting = Literal["a", "b"]`). A name that two cells define as a
    function or class is an error: nobody could say which one a test has compared.

    Args:
        path: as for `code_cells`.

    Raises:
        ValueError: a function or class is defined twice, or a definition does not run on its own.
    """
    found = _find(path)
    namespace: dict[str, object] = {"__name__": f"notebook_{found.stem}"}
    defined: dict[str, int] = {}
    for number, source in enumerate(code_cells(found), start=1):
        for node in ast.parse(source, filename=f"{found.name}, code cell {number}").body:
            if not _is_wanted(node, namespace):
                continue
            name = getattr(node, "name", None)
            if name in defined:
                raise ValueError(
                    f"{found.name} defines {name} in code cells {defined[name]} and {number}: rename one"
                )
            if name is not None:
                defined[name] = number
            _execute(node, namespace, f"{found.name}, code cell {number}")
    return SimpleNamespace(**{name: value for name, value in namespace.items() if not name.startswith("__")})


def _find(path: str | Path) -> Path:
    path = Path(path)
    for candidate in (path, NOTEBOOKS / path.name, NOTEBOOKS / f"{path.name}.ipynb"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no notebook {path}: give a file, or a name in {NOTEBOOKS}")


def _is_wanted(node: ast.stmt, namespace: dict[str, object]) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
        return True
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return False
    return all(isinstance(target, ast.Name) for target in targets) and _is_simple(value, namespace)


def _is_simple(value: ast.expr, namespace: dict[str, object]) -> bool:
    """Whether evaluating `value` calls nothing and needs nothing that was not taken over."""
    forbidden = (
        ast.Call | ast.Lambda | ast.comprehension | ast.Await | ast.Yield | ast.NamedExpr | ast.JoinedStr
    )
    for part in ast.walk(value):
        if isinstance(part, forbidden):
            return False
        if isinstance(part, ast.Name) and part.id not in namespace and not hasattr(builtins, part.id):
            return False
    return True


def _execute(node: ast.stmt, namespace: dict[str, object], where: str) -> None:
    module = ast.Module(body=[node], type_ignores=[])
    try:
        exec(compile(module, where, "exec"), namespace)  # noqa: S102 - our own notebooks, that is the point
    except Exception as error:
        raise ValueError(f"{where}, line {node.lineno}: {type(error).__name__}: {error}") from error
