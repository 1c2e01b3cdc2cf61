"""Data-flow drawings made from the code: a module is run once, and what autograd recorded of it is drawn.

A grey box is a child module that was called, a white one an operation between them, an arrow a tensor that
went from one to the next. Nothing is typed in by hand, so a drawing cannot disagree with the code.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from rflav_lib.view import style

OPERATIONS = {"Add": "+", "Mul": "×", "Mean": "mean", "Cat": "concat", "SplitWithSizes": "split"}
"""Beginnings of the names of the autograd nodes that are shown; reshapes and the like are passed through."""

BRANCHES = ("video", "audio")


@dataclass(eq=False)
class Node:
    """One box: its name, its kind (input, module, operation, output) and the nodes it hears from."""

    name: str
    kind: str
    sources: list["Node"] = field(default_factory=list)

    def hears(self, other: "Node") -> bool:
        """Whether anything flows from `other` to here."""
        return self is other or any(source.hears(other) for source in self.sources)


class DataFlow:
    """What flows where in one call of `module`.

    Args:
        module: its direct children become boxes; what happens inside them stays hidden. Returns a tensor a branch.
        inputs: float tensors, by the name to show, in the order of the module's arguments.

    Attributes:
        nodes: all nodes, each behind those it hears from.
    """

    def __init__(self, module: nn.Module, inputs: dict[str, Tensor]) -> None:
        self.nodes: list[Node] = []
        self._by_grad: dict[Any, Node] = {}  # its keys keep the autograd nodes alive, and so distinct
        leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in inputs.items()}
        self._by_leaf = {id(leaf): self._add(Node(name, "input")) for name, leaf in leaves.items()}
        hooks = [
            child.register_forward_hook(self._recorder(name), with_kwargs=True)
            for name, child in module.named_children()
        ]
        try:
            with torch.enable_grad():
                results = module(*leaves.values())
        finally:
            for hook in hooks:
                hook.remove()
        for name, result in zip(BRANCHES, results, strict=True):
            self._add(Node(name, "output", self._origin(result)))
        self._by_grad.clear()

    def find(self, name: str, kind: str = "module") -> list[Node]:
        """The nodes of that name and kind, in the order in which they were called."""
        return [node for node in self.nodes if (node.name, node.kind) == (name, kind)]

    def _add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def _recorder(self, name: str) -> Callable[..., None]:
        def record(_child: nn.Module, args: tuple, kwargs: dict[str, Any], result: Tensor | tuple) -> None:
            given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            called = self._add(Node(name, "module", _distinct(self._origin(value) for value in given)))
            for tensor in result if isinstance(result, tuple) else (result,):
                self._by_grad[tensor.grad_fn] = called

        return record

    def _origin(self, tensor: Tensor) -> list[Node]:
        """The nodes that `tensor` comes from; none for a constant such as a mask."""
        if id(tensor) in self._by_leaf:
            return [self._by_leaf[id(tensor)]]
        return self._walk(tensor.grad_fn) if tensor.grad_fn is not None else []

    def _walk(self, grad_fn: Any) -> list[Node]:
        """Back through what autograd recorded, to the nearest nodes that are shown."""
        if grad_fn in self._by_grad:
            return [self._by_grad[grad_fn]]
        if hasattr(grad_fn, "variable"):
            return self._origin(grad_fn.variable)
        behind = _distinct(self._walk(before) for before, _ in grad_fn.next_functions if before is not None)
        for beginning, symbol in OPERATIONS.items():
            if grad_fn.name().startswith(f"{beginning}Backward"):
                self._by_grad[grad_fn] = self._add(Node(symbol, "operation", behind))
                return [self._by_grad[grad_fn]]
        return behind


def _distinct(groups: Iterable[list[Node]]) -> list[Node]:
    return list(dict.fromkeys(node for group in groups for node in group))


def draw(flow: DataFlow, axis: Axes, title: str = "") -> None:
    """Draw `flow` from top to bottom: the residual streams at the sides, what acts on them further in.

    Thick arrows touch the middle or cross it: they carry one branch to the other. A dot is where a stream is tapped.
    A dashed input is unused.
    """
    places, boxes = _places(flow), {}
    used = {source for node in flow.nodes for source in node.sources}
    for node in flow.nodes:
        round_box = node.kind == "operation" and len(node.name) == 1
        dashed = node.kind == "input" and node not in used
        text = axis.text(
            *places[node],
            node.name.replace("_", "\n"),
            ha="center",
            va="center",
            fontsize=6.5,
            zorder=1,  # before the arrows, which end where the boxes were last drawn
            color="grey" if dashed else "black",
            bbox={
                "boxstyle": "circle,pad=0.1" if round_box else "round,pad=0.25",
                "facecolor": FILL[node.kind],
                "edgecolor": "grey" if dashed else "black",
                "linestyle": "--" if dashed else "-",
            },
        )
        boxes[node] = text.get_bbox_patch()
    for node in flow.nodes:
        for source in node.sources:
            start, end = places[source], places[node]
            taps = _taps(flow, places, source, node)
            if taps:
                start = (start[0], end[1])
                axis.plot(*start, marker="o", markersize=2.5, color="black", zorder=2)
            elif abs(start[0] - MIDDLE) > MIDDLE and node.kind == "module":
                end = (end[0], end[1] - 0.25)  # past what the stream holds in this row
            crosses = (start[0] - MIDDLE) * (end[0] - MIDDLE) <= 0
            axis.annotate(
                "",
                end,
                start,
                zorder=3 if crosses else 2,
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": style.COLOURS[1] if crosses else "black",
                    "linewidth": 1.8 if crosses else 0.7,
                    "connectionstyle": _way(start, end),
                    "patchA": None if taps else boxes[source],
                    "patchB": boxes[node],
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
            )
    lowest = min(y for _, y in places.values())
    axis.set(xlim=(-1.75, 2 * MIDDLE + 1.75), ylim=(lowest - 0.7, 0.7), title=title)
    axis.axis("off")


FILL = {"input": "#fff6cc", "module": "#d9d9d9", "operation": "white", "output": "#fff6cc"}
# columns of the video half, whose stream is at 0; the audio half mirrors it around MIDDLE
CONDITIONS, INNER, MIDDLE = -1.15, 1.3, 2.9


def _taps(flow: DataFlow, places: dict[Node, tuple[float, float]], source: Node, node: Node) -> bool:
    """Whether `source` runs on past `node` in its stream, so that the arrow can leave the stream beside the node."""
    column, height = places[source][0], places[node][1]
    if column not in (0.0, 2 * MIDDLE) or places[node][0] == column:
        return False
    runs_on = [other for other in flow.nodes if source in other.sources and places[other][0] == column]
    return any(places[other][1] < height for other in runs_on)


def _way(start: tuple[float, float], end: tuple[float, float]) -> str:
    """How an arrow runs, in matplotlib's words: around the boxes of its own column, and those of the next.

    Conditions, outermost, run down and then inwards; what skips boxes of its own column bends; all others are straight.
    """
    column = abs(start[0] - MIDDLE)
    if column > MIDDLE:
        return "angle,angleA=90,angleB=0,rad=4"
    if start[0] != end[0] or start[1] - end[1] < 1.5 or column == MIDDLE:
        return "arc3,rad=0"
    outwards = 1.4 / (start[1] - end[1])  # as far, however many rows are skipped
    return f"arc3,rad={outwards if start[0] > MIDDLE else -outwards}"


def _places(flow: DataFlow) -> dict[Node, tuple[float, float]]:
    """Column and height of every node: as low as those that hear it allow, in the half of its branch."""
    hearers = {node: [other for other in flow.nodes if node in other.sources] for node in flow.nodes}
    depth: dict[Node, int] = {}
    for node in flow.nodes:
        depth[node] = 1 + max((depth[source] for source in node.sources), default=-1)
    last = max(depth.values())
    row: dict[Node, int] = {}
    for node in sorted(flow.nodes, key=depth.__getitem__, reverse=True):
        row[node] = (
            0 if node.kind == "input" else min((row[other] - 1 for other in hearers[node]), default=last)
        )
    stream: set[Node] = set()
    for node in flow.nodes:
        if node.name in BRANCHES or (node.name == "+" and stream.intersection(node.sources)):
            stream.add(node)
    places = {}
    for node in flow.nodes:
        branch = _branch(node, lambda n: hearers[n]) or _branch(node, lambda n: n.sources)
        inwards = 0.0 if node in stream else CONDITIONS if node.kind == "input" else INNER
        column = {"video": inwards, "audio": 2 * MIDDLE - inwards}.get(branch or "", MIDDLE)
        places[node] = (float(column), -float(row[node]))
    return places


def _branch(node: Node, neighbours: Callable[[Node], list[Node]]) -> str | None:
    """The branch in the node's name, or the only one among the nearest named nodes; None if there are two."""
    own = [branch for branch in BRANCHES if branch in node.name]
    if own:
        return own[0]
    found = {_branch(other, neighbours) for other in neighbours(node)}
    return found.pop() if len(found) == 1 else None
