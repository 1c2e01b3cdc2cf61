"""What `benchmarks.ablations` measured, as tables: beside the paper's figures, and whether the two agree."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure, SubFigure

from rflav_lib.evaluation.paper import REFERENCE, cost_ratios
from rflav_lib.experiments import SIDES, over_seeds
from rflav_lib.markdown import markdown_table
from rflav_lib.view.style import COLOURS

READ = ("class seen", "class heard", "median offset (ms)", "events within 100 ms")


@dataclass(frozen=True)
class Claim:
    """What the paper says about a setting.

    Attributes:
        beside: the setting that it is set against.
        text: the claim, in words.
        ours, theirs: FVD and FAD of the setting and of the one beside it; None where the paper gives none, or where
            that side is not made.
        source: the table.
    """

    beside: str
    text: str
    ours: tuple[float | None, float | None] = (None, None)
    theirs: tuple[float | None, float | None] = (None, None)
    source: str = ""


BLOCK_C, STEPS_2, STEPS_20 = (50.92, 8.40), (86.53, 10.49), (80.19, 9.88)
_OF_FUSIONS, _OF_WINDOWS = "Table 1.A, AIST++", "Table 1.B, AIST++, 20 steps for each window"
_OF_STEPS, _OF_SIDES = "Table 2, Landscape", "Tables 2 and 3, Landscape, N = 20"
CLAIMS: dict[str, Claim] = {
    "joint_attention": Claim("base", "(c) is better than (a) overall", (53.38, 8.70), BLOCK_C, _OF_FUSIONS),
    "average": Claim("base", "(c) is better than (b) overall", (51.31, 8.30), BLOCK_C, _OF_FUSIONS),
    "window-5": Claim("base", "10 frames are best", (65.42, 8.46), BLOCK_C, _OF_WINDOWS),
    "window-20": Claim("base", "10 frames are best", (77.55, 8.53), BLOCK_C, _OF_WINDOWS),
    "theta-0.1": Claim("base", "none: theta is fixed to 0.2"),
    "theta-0.5": Claim("base", "none: theta is fixed to 0.2"),
    "uniform": Claim("base", "logit-normal is best (cites Esser et al., no figures)"),
    "full-attention": Claim("base", 'none: "temporal attention"; the released weights have a causal mask'),
    "steps-1": Claim("steps-2", "none: the fewest are N = 2"),
    "steps-10": Claim("steps-2", "more steps are better", (85.44, 9.61), STEPS_2, _OF_STEPS),
    "steps-20": Claim("steps-2", "more steps are better", STEPS_20, STEPS_2, _OF_STEPS),
    "a2v": Claim("base", "none against joint generation", (94.47, None), STEPS_20, _OF_SIDES),
    "v2a": Claim("base", "none against joint generation", (None, 9.34), STEPS_20, _OF_SIDES),
}
FUSION_OF = {"base": REFERENCE}
"""Settings whose fusion goes by another name than they."""
Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]


def by_setting(content: Mapping[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:
    """Setting -> seed -> figures."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for run in content["runs"]:
        found.setdefault(run["setting"], {})[run["seed"]] = run["figures"]
    return found


def value(figures: Mapping[str, Any], name: str) -> float:
    """A figure of a run; NaN where there was nothing to measure."""
    found = figures[name]
    found = found["value"] if isinstance(found, dict) else found
    return math.nan if found is None else float(found)


def difference(runs: Runs, name: str, beside: str, figure: str) -> dict[str, float] | None:
    """Mean over seeds of a setting minus the one beside it, pair by pair; None without a seed that both have."""
    seeds = sorted(runs.get(name, {}).keys() & runs.get(beside, {}).keys())
    if not seeds:
        return None
    return over_seeds([value(runs[name][seed], figure) - value(runs[beside][seed], figure) for seed in seeds])


def direction(found: Mapping[str, float]) -> str:
    """Whether a difference between distances is one: "farther" from real clips, "nearer", or "undecided"."""
    if found["low"] > 0:
        return "farther"
    return "nearer" if found["high"] < 0 else "undecided"


def signed(found: Mapping[str, float]) -> str:
    """A difference between distances, its interval where there is one, and its direction."""
    limits = "" if math.isnan(found["low"]) else f" ({found['low']:+.3g} to {found['high']:+.3g})"
    return f"{found['value']:+.3g}{limits}: {direction(found)}"


def made(name: str) -> tuple[int, ...]:
    """The sides that a setting makes: the other one is given, and says nothing about the model."""
    return {"a2v": (0,), "v2a": (1,)}.get(name, (0, 1))


def verdict(runs: Runs, name: str, side: int) -> tuple[str, str]:
    """What we find for a side, and whether the paper agrees."""
    claim = CLAIMS[name]
    found = difference(runs, name, claim.beside, f"{SIDES[side]} distance") if side in made(name) else None
    if found is None:
        return "", ""
    ours = direction(found)
    told = signed(found)
    printed, beside = claim.ours[side], claim.theirs[side]
    if printed is None or beside is None:
        return told, "no figure"
    if ours == "undecided":
        return told, "cannot tell"
    theirs = "farther" if printed > beside else "nearer"
    return told, "yes" if theirs == ours else "no"


def shown(values: Sequence[float], scale: float = 1.0, most: float = math.inf) -> str:
    """Mean over seeds and its 95 % interval, which is cut at 0 and `most`: no figure of these tables lies beyond."""
    known = [scale * v for v in values if not math.isnan(v)]
    if not known:
        return "-"
    found = over_seeds(known)
    if math.isnan(found["low"]):
        return f"{found['value']:.3g}"
    return f"{found['value']:.3g} ({max(found['low'], 0):.3g} to {min(found['high'], most):.3g})"


def quality(runs: Runs) -> str:
    """What was measured, a row a setting."""
    head = ("setting", "seeds", "class seen (%)", "class heard (%)", "A/V offset (ms)", "events within 100 ms (%)",
            "picture distance", "sound distance")  # fmt: skip
    rows = []
    for name, seeds in runs.items():
        cells = [
            shown(
                [value(figures, figure) for figures in seeds.values()],
                *((1,) if "(ms)" in figure else (100, 100)),
            )
            for figure in READ
        ]
        cells += [shown([value(figures, f"{side} distance") for figures in seeds.values()]) for side in SIDES]
        rows.append([name, str(len(seeds)), *cells])
    return markdown_table(head, rows)


def findings(runs: Runs) -> str:
    """Each setting against the one beside it, and the paper's figures."""
    head = ("setting", "against", "the paper says", "paper: FVD", "ours: picture", "agree?", "paper: FAD",
            "ours: sound", "agree?", "where")  # fmt: skip
    rows = []
    for name, claim in CLAIMS.items():
        if difference(runs, name, claim.beside, "picture distance") is None:
            continue
        cells = []
        for side in range(2):
            pair = claim.ours[side], claim.theirs[side]
            cells += ["-" if None in pair else f"{pair[0]} against {pair[1]}", *verdict(runs, name, side)]
        rows.append([name, claim.beside, claim.text, *cells, claim.source])
    return "\n\n".join([markdown_table(head, rows), *equal_steps(runs)])


def equal_steps(runs: Runs) -> list[str]:
    """Windows are compared at one N, in the paper at one number of steps: what that changes, as far as was measured."""
    if not runs.keys() & {"window-5", "window-20"}:
        return []
    told = (
        "Windows: Table 1.B was taken at 20 denoising steps for each, ours at N = 4 for each, which is 20 steps for 5 "
        "frames, 40 for 10 and 80 for 20."
    )
    found = [difference(runs, "window-5", "steps-2", f"{side} distance") for side in SIDES]
    if all(found):
        sides = ", ".join(f"{side} {signed(each)}" for side, each in zip(SIDES, found, strict=True) if each)
        told += f" At 20 steps both, window-5 minus steps-2 (10 frames, N = 2): {sides}. 20 frames have no such pair."
    return [told]


def prices(costs: Mapping[str, Mapping[str, float]]) -> str:
    """What a further frame costs, as ratios to base."""
    head = ("setting", "parameters", "operations", "time", "memory", "paper: time", "paper: memory")
    base, rows = costs["base"], []
    for name, cost in costs.items():
        ratios = [f"{cost[key] / base[key]:.2f}" for key in ("parameters", "operations", "seconds", "bytes")]
        paper = cost_ratios(FUSION_OF.get(name, name))
        rows.append([name, *ratios, *(["-", "-"] if paper is None else [f"{ratio:.2f}" for ratio in paper])])
    return markdown_table(head, rows)


def tables(content: Mapping[str, Any]) -> str:
    """All tables, Markdown."""
    runs, setting = by_setting(content), content["setting"]
    seeds = max((len(of) for of in runs.values()), default=0)
    windows = {value["picture distance"]["windows"] for of in runs.values() for value in of.values()}
    said = (
        f"{setting['world']}, {setting['training steps']} training steps, {setting['clips']} clips of "
        f"{setting['frames']} frames a model, N = {setting['steps per frame']} unless said, means over up to {seeds} "
        f"seeds with 95 % t intervals, cut at 0 and 100 %. Distances: Fréchet, {setting['features']}, "
        f"N = {', '.join(map(str, sorted(windows)))} windows a set; they depend on N."
    )
    parts = [
        said,
        quality(runs),
        'A minus B, by seed; "farther": farther from real clips, by an interval that does not hold 0.',
        findings(runs),
        "A further frame, as ratios to base:",
        prices(content["costs"]),
    ]
    return "\n\n".join(parts)


def differences(content: Mapping[str, Any], figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
    """Each setting minus the one beside it, picture and sound: the seeds as dots, their mean with its 95 % interval,
    coloured where that leaves out 0. To the right of 0 a setting is farther from real clips.

    Args:
        content: as read from the JSON file.
        figure: to draw into; a new one by default.
    """
    runs = by_setting(content)
    figure = figure or plt.figure(figsize=(9.5, 4.2), layout="constrained")
    axes = figure.subplots(1, len(SIDES), sharey=True)
    names = [name for name in CLAIMS if difference(runs, name, CLAIMS[name].beside, "picture distance")]
    for side, axis in enumerate(axes):
        title = f"{SIDES[side]} distance"
        for row, name in enumerate(names):
            beside = CLAIMS[name].beside
            found = difference(runs, name, beside, title)
            if found is None or side not in made(name):
                continue
            seeds = sorted(runs[name].keys() & runs[beside].keys())
            each = [value(runs[name][seed], title) - value(runs[beside][seed], title) for seed in seeds]
            colour = {"farther": COLOURS[1], "nearer": COLOURS[2]}.get(direction(found), "0.45")
            axis.plot(each, [row] * len(each), "o", color=colour, alpha=0.5, markersize=4)
            if not math.isnan(found["low"]):
                axis.plot([found["low"], found["high"]], [row, row], "-", color=colour, lw=1.5)
            axis.plot([found["value"]], [row], "|", color=colour, markersize=14, markeredgewidth=2)
        axis.axvline(0, color="0.5", linestyle=":", linewidth=1)
        axis.set_xscale("symlog", linthresh=1)
        axis.set_title(f"{title}: a setting minus the one it is set against", fontsize=9)
        axis.set_xlabel("nearer to real clips  <  0  <  farther", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(names)), [f"{name} - {CLAIMS[name].beside}" for name in names])
    axes[0].invert_yaxis()
    return figure
