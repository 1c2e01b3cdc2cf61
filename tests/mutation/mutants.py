"""Small mistakes put into a module, one at a time: what a test of it should notice.

Each mutant has one operator, comparison, constant, argument, call or statement changed. Left alone are annotations,
docstrings and the texts of errors: they are for readers.
"""

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISONS: dict[type, tuple[type, ...]] = {  # the boundary moved, and the opposite
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
NO_VALUES = {"F", "cls", "math", "nn", "self", "torch"}  # `torch.cat(...)` is no method called on a value
FOR_READERS = {"annotation", "returns", "type_params"}  # fields that no test can tell anything about


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake in it.

    Attributes:
        name: function, and the source before and after: it stays when lines move.
        line: where.
        code: the module, compiled.
    """

    name: str
    line: int
    code: CodeType


def mutants(source: str, path: str) -> Iterator[Mutant]:
    """Every mutant of a module's `source`; `path` is what tracebacks call it."""
    tree = ast.parse(source)
    seen: Counter[str] = Counter()
    for parent, field, index, where in _places(tree, ""):
        held = getattr(parent, field)
        child = held if index is None else held[index]
        for new in _replacements(child, parent):
            if ast.unparse(new) == ast.unparse(child):
                continue
            ast.copy_location(new, child)
            _put(parent, field, index, new)
            code = compile(ast.fix_missing_locations(tree), path, "exec")
            _put(parent, field, index, child)
            name = f"{where or 'module'}: {_text(child)} → {_text(new)}"
            seen[name] += 1
            yield Mutant(name if seen[name] == 1 else f"{name} ({seen[name]})", child.lineno, code)


def _places(node: ast.AST, where: str) -> Iterator[tuple[ast.AST, str, int | None, str]]:
    """Expressions and statements below `node` that may be changed, each as (parent, field, index, function)."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = f"{where}.{node.name}".lstrip(".")
    for field, value in ast.iter_fields(node):
        if field in FOR_READERS:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(
                child, ast.expr | ast.stmt | ast.arg | ast.arguments | ast.keyword | ast.comprehension
            ):
                if isinstance(child, ast.expr | ast.stmt) and not isinstance(node, ast.JoinedStr):
                    yield node, field, index, where
                if not isinstance(child, ast.Raise) and not _is_for_readers(child):
                    yield from _places(child, where)


def _is_for_readers(node: ast.AST) -> bool:
    """A docstring, or a type that has been given a name."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    value = node.value if isinstance(node, ast.Assign) else None
    return (
        isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name) and value.value.id[0].isupper()
    )


def _replacements(node: ast.AST, parent: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """What could stand there by mistake."""
    match node:
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            yield _with(node, op=OPERATORS[type(op)]())
        case ast.BinOp(op=ast.MatMult()):
            yield _with(node, left=node.right, right=node.left)
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp():
            yield node.operand
        case ast.Compare():
            for index, op in enumerate(node.ops):
                for other in COMPARISONS[type(op)]:
                    yield _with(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])
        case ast.IfExp():
            yield _with(node, body=node.orelse, orelse=node.body)
        case ast.Constant() if not isinstance(parent, ast.Expr):
            yield from _constants(node)
        case ast.Call():
            yield from _calls(node)
        case ast.FunctionDef(decorator_list=decorators) if any(isinstance(d, ast.Call) for d in decorators):
            yield _with(node, decorator_list=[])
        case ast.Raise() | ast.AugAssign():
            yield ast.Pass()
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()


def _constants(node: ast.Constant) -> Iterator[ast.expr]:
    match node.value:
        case bool() as value:
            yield ast.Constant(not value)
        case int() | float() as value:
            yield ast.Constant(value + 1)
            if value not in (0, 1):  # halved as well: what is large may hide one more
                yield ast.Constant(type(value)(value / 2))
        case str() as value:
            yield ast.Constant(f"{value}X")


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    """Neighbouring arguments swapped, an argument by name left out, a method not called."""
    in_any_order = ast.unparse(node.func) in ("max", "min", "math.isclose")
    for index in range(0 if in_any_order else len(node.args) - 1):
        arguments = [*node.args]
        arguments[index : index + 2] = arguments[index + 1], arguments[index]
        if not any(isinstance(argument, ast.Starred) for argument in node.args[index : index + 2]):
            yield _with(node, args=arguments)
    for index in range(len(node.keywords)):
        yield _with(node, keywords=node.keywords[:index] + node.keywords[index + 1 :])
    match node.func:
        case ast.Attribute(value=ast.Name(id=owner)) if owner in NO_VALUES:
            pass
        case ast.Attribute(value=ast.Name() | ast.Call() | ast.Subscript() | ast.BinOp() as value):
            yield value


def _with(node: ast.AST, **changes: object) -> ast.expr:
    new = copy.copy(node)
    for name, value in changes.items():
        setattr(new, name, value)
    return new


def _put(parent: ast.AST, field: str, index: int | None, child: ast.AST) -> None:
    if index is None:
        setattr(parent, field, child)
    else:
        getattr(parent, field)[index] = child


def _text(node: ast.AST, longest: int = 90) -> str:
    """The first line of a node's source, shortened in its middle."""
    text = ast.unparse(node).splitlines()[0]
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 2 :]}"
