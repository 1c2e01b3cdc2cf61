"""The paper's tables in Markdown, from the JSON of evaluation runs, each value beside the printed one.

python -m rflav_lib.evaluation.tables results/evaluate-toy.json [more.json ...] [--fusions f.json] [--out tables.md]
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rflav_lib.evaluation import paper, verdicts
from rflav_lib.evaluation.differs import what_differs
from rflav_lib.files import output_file, read_json, whole
from rflav_lib.markdown import markdown_table
from rflav_lib.metrics.comparison import METRICS

Run = dict[str, Any]
TableRow = dict[str, Any]
Line = tuple[str, TableRow, paper.Printed | None]  # name, figures, what the paper prints
FORMAT = 1
FEW_STEPS = 20  # Tables 1.A and 1.B are measured with these
PRINTED_WINDOW = 10
ROUNDING = 1e-6


def read_run(path: str | Path) -> Run:
    """The JSON of a run.

    Raises:
        FileNotFoundError: none there.
        ValueError: another file.
    """
    run = read_json(path)
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise ValueError(f"{path}: not the results of an evaluation (format {FORMAT})")
    return _readable(path, run, lambda: tables([run]))


def read_fusions(path: str | Path) -> Run:
    """The JSON of benchmarks/fusions.py.

    Raises:
        FileNotFoundError: none there. ValueError: another file.
    """
    fusions = read_json(path)
    return _readable(path, fusions, lambda: _table_1a_cost(fusions))


def _readable(path: str | Path, content: Run, use: Callable[[], str]) -> Run:
    """The content, if tables can be made of it: what is missing, or of another type, shows there."""
    try:
        use()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no tables can be made of it ({type(error).__name__}: {error})") from error
    return content


def tables(runs: Sequence[Run], fusions: Run | None = None) -> str:
    """All tables that these runs have rows for, as Markdown.

    Args:
        runs: what `read_run` reads. Runs that differ in nothing but their rows share their tables.
        fusions: JSON of benchmarks/fusions.py, for Table 1.A.
    """
    parts = []
    for run in _merged(runs):
        found = [
            _table_1a_quality(run), _table_1b(run), _table_2(run), _table_3(run), _told_from_real(run),
            _memorisation(run),
        ]  # fmt: skip
        parts += [f"## {run['config']['data']}", what_differs(run), *filter(None, found), _warnings(run)]
    if fusions is not None:
        parts.append(_table_1a_cost(fusions))
    return "\n\n".join(filter(None, parts)) + "\n"


def _merged(runs: Sequence[Run]) -> list[Run]:
    """Runs of equal settings as one, with the rows of all."""
    free = ("rows", "output_dir", "fusions", "batch", "pairs")
    groups: dict[str, Run] = {}
    for run in runs:
        settings = {key: value for key, value in run["config"].items() if key not in free}
        key = json.dumps([settings, run["versions"], run.get("intervals")], sort_keys=True)
        if key in groups:
            known = groups[key]
            rows = known["rows"] + [row for row in run["rows"] if row not in known["rows"]]
            groups[key] = {**known, "rows": rows, "warnings": list({*known["warnings"], *run["warnings"]})}
        else:
            groups[key] = run
    return list(groups.values())


def cell(figure: dict[str, Any] | None) -> str:
    """A figure with its interval, and its limit where that was asked for."""
    if figure is None:
        return "–"
    text = f"{figure['value']:.4g}"
    if figure["low"] is not None:
        text += f" ({figure['low']:.4g} to {figure['high']:.4g})"
    if figure["at_infinity"] is not None:
        text += f"; extrapolated {figure['at_infinity']:.4g}"
    return text


def _column_title(run: Run, metric: str) -> str:
    """The metric, by its own name only if its own network measured it."""
    for row in (run["real"], *run["rows"]):
        if metric in row["figures"]:
            figure = row["figures"][metric]
            network = figure["network"].partition(",")[0]
            own = network.startswith(("I3D", "AudioCLIP"))
            return figure["title"] if own else f"{figure['title']} ({network})"
    return ""


def _metrics(rows: Sequence[TableRow]) -> list[str]:
    return [metric for metric in METRICS if any(metric in row["figures"] for row in rows)]


def _compared(
    title: str, run: Run, rows: Sequence[Line], first: str, others: dict[str, paper.Printed] | None = None
) -> str:
    """A table of rows, ours on the left, the paper's on the right; below, others' models, of which the paper tells."""
    metrics = _metrics([row for _, row, _ in rows])
    head = [first, *(_column_title(run, metric) for metric in metrics)]
    floor = "fad_mmd" in metrics
    head += ["the reference from itself"] * floor + ["paper: FVD", "KVD", "FAD"]
    lines = []
    for name, row, printed in rows:
        figures = row["figures"]
        line = [name, *(cell(figures.get(metric)) for metric in metrics)]
        if floor:
            itself = figures.get("fad_mmd", {}).get("self_distance")
            line.append("–" if itself is None else f"{itself:.4g}" if abs(itself) > ROUNDING else "0")
        lines.append([*line, *_printed_cells(printed)])
    for name, printed in (others or {}).items():
        lines.append([f"paper: {name}", *["–"] * (len(metrics) + floor), *_printed_cells(printed)])
    return f"**{title}**\n\n{markdown_table(head, lines)}"


def _printed_cells(printed: paper.Printed | None) -> list[str]:
    return [f"{printed[key]:.2f}" if printed and key in printed else "–" for key in ("fvd", "kvd", "fad_mmd")]


def _joint(run: Run) -> list[TableRow]:
    return [row for row in run["rows"] if row["task"] == "joint"]


def _table_1a_quality(run: Run) -> str:
    rows = [row for row in _joint(run) if row["steps"] == FEW_STEPS and row["window"] == PRINTED_WINDOW]
    if len({row["fusion"] for row in rows}) < 2:  # with one fusion alone there is nothing to compare
        return ""
    lines = [
        (
            f"{row['name']}, {paper.LETTERS.get(row['fusion'], row['fusion'])}",
            row,
            paper.FUSIONS.get(row["fusion"]),
        )
        for row in sorted(rows, key=lambda row: paper.title_of(row["fusion"]))
    ]
    return _compared("Table 1.A: the three fusions, 20 steps (paper: AIST++)", run, lines, "fusion")


def _table_1b(run: Run) -> str:
    rows = [row for row in _joint(run) if row["steps"] == FEW_STEPS and row["fusion"] == paper.REFERENCE]
    if len({row["window"] for row in rows}) < 2:
        return ""
    lines = [
        (f"{row['name']}, {row['window']} frames", row, paper.WINDOWS.get(row["window"]))
        for row in sorted(rows, key=lambda row: row["window"])
    ]
    return _compared("Table 1.B: window size, fusion (c), 20 steps (paper: AIST++)", run, lines, "window")


def _table_2(run: Run) -> str:
    beside = run["config"]["beside"]
    # as the paper has it: two draws of windows, of which clips have some in both
    lines: list[Line] = [("real against real, from the same clips", run["real"], paper.REAL[beside])]
    for row in _joint(run):
        same = row["window"] == PRINTED_WINDOW and row["fusion"] == paper.REFERENCE
        lines.append(
            (
                f"{row['name']}, {row['steps']} steps",
                row,
                paper.STEPS[beside].get(row["steps"]) if same else None,
            )
        )
    return _compared(
        f"Table 2: joint generation (paper: {paper.SETS[beside]})", run, lines, "", _of(paper.OTHERS, beside)
    )


def _table_3(run: Run) -> str:
    beside = run["config"]["beside"]
    rows = [row for row in run["rows"] if row["task"] != "joint"]
    if not rows:
        return ""
    lines = []
    for row in rows:
        printed = paper.CONDITIONAL[beside].get(row["steps"])
        if printed:
            made = ("fvd", "kvd") if row["task"] == "a2v" else ("fad_mmd",)
            printed = {key: printed[key] for key in made}
        lines.append((f"{row['name']}, {row['task'].upper()}, {row['steps']} steps", row, printed))
    title = f"Table 3: one side for the other (paper: {paper.SETS[beside]}, 200 steps)"
    return _compared(title, run, lines, "", _of(paper.OTHERS_CONDITIONAL, beside))


def _of(others: dict[str, dict[str, paper.Printed]], beside: str) -> dict[str, paper.Printed]:
    return {name: printed[beside] for name, printed in others.items()}


def _told_from_real(run: Run) -> str:
    head, lines = verdicts.told_from_real(run)
    return f"{verdicts.told_text(run)}\n\n{markdown_table(head, lines)}" if lines else ""


def _memorisation(run: Run) -> str:
    head, lines = verdicts.memorised(run)
    return f"{verdicts.memorisation_text(run)}\n\n{markdown_table(head, lines)}" if lines else ""


def _warnings(run: Run) -> str:
    return "\n".join(f"- Warning: {text}" for text in run["warnings"])


def _table_1a_cost(fusions: Run) -> str:
    costs = fusions["costs"]
    lines = []
    for fusion, cost in costs.items():
        seconds, gigabytes = paper.FUSION_COST.get(fusion, (None, None))
        ratios = paper.cost_ratios(fusion)
        printed = ["–"] * 4 if ratios is None else [
            f"{seconds:.2f} s", f"{ratios[0]:.2f}", f"{gigabytes:.1f} GB", f"{ratios[1]:.2f}",
        ]  # fmt: skip
        lines.append([
            paper.title_of(fusion), f"{1000 * cost['median_seconds']:.1f} ms", f"{cost['ratios']['time']:.2f}",
            f"{cost['peak_bytes'] / 1e6:,.0f} MB", f"{cost['ratios']['memory']:.2f}", *printed,
        ])  # fmt: skip
    head = [
        "fusion", "time", "over (c)", "peak memory", "over (c)", "paper: time", "over (c)", "memory", "over (c)",
    ]  # fmt: skip
    setting, where = fusions["setting"], fusions["provenance"]
    text = (
        f"Ours: one forward of a full window, `{setting['size']}` size, {setting['dtype']}, batch {setting['batch']}, "
        f"on {where['gpu'] or where['processor']}, median of {setting['repeats']} in turns. Paper: a sample of 16 "
        f"frames on an RTX 4090. Made by `{fusions['command']}`."
    )
    load = where.get("load_before")
    if load and load > 0.5 * where["cores"]:
        text += f" The machine had other work (load {load}): do not trust the times."
    return f"**Table 1.A: cost of the three fusions**\n\n{markdown_table(head, lines)}\n\n{text}"


def write_tables(path: str | Path, text: str) -> Path:
    """Write them, whole or not at all."""
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return Path(path)


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rflav_lib.evaluation.tables", description=__doc__.splitlines()[0]
    )
    parser.add_argument("runs", nargs="+", help="results.json of evaluation runs")
    parser.add_argument("--fusions", help="JSON of benchmarks/fusions.py, for Table 1.A")
    parser.add_argument("--out", type=output_file, help="a .md file; else the tables are printed")
    options = parser.parse_args(arguments)
    try:
        fusions = read_fusions(options.fusions) if options.fusions else None
        text = tables([read_run(path) for path in options.runs], fusions)
        print(write_tables(options.out, text) if options.out else text.rstrip())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
