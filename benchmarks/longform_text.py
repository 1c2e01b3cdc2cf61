"""What `longform.py` tells a terminal of its report."""

from typing import Any

STEPS = {"jump": "second", "rise": "tenth", "last": "last"}
INTERVALS = (
    "intervals: 95 %, over clips of this very model; what another training would change is not in them"
)
Figures = dict[str, Any]


def lines(report: Figures) -> list[str]:
    """What a terminal is told."""

    def shown(cell: Figures) -> str:
        if cell["low"] is None:
            return f"{cell['value']:.3g} (too few clips for an interval)"
        return f"{cell['value']:.3g} ({cell['low']:.3g} to {cell['high']:.3g})"

    told = [INTERVALS]
    for title, curve in report["curves"].items():
        if "left out" in curve:
            told.append(f"{title}: left out, {curve['left out']}")
        for step, place in STEPS.items():
            if step in curve:
                cells = ", ".join(f"{kind} {shown(cell)}" for kind, cell in curve[step].items())
                told.append(f"{title}, climb from the first window to the {place}: {cells}")
        if "mean" in curve:
            cells = ", ".join(f"{kind} {shown(cell)}" for kind, cell in curve["mean"].items())
            told.append(f"{title}, mean over all windows: {cells}")
    for length, found in report["loops"].items():
        if not isinstance(found, dict):
            continue
        for score, row in found["test"].items():
            told.append(
                f"loops, {length}, {score}: {row['hits']} of {row['looping clips']} found, "
                f"{row['false alarms']} of {row['other clips']} false alarms; looping: "
                f"generated {shown(found['generated']['share'][score])}, real {shown(found['real']['share'][score])}"
            )
    for end, sets in report["sync"]["classifier"].items():
        for kind, pairs in sets.items():
            cells = ", ".join(f"{pair} {shown(cell)}" for pair, cell in pairs.items())
            told.append(f"sync classifier, {end} 4 s, {kind}: {cells}")
    for title in ("AV-Align", "beats"):
        for kind, cell in report["sync"].get(title, {}).items():
            told.append(
                f"{title} minus chance, {kind}: {cell['excess']:.3f} ({cell['low']:.3f} to {cell['high']:.3f})"
            )
    return told
