"""Batches drawn ahead are the batches drawn in line; labels that no class has are named."""

import pytest
import torch

from rflav_lib.data.windows import draw_place
from rflav_lib.train import train
from rflav_lib.train_batches import BatchSource, Samples
from tests.tiny import tiny_config

CPU = torch.device("cpu")


class Clips:
    """Two clips of noise in memory."""

    latent_shape = (4, 8, 8)

    def __init__(self, labels, class_names):
        self.labels, self.class_names = labels, class_names

    def __len__(self):
        return len(self.labels)

    def draw_window(self, generator, frames):
        clip, _ = draw_place([6] * len(self), frames, generator)
        video = torch.randn(frames, 4, 8, 8, generator=generator)
        return video, torch.randn(frames, 10, 32, generator=generator), self.labels[clip]


def samples(tmp_path, labels=(0, 1), class_names=("rain", "siren"), **changes):
    config = tiny_config(tmp_path, **changes)
    return Samples(config, Clips(labels, class_names), lambda label, generator: label)


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_ahead_of_time_or_in_line_the_batches_are_the_same(tmp_path):
    source = samples(tmp_path, accumulation_steps=2)
    in_line, ahead = (BatchSource(source, 1, 2, CPU, ahead) for ahead in (0, 3))
    order = [(0, 0), (0, 1), (1, 0), (7, 0), (7, 1)]  # a jump, as after resuming
    assert all(same(in_line.take(*key), ahead.take(*key)) for key in order)
    assert ahead.waited > 0
    assert list(ahead.numbers(0)) == [2, 3] and list(ahead.numbers(1)) == [6, 7]
    ahead.close()


def test_processes_share_a_step_without_overlap(tmp_path):
    source = samples(tmp_path, batch_size=3, accumulation_steps=2)
    numbers = [
        n
        for process in range(2)
        for micro in range(2)
        for n in BatchSource(source, process, 2, CPU).numbers(micro)
    ]
    assert sorted(numbers) == list(range(12))


def test_a_label_that_no_class_has_is_named(tmp_path):
    source = samples(tmp_path, labels=(0, 5))
    with pytest.raises(ValueError, match=r"label 5, but there are 2 classes, 0 to 1: rain, siren"):
        source.draw(0, range(20))


@pytest.mark.parametrize("changes", [{"gradient_checkpointing": True}, {"prefetch": 0}])
def test_how_it_is_computed_changes_no_bit(tmp_path, monkeypatch, changes):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    weights = []
    for name, settings in (("plain", {}), ("other", changes)):
        (tmp_path / name).mkdir()
        *_, last = train(tiny_config(tmp_path / name, **settings))
        weights.append(torch.cat([p.detach().flatten() for p in last.run.bare_model.parameters()]))
    assert torch.equal(*weights)


def test_the_fused_optimizer_computes_the_same_to_rounding(tmp_path, monkeypatch):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    losses = []
    for fused in (False, True):
        (tmp_path / str(fused)).mkdir()
        losses.append(
            [state.loss for state in train(tiny_config(tmp_path / str(fused), fused_optimizer=fused))]
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
