"""The tables, from JSON: every value in its place, the printed ones beside it, and what differs in words."""

import copy
import json

import pytest

from rflav_lib.evaluate import tables
from rflav_lib.evaluation import paper
from rflav_lib.evaluation.tables import main, read_run


def figure(metric, value, network, **changes):
    titles = {"fvd": "FVD", "kvd": "KVD", "fad_exact": "FAD, exact", "fad_mmd": "FAD, as MM-Diffusion"}
    facts = {
        "title": titles[metric], "value": value, "low": value - 1, "high": value + 1, "at_infinity": None,
        "self_distance": 13.5 if metric == "fad_mmd" else None, "reference": "landscape, train, real (reference)",
        "reference_samples": 2048, "samples": 2048, "seed": 0, "network": network, "layer": "logits",
        "resize": "256x256 to 64x64, bicubic, antialias", "codec": "H.264 CRF 23 + MP3",
    }  # fmt: skip
    return {**facts, **changes}


def row(
    name,
    value,
    seen="I3D Kinetics-400, git a867b87a",
    heard="AudioCLIP audio head, exact, sha256 2441d35b",
    **changes,
):
    figures = {
        "fvd": figure("fvd", value, seen), "kvd": figure("kvd", value / 10, seen),
        "fad_exact": figure("fad_exact", value / 5, heard), "fad_mmd": figure("fad_mmd", value / 4, heard),
    }  # fmt: skip
    facts = {
        "name": name, "task": "joint", "steps": 20, "window": 10, "fusion": "conditioned_average", "parameters": 421e6,
        "figures": figures,
    }  # fmt: skip
    return {**facts, **changes}


def run(*rows, **config):
    settings = {
        "data": "data/landscape", "beside": "landscape", "samples": 2048, "frames": 16, "seed": 0, "size": 64,
        "resamples": 100, "output_dir": "x", "rows": [],
    }  # fmt: skip
    return {
        "format": 1, "config": {**settings, **config}, "versions": {}, "real": row("real", 7.0), "rows": list(rows),
        "warnings": [],
    }  # fmt: skip


def lines(text, start):
    return [line for line in text.splitlines() if line.startswith(f"| {start}")]


def test_table_2_has_ours_beside_the_printed_row_of_the_same_steps():
    text = tables([run(row("mine", 90.0), row("finer", 80.0, steps=200), row("odd", 85.0, steps=40))])
    (head,) = [line for line in text.splitlines() if line.startswith("| | FVD |")]
    assert (
        "| FVD | KVD | FAD, exact | FAD, as MM-Diffusion | the reference from itself | paper: FVD | KVD | FAD |"
        in head
    )
    assert lines(text, "real against real")[0].endswith("| 7.45 | -0.15 | 9.33 |")
    assert lines(text, "paper: MM-Diffusion") == [
        "| paper: MM-Diffusion, 426 M, 25 steps | – | – | – | – | – | 177.29 | 7.63 | 9.73 |"
    ]
    assert lines(text, "paper: Wang")[0].endswith("| 172.69 | 15.41 | 11.17 |")
    (mine,), (finer,), (odd,) = (lines(text, name) for name in ("mine", "finer", "odd"))
    assert mine == (
        "| mine, 20 steps | 90 (89 to 91) | 9 (8 to 10) | 18 (17 to 19) | 22.5 (21.5 to 23.5) | 13.5 | "
        "86.53 | 3.36 | 10.49 |"
    )
    assert finer.endswith("| 80.19 | 3.30 | 9.88 |")
    assert odd.endswith("| – | – | – |"), "the paper prints no 40 steps"
    told = text.partition("Differs from the paper:** ")[2].partition(". The paper does not state")[0]
    assert told == (
        "real clips (files: none) are coded again, as generated ones are; the published figures' evaluator reads them "
        "as they are"
    ), "nothing else"


def test_tables_1_show_windows_and_fusions_only_where_there_are_several():
    one = tables([run(row("ten", 50.0), beside="aist", data="data/aist")])
    assert "Table 1" not in one
    several = run(
        row("twenty", 77.0, window=20), row("five", 65.0, window=5), row("ten", 50.0),
        row("plain", 51.0, fusion="average"), beside="aist", data="data/aist",
    )  # fmt: skip
    text = tables([several])
    assert "Table 1.A" in text and "Table 1.B" in text
    assert lines(text, "plain, (b)")[0].endswith("| 51.31 | 9.76 | 8.30 |")
    assert lines(text, "ten, (c)")[0].endswith("| 50.92 | 8.73 | 8.40 |")
    windows = [line for line in text.splitlines() if " frames | " in line]
    assert [line.split(",")[0] for line in windows] == ["| five", "| ten", "| twenty"]
    assert windows[0].endswith("| 65.42 | 10.41 | 8.46 |") and windows[2].endswith("| 77.55 | 12.71 | 8.53 |")
    assert lines(text, "twenty, 20 steps")[0].endswith("| – | – | – |"), "Table 2 is of window 10"


def test_table_3_prints_beside_each_task_what_belongs_to_it():
    seen, heard = row("a", 50.0, task="a2v", steps=200), row("b", 9.0, task="v2a", steps=200)
    seen["figures"] = {name: seen["figures"][name] for name in ("fvd", "kvd")}
    heard["figures"] = {name: heard["figures"][name] for name in ("fad_exact", "fad_mmd")}
    text = tables([run(seen, heard)])
    assert lines(text, "a, A2V, 200 steps")[0] == (
        "| a, A2V, 200 steps | 50 (49 to 51) | 5 (4 to 6) | – | – | – | 94.47 | 4.00 | – |"
    )
    assert lines(text, "b, V2A, 200 steps")[0].endswith("| – | – | 9.34 |")
    assert lines(text, "paper: Kim")[0].endswith("| – | 86.79 | 4.30 | 0.78 |")


def test_what_differs_is_said():
    toy = row(
        "toy", 9.0, "stand-in toy watcher, sha256 1", "stand-in toy listener, sha256 2", parameters=10.4e6
    )
    text = tables([{**run(toy, data="toy-landscape", samples=64), "real": toy, "warnings": ["few"]}])
    for words in (
        "Differs from the paper", "clips of toy-landscape, not of Landscape", "N = 64, not 2048", "stand-ins",
        "no FVD", "10.4 M", "Warning: few", "FVD (stand-in toy watcher)", "FAD, exact (stand-in toy listener)",
    ):  # fmt: skip
        assert words in text
    assert "| FVD |" not in text.replace("paper: FVD |", ""), (
        "a stand-in's figure is nowhere called FVD alone"
    )


@pytest.mark.parametrize("codec", ["none", "H.264 CRF 23 + AAC"])
def test_another_codec_than_that_of_published_figures_is_said(codec):
    real = row("real", 7.0)
    for each in real["figures"].values():
        each["codec"] = codec
    text = tables([{**run(row("mine", 90.0)), "real": real}])
    told = f"Differs from the paper:** codec {codec}, not the H.264 + MP3 files that were scored for published figures"
    assert told in text


def test_how_real_clips_were_coded_and_which_channel_is_heard_is_said():
    made = {**run(row("mine", 90.0)), "source": {"codec": "H.264 CRF 16 + FLAC", "channel": "mean"}}
    text = tables([made])
    assert "real clips (files: H.264 CRF 16 + FLAC) are coded again, as generated ones are" in text
    assert "sound is the mean of the channels, not the left one" in text
    made["source"]["channel"] = "left"
    assert "of the channels" not in tables([made])


def further(low, high, **facts):
    made = row("mine", 90.0)
    made["figures"]["fvd"]["over_real"] = {"value": 1.5, "low": low, "high": high, **facts}
    return made


def told(low, high):
    return tables([run(further(low, high))])


def test_a_row_is_told_from_real_clips_where_the_interval_leaves_0_out():
    assert "| mine | FVD | +1.5 (-0.5 to 3.5) | cannot be told |" in told(-0.5, 3.5)
    assert "| mine | FVD | +1.5 (0.5 to 3.5) | told: further from the reference |" in told(0.5, 3.5)
    assert "told: nearer to the reference |" in told(-3.5, -0.5)
    assert "| mine | FVD | +1.5 | – |" in told(None, None)
    assert "Told from" not in tables([run(row("mine", 90.0))]), "an older run has no differences"


CLIPS = {"reference": 990, "control": 980, "held_out": 20}


def test_a_run_says_how_many_clips_its_windows_are_of_and_an_earlier_one_what_its_intervals_lack():
    facts = {"intervals": "jackknife over clips", "clips": CLIPS}
    made = further(-0.5, 3.5, windows=2047, clips=[490, 489])
    new = tables([{**run(made), **facts}])
    assert "Clips behind the real windows: 990 (reference), 980 (control)." in new
    assert "2047 windows on either side, of 490 and of 489 clips, none of them on both" in new
    assert "1.7 times wider than need be" in new and "bootstrap" not in new
    old = tables([run(made)])
    assert "100 bootstrap draws of windows" in old and "1.2 to 1.7 times too wide" in old
    assert tables([run(made), {**run(made), **facts}]).count("Table 2") == 2, "not in one table"


def copied(chance, low, high, copies, median=12.0, **facts):
    figure = {"chance": chance, "low": low, "high": high, "median": median, "median_unseen": 14.0}
    made = row("mine", 90.0)
    made["memorisation"] = {"pixels": {**figure, "copies": {**figure, "chance": copies}}}
    bank = {"windows": 360_000, "of": "toy-landscape, all training clips"}
    text = tables([{**run(made), "bank": bank, **facts}])
    return lines(text, "mine | pixels")[0].split(" | ")[-1]


def test_what_the_memorisation_check_says_depends_on_both_sides_and_on_its_power():
    assert copied(0.34, 0.29, 0.38, 1.0) == (
        "further from training than real clips are: told from real clips |"
    )
    assert copied(0.55, 0.51, 0.60, 1.0) == "nearer to training than unseen clips are |"
    assert copied(0.51, 0.46, 0.56, 1.0) == "as unseen clips |"
    assert copied(0.51, 0.46, 0.56, 0.57) == "as unseen clips; but copies would hardly be noticed |"


def test_where_the_codecs_alone_move_copies_beyond_unseen_clips_an_earlier_run_has_no_verdict():
    assert copied(0.21, 0.17, 0.26, 0.53, median=21.0).startswith("no verdict: through the codecs copies lie")
    assert copied(0.61, 0.57, 0.66, 0.53, median=21.0) == "nearer to training than unseen clips are |"
    new = copied(
        0.21, 0.17, 0.26, 0.53, median=21.0, intervals="jackknife over clips", clips=CLIPS, windows=CLIPS
    )
    assert new == "further from training than real clips are: told from real clips |", "like beside like"


def test_runs_of_equal_settings_share_a_table_and_others_do_not():
    first, second = run(row("one", 90.0), output_dir="a"), run(row("two", 80.0), output_dir="b")
    assert tables([first, second]).count("Table 2") == 1
    other = run(row("three", 70.0), samples=1024)
    assert tables([first, second, other]).count("Table 2") == 2
    assert first["rows"] == run(row("one", 90.0))["rows"], "what was given is not changed"


def test_memorisation_and_limits_are_shown():
    made = row("mine", 90.0)
    made["memorisation"] = {
        "pixels": {"chance": 0.61, "low": 0.55, "high": 0.67, "median": 12.0, "median_unseen": 14.0}
    }
    made["figures"]["fvd"]["at_infinity"] = 71.0
    text = tables([run(made)])
    assert "| mine | pixels | 0.61 (0.55 to 0.67) | 12 | 14 | – | nearer to training than unseen" in text
    assert "90 (89 to 91); extrapolated 71" in text


def fusions():
    cost = {
        name: {"median_seconds": 0.01 * k, "peak_bytes": 1e8 * k, "ratios": {"time": k, "memory": k}}
        for k, name in enumerate(paper.FUSION_COST, start=1)
    }
    return {
        "command": "python benchmarks/fusions.py", "costs": cost,
        "setting": {"size": "toy", "dtype": "float32", "batch": 1, "repeats": 15},
        "provenance": {"gpu": None, "processor": "a CPU", "cores": 2, "load_before": 3.0},
    }  # fmt: skip


def test_table_1a_has_time_and_memory_of_the_three_fusions():
    text = tables([], fusions())
    assert lines(text, "(a)") == [
        "| (a) joint_attention | 10.0 ms | 1.00 | 100 MB | 1.00 | 15.47 s | 3.93 | 7.9 GB | 2.93 |"
    ]
    assert lines(text, "(c)") == [
        "| (c) conditioned_average | 30.0 ms | 3.00 | 300 MB | 3.00 | 3.94 s | 1.00 | 2.7 GB | 1.00 |"
    ]
    assert "do not trust the times" in text
    quiet = copy.deepcopy(fusions())
    quiet["provenance"]["load_before"] = 0.1
    assert "do not trust" not in tables([], quiet)


def test_a_fusion_that_the_paper_does_not_have_stands_in_table_1a_without_its_figures():
    text = tables([run(row("mine", 90.0), row("new", 80.0, fusion="strongest"))])
    (line,) = lines(text, "new, strongest")
    assert line.endswith("| – | – | – |")
    costs = fusions()
    costs["costs"]["strongest"] = costs["costs"]["average"]
    (line,) = lines(tables([], costs), "strongest")
    assert line.startswith("| strongest | 20.0 ms |") and line.endswith("| – | – | – | – |")


def test_the_command_line(tmp_path, capsys):
    path, costs, out = (tmp_path / name for name in ("run.json", "fusions.json", "tables.md"))
    path.write_text(json.dumps(run(row("mine", 90.0))), encoding="utf-8")
    costs.write_text(json.dumps(fusions()), encoding="utf-8")
    assert main([str(path), "--fusions", str(costs), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == tables([read_run(path)], fusions())
    assert main([str(path)]) == 0
    assert "| mine, 20 steps |" in capsys.readouterr().out
    costs.write_text("{}", encoding="utf-8")
    assert main([str(costs)]) == 2
    assert "fusions.json: not the results of an evaluation" in capsys.readouterr().err


# as the paper's text has them
TABLE_1A = "53.38 7.33 8.70 51.31 9.76 8.30 50.92 8.73 8.40"
TABLE_1B = "65.42 10.41 8.46 50.92 8.73 8.40 77.55 12.71 8.53"
TABLE_2 = """3.67 -0.28 8.25 7.45 -0.15 9.33 50.92 8.73 8.40 86.53 3.36 10.49
38.93 6.58 8.35 85.44 3.73 9.61 38.36 6.15 8.28 80.19 3.30 9.88"""

TABLE_2_OTHERS = "224.14 50.52 11.41 177.29 7.63 9.73 68.88 21.01 10.17 172.69 15.41 11.17"


def numbers(*printed):
    return [value for each in printed for value in each.values()]


def test_printed_values_are_the_papers():
    sets = "aist", "landscape"
    for text, ours in (
        (TABLE_1A, numbers(*paper.FUSIONS.values())),
        (TABLE_1B, numbers(*paper.WINDOWS.values())),
        (
            TABLE_2,
            numbers(
                *(paper.REAL[name] for name in sets),
                *(paper.STEPS[name][n] for n in (20, 100, 200) for name in sets),
            ),
        ),
        (TABLE_2_OTHERS, numbers(*(of[name] for of in paper.OTHERS.values() for name in sets))),
        (
            "38.04 5.27 1.10 86.79 4.30 0.78",
            numbers(*(of[name] for of in paper.OTHERS_CONDITIONAL.values() for name in sets)),
        ),
        ("46.81 8.72 8.52 94.47 4.00 9.34", numbers(*(paper.CONDITIONAL[name][200] for name in sets))),
    ):
        assert ours == [float(word) for word in text.split()]
