"""The gallery: every picture comes from its source, or is left out aloud."""

import json
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rflav_lib import ROOT
from rflav_lib.view import gallery
from tests.tiny import tiny_pipeline


def report(offsets: dict[str, list[float | None]]) -> gallery.Report:
    return {"readings": {name: [{"offset_ms": offset} for offset in of] for name, of in offsets.items()}}


@pytest.fixture
def root(tmp_path):
    tiny_pipeline().save_whole(tmp_path / "checkpoints" / "toy-landscape")
    (tmp_path / "results").mkdir()
    return tmp_path


def test_the_histogram_shows_every_offset_and_says_how_many_have_none():
    figure = gallery.offset_histogram(report({"generated": [-500.0, 3.0, 3.0, None], "real": [0.0, 1.0]}))
    generated, real = figure.axes
    heights = [bar.get_height() for bar in generated.patches]
    assert sum(heights) == 3 and heights[0] == 1 and max(heights) == 2  # the far one is in the last bar
    assert sum(bar.get_height() for bar in real.patches) == 2
    assert generated.get_title(loc="left") == "generated: 4 clips, 1 without an offset"
    assert real.get_title(loc="left") == "real: 2 clips"


def test_pictures_are_opaque_and_the_same_again(root):
    draw = gallery.pictures(root)["rain"]
    picture = draw()
    image = Image.open(BytesIO(picture))
    assert image.size == (900, 270) and draw() == picture
    assert np.asarray(image.convert("RGBA"))[0, 0].tolist() == [255, 255, 255, 255]


def test_each_class_has_its_own_clip(root):
    drawn = gallery.pictures(root)
    assert drawn["rain"]() != drawn["siren"]()


def test_what_is_missing_is_left_out_aloud(root, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "pictures", lambda available=gallery.pictures: available(root))
    (root / "results" / "toy-landscape.json").write_text(
        json.dumps(report({"generated": [1.0], "real": [0.5]}))
    )
    out = root / "out"
    assert gallery.main(["--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "toy-dance left out" in shown.err and "to train it" in shown.err
    assert "drift.json is not there; measure it: python benchmarks/drift.py" in shown.err
    made = {path.stem for path in out.iterdir()}
    assert {"bounce", "pendulum", "rain", "fireworks", "siren", "offsets"} <= made and "toy-dance" not in made
    assert gallery.main(["--out", str(out), "--only", "toy-dance"]) == 2


def test_a_damaged_report_is_one_clear_error(root, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "pictures", lambda available=gallery.pictures: available(root))
    (root / "results" / "toy-landscape.json").write_text("{")
    assert gallery.main(["--out", str(root), "--only", "offsets"]) == 2
    assert "toy-landscape.json: not readable as JSON" in capsys.readouterr().err


def test_the_pages_show_the_pictures_that_are_there_and_they_are_small():
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "results/README.md")]
    shown = set(re.findall(r"docs/gallery/([\w-]+)\.png", "\n".join(pages)))
    there = {path.stem: path.stat().st_size for path in (ROOT / "docs" / "gallery").iterdir()}
    assert shown == there.keys() and shown <= gallery.pictures().keys()
    assert max(there.values()) < 200_000
