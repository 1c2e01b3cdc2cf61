"""What an evaluation ends with: results.json, tables.md, and a picture of the closest pairs for each row."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rflav_lib.evaluation.differs import JACKKNIFE
from rflav_lib.evaluation.neighbours import Neighbours
from rflav_lib.evaluation.scoring import score_all
from rflav_lib.evaluation.tables import FORMAT, tables, write_tables
from rflav_lib.files import write_json
from rflav_lib.metrics.feature_set import library_versions
from rflav_lib.provenance import provenance

if TYPE_CHECKING:
    from rflav_lib.evaluation.run import Evaluation


def finish(evaluation: "Evaluation", command: str, device: str) -> tuple[dict[str, Any], str]:
    """Compute the distances, write all files, and return the results and the tables."""
    config, folder = evaluation.config, evaluation.folder
    drawn = {name: windows for name, windows in vars(evaluation.windows).items() if windows}
    rows = {key: evaluation.measured(key) for key in evaluation.samplers}
    figures, told = score_all(
        evaluation.read, evaluation.clips, evaluation.measured("control"), rows, config.resamples,
        config.seed, config.extrapolate,
    )  # fmt: skip
    neighbours = Neighbours(evaluation) if config.held_out else None
    results: dict[str, Any] = {
        "format": FORMAT,
        "command": command,
        "config": config.as_mapping(),
        "provenance": provenance(device),
        "versions": dict(library_versions()),
        "intervals": JACKKNIFE,
        "source": asdict(evaluation.sources["seen"].coding),
        "windows": {name: len(windows) for name, windows in drawn.items()},
        "clips": {name: len({window.clip for window in windows}) for name, windows in drawn.items()},
        "real": {"name": "real against real", "figures": figures["control"]},
        "rows": [],
        "warnings": told,
    }
    if neighbours is not None:
        results["bank"] = {"windows": len(neighbours.bank), "of": evaluation.sources["copies"].name}
    for key, sampler in evaluation.samplers.items():
        row = {**asdict(sampler.row), **sampler.facts, "figures": figures[key]}
        if neighbours is not None:
            row["memorisation"] = neighbours.copying(key)
            neighbours.draw(key, folder / f"memorisation-{sampler.row.key}.png")
        results["rows"].append(row)
    write_json(folder / "results.json", results)
    text = tables([results], evaluation.fusions)
    write_tables(folder / "tables.md", text)
    return results, text
