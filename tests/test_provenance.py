"""What is written beside a measured figure tells machines, commits and weights apart."""

import pytest
import torch

from rflav_lib import ROOT
from rflav_lib.files import read_json
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import fingerprint, provenance
from tests.tiny import tiny_pipeline


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_the_fingerprint_tells_weights_apart_of_every_part(part):
    pipe = tiny_pipeline()
    before = fingerprint(pipe)
    assert before == fingerprint(tiny_pipeline())
    next(getattr(pipe, part).parameters()).data.flatten()[0] += 1e-3
    assert fingerprint(pipe) != before


@pytest.mark.parametrize("name", ["toy-landscape", "toy-dance"])
def test_figures_that_were_measured_go_on_being_about_the_bundled_models(name):
    pipe = RFLAVPipeline.from_pretrained(ROOT / "checkpoints" / name)
    assert fingerprint(pipe) == read_json(ROOT / "results" / f"{name}.json")["settings"]["weights"]


def test_provenance_names_what_a_figure_depends_on():
    found = provenance()
    assert found["gpu"] is None and found["threads"] == torch.get_num_threads()
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0]
