"""What is written beside a measured figure tells machines, commits and weights apart."""

import pytest
import torch

from rflav_lib import ROOT
from rflav_lib.files import read_json
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.provenance import fingerprint, provenance, settings_of
from tests.tiny import tiny_pipeline


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_the_fingerprint_tells_weights_apart_of_every_part(part):
    pipe = tiny_pipeline()
    before = fingerprint(pipe)
    assert before == fingerprint(tiny_pipeline())
    next(getattr(pipe, part).parameters()).data.flatten()[0] += 1e-3
    assert fingerprint(pipe) != before


def test_settings_tell_parts_apart_that_have_the_same_weights(tmp_path):
    pipe, other = tiny_pipeline(), tiny_pipeline()
    assert settings_of(pipe) == settings_of(other) and settings_of(pipe).keys() == pipe.components.keys()
    other.transformer.register_to_config(causal=False)
    assert fingerprint(pipe) == fingerprint(other)
    assert [n for n, told in settings_of(other).items() if told != settings_of(pipe)[n]] == ["transformer"]
    pipe.save_pretrained(tmp_path / "pipe")
    assert settings_of(RFLAVPipeline.from_pretrained(tmp_path / "pipe")) == settings_of(pipe)


@pytest.mark.parametrize("name", ["toy-landscape", "toy-dance"])
def test_figures_that_were_measured_go_on_being_about_the_bundled_models(name):
    pipe = RFLAVPipeline.from_pretrained(ROOT / "checkpoints" / name)
    assert fingerprint(pipe) == read_json(ROOT / "results" / f"{name}.json")["settings"]["weights"]


def test_provenance_names_what_a_figure_depends_on():
    found = provenance()
    assert found["gpu"] is None and found["threads"] == torch.get_num_threads()
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0]
