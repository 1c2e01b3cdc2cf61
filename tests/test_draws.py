"""Draws by number: the same on every machine, and another for every number and order."""

import torch

from rflav_lib.draws import generator_of, seed_of


def test_seeds_are_those_that_stored_results_were_drawn_with():
    assert seed_of(0, 3) == 6582426945856704739 and seed_of(0, 5, 7) == 10058268827273342438


def test_every_number_counts_and_so_does_their_order():
    assert len({seed_of(0, 0), seed_of(0, 3), seed_of(3, 0), seed_of(0, 4), seed_of(1, 3)}) == 5


def test_a_generator_is_seeded_with_them():
    drawn = torch.rand(3, generator=generator_of(0, 3))
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(seed_of(0, 3))))
