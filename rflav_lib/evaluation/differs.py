"""In words: how a run was made, and in what it departs from the paper's protocol."""

from typing import Any

from rflav_lib.evaluation import paper

PAPER_SAMPLES, PAPER_FRAMES, PAPER_SIZE = 2048, 16, 64
PUBLISHED_CODECS = "H.264", "MP3"
MILLIONS = 421, 324  # parameters: in the paper, and in the released transformers, which come without codecs
JACKKNIFE = "jackknife over clips"
"""What the results of a run say of its intervals; earlier ones say nothing, and were drawn with replacement."""
UNSTATED = (
    "The paper does not state its draw of windows, the filter of its resize, or whether samples went through a codec; "
    "its published scripts write files, and MM-Diffusion's evaluator, which it follows, scores files."
)


def what_differs(run: dict[str, Any]) -> str:
    """Two or three sentences above a run's tables."""
    config, networks = run["config"], _networks(run)
    how = (
        f"N = {config['samples']} clips of {config['frames']} frames, seed {config['seed']}, {_path(run)}; "
        f"{'; '.join(networks)}. {_intervals(run)}"
    )
    departs = [
        text for holds, text in _checks(run, networks) if not holds
    ]  # with a codec or without, it is not empty
    return f"{how} **Differs from the paper:** {'; '.join(departs)}. {UNSTATED}"


def _intervals(run: dict[str, Any]) -> str:
    resamples = run["config"]["resamples"]
    if run.get("intervals") != JACKKNIFE:
        return (
            f"Intervals: 95 %, {resamples} bootstrap draws of windows, each taken for a clip of its own; where they "
            "are, 1.2 to 1.7 times too wide."
        )
    clips = ", ".join(f"{run['clips'][name]} ({name})" for name in ("reference", "control"))
    return (
        f"Clips behind the real windows: {clips}. Intervals: 95 %, clips left out in turn, in {resamples} parts or as "
        "many as there are clips; up to 1.7 times wider than need be."
    )


def _networks(run: dict[str, Any]) -> list[str]:
    figures = [figure for row in (run["real"], *run["rows"]) for figure in row["figures"].values()]
    return list(dict.fromkeys(f"{figure['network']} ({figure['layer']})" for figure in figures))


def _path(run: dict[str, Any]) -> str:
    figures = [figure for row in (run["real"], *run["rows"]) for figure in row["figures"].values()]
    resizes = list(dict.fromkeys(figure["resize"] for figure in figures))
    return f"{', '.join(resizes)}, codec {_codec(run)}"


def _codec(run: dict[str, Any]) -> str:
    return next(iter(run["real"]["figures"].values()))["codec"]


def _checks(run: dict[str, Any], networks: list[str]) -> list[tuple[bool, str]]:
    config = run["config"]
    printed = paper.SETS[config["beside"]]
    source = run.get("source", {"codec": "none", "channel": "one"})
    stand_ins = [name for name in networks if not name.startswith(("I3D", "AudioCLIP"))]
    weights = sorted({round(row["parameters"] / 1e6, 1) for row in run["rows"]})
    return [
        (_is_the_papers(config), f"clips of {config['data']}, not of {printed}"),
        (config["samples"] == PAPER_SAMPLES, f"N = {config['samples']}, not {PAPER_SAMPLES}"),
        (config["frames"] == PAPER_FRAMES, f"{config['frames']} frames, not {PAPER_FRAMES}"),
        (config["size"] == PAPER_SIZE, f"{config['size']} pixels, not {PAPER_SIZE}"),
        (
            all(name in _codec(run) for name in PUBLISHED_CODECS),
            f"codec {_codec(run)}, not the {' + '.join(PUBLISHED_CODECS)} files that were scored for published figures",
        ),
        (
            _codec(run) == "none",
            f"real clips (files: {source['codec']}) are coded again, as generated ones are; the published figures' "
            "evaluator reads them as they are",
        ),
        (
            source["channel"] in ("left", "one"),
            f"sound is the {source['channel']} of the channels, not the left one",
        ),
        (not stand_ins, "stand-ins for I3D and AudioCLIP: these figures are no FVD, KVD and FAD"),
        (
            all(round(count) in MILLIONS for count in weights),
            f"models of {', '.join(f'{count:g} M' for count in weights)} parameters; the paper says {MILLIONS[0]} M, "
            f"its released ones have {MILLIONS[1]} M without codecs",
        ),
    ]


def _is_the_papers(config: dict[str, Any]) -> bool:
    return config["beside"] in str(config["data"]).lower() and not str(config["data"]).startswith("toy-")
