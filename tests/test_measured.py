"""Tables in the documents are what the files in results/ hold: each row is computed anew and looked for on the page."""

import json
from typing import Any

import pytest

from rflav_lib.experiments import SIDES
from rflav_lib.metrics.toy.figures import table
from rflav_lib.view import ablations, forgetting, remedies
from tests.documentation import ROOT

README, RESULTS = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "results/README.md"))


def measured(name: str) -> dict[str, Any]:
    """A file of results/."""
    return json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))


def missing(rows: str | list[str], page: str) -> list[str]:
    """The rows of a table that do not stand on the page."""
    rows = rows.splitlines() if isinstance(rows, str) else rows
    assert rows
    return [row for row in rows if row not in page.splitlines()]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def between(found: dict[str, float], digits: str) -> str:
    """A value and its interval."""
    return f"{found['value']:{digits}} ({found['low']:{digits}} to {found['high']:{digits}})"


def to_step(value: float, step: int) -> float:
    """Rounded to tens and the like; a step of 1 changes nothing."""
    return value if step == 1 else step * round(value / step)


def test_what_is_not_on_the_page_is_noticed():
    assert missing("| a | b |", "text\n| a | c |") == ["| a | b |"] and missing("| a |", "| a |\n") == []


@pytest.mark.parametrize("page", [README, RESULTS], ids=["README", "results"])
def test_the_bundled_model(page):
    assert missing(table(measured("toy-landscape")["figures"]), page) == []


def test_classes_and_dances():
    assert missing(table(measured("toy-landscape")["by class"]["generated"]), RESULTS) == []
    assert missing(table(measured("toy-dance")["figures"]), RESULTS) == []


def test_speed():
    models = [measured(name)["sampler"] for name in ("generation", "generation-middle")]
    ends = {"float32": ", the same numbers", "bf16": ""}
    rows = []
    for name in ("fast float32", "fast bf16", "compiled float32", "compiled bf16"):
        told = name + ends[name.split()[1]] + ("; a minute of warm-up" if "compiled" in name else "")
        ratios = [
            model["plain float32"][figure] / model[name][figure]
            for model in models
            for figure in ("first frame (s)", "further frame (s)")
        ]
        rows.append(row(told, *(f"{ratio:.1f}" for ratio in ratios)))
    assert missing(rows, README) == []
    assert all(30 < model["compiled bf16"]["warm-up (s)"] < 90 for model in models), "a minute of warm-up"


def test_speed_without_bf16():
    found = measured("generation-avx2")
    plain, rows = found["sampler"]["plain float32"], []
    for name, stream in (("fast float32", "float32"), ("compiled float32", "compiled float32")):
        ratios = [
            plain[figure] / found["sampler"][name][figure]
            for figure in ("first frame (s)", "further frame (s)")
        ]
        cells = [*ratios, found["stream_frames_per_second"][f"{stream}, N = 2"]]
        rows.append(row(name, *(f"{cell:.1f}" for cell in cells)))
    assert missing(rows, RESULTS) == []


def test_streams():
    found = measured("generation")["stream_frames_per_second"]
    rows = [
        row(
            f"N = {n}", *(f"{found[f'{kind}, N = {n}']:.0f}" for kind in ("float32", "bf16", "compiled bf16"))
        )
        for n in (2, 6)
    ]
    assert missing(rows, README) == []


def test_long_videos():
    curves = measured("longform-toy-landscape")["curves"]
    watcher, listener = "stand-in toy watcher", "stand-in toy listener"
    shown = {
        "Fréchet distance of pictures": (f"Fréchet distance, {watcher}", "+.1f", 1),
        "Fréchet distance of sounds": (f"Fréchet distance, {listener}", "+,.0f", 10),
        "drift of pictures from their own beginning": (f"drift, {watcher}", "+.1f", 1),
        "drift of sounds": (f"drift, {listener}", "+.1f", 1),
        "drift of plain pixels, mostly colours": ("drift, PixelStatistics(4x4; a stand-in)", "+.3f", 1),
    }
    rows = []
    for name, (title, digits, step) in shown.items():
        climbs = [curves[title][until]["beyond"] for until in ("rise", "last")]
        rounded = [{end: to_step(climb[end], step) for end in climb} for climb in climbs]
        rows.append(row(name, *(between(climb, digits) for climb in rounded)))
    assert missing(rows, RESULTS) == []


def test_given_sides():
    sets = measured("conditions")["sets"]
    rows = []
    for scale, told in ((0, "0"), (1000, "1000, the default"), (3000, "3000")):
        cells, swapped = [], []
        for side in ("a2v", "v2a"):
            of = sets[f"{side} {scale}"]
            alike = round(of["seen as heard"]["value"] * of["clips"])
            cells.append(
                f"{alike} of {of['clips']}, {of['events within 100 ms']['value']:.0%}".replace("%", " %")
            )
            other = of["with the given side of another clip of the class"]
            swapped.append(f"{other['events within 100 ms']['value']:.0%}".replace("%", " %"))
        rows.append(row(told, *cells, ", ".join(swapped)))
    assert missing(rows, RESULTS) == []
    assert "diverged" in sets["v2a 10000"] and "diverged" not in sets["a2v 10000"]
    assert "diverged" in sets["v2a 100000"] and "diverged" in sets["a2v 100000"]


def test_class_changes():
    sets = measured("class_changes")["sets"]
    rows = [
        row(told, *(f"{round(sets[name][figure]['value'] * 20)} of {sets[name]['clips']}"
                    for figure in ("class seen", "class heard")))
        for told, name in (("none", "changed 1"), ("2", "changed 2"))
    ]  # fmt: skip
    assert missing(rows, RESULTS) == []


def test_remedies():
    summary = measured("drift")["summary"]
    rows = []
    for name, found in summary.items():
        cells = [remedies.title_of(name)]
        for side in SIDES:
            cells += [between(found[side]["increase"], "+.2f")]
            difference = found[side].get("increase minus the paper's")
            cells += ["" if name == "paper" else between(difference, "+.2f")]
        rows.append(row(*cells))
    assert missing(rows, RESULTS) == []
    assert remedies.summary(measured("drift")["runs"]).keys() == summary.keys()


def test_ablations():
    content = measured("ablations")
    runs, costs = ablations.by_setting(content), content["costs"]
    names = {
        "joint_attention": "fusion (a), not (c)", "average": "fusion (b), not (c)",
        "window-5": "window of 5, not 10", "window-20": "window of 20, not 10",
        "theta-0.1": "θ = 0.1, not 0.2", "theta-0.5": "θ = 0.5, not 0.2",
        "uniform": "uniform weight, not logit-normal", "full-attention": "no causal mask over time",
        "steps-1": "N = 1, not 2", "steps-10": "N = 10, not 2", "steps-20": "N = 20, not 2",
    }  # fmt: skip
    words = {"farther": "**worse**: ", "nearer": "**better**: ", "undecided": ""}
    for name, told in names.items():
        claim = ablations.CLAIMS[name]
        cells = []
        for side in SIDES:
            found = ablations.difference(runs, name, claim.beside, f"{side} distance")
            assert found is not None
            cells.append(words[ablations.direction(found)] + between(found, "+.2g"))
        work = costs[name]["operations"] / costs[claim.beside]["operations"]
        cells.append(f"{work:.2g} x")
        (line,) = [line for line in RESULTS.splitlines() if line.startswith(f"| {told} |")]
        assert [cell.strip() for cell in line.split("|")[3:-1]] == cells


def test_what_is_forgotten():
    runs = measured("forgetting")["runs"]
    rows = forgetting.table(runs, "sounds like its colour soon after").splitlines()[1:]
    assert missing(rows, RESULTS) == []
