"""Chance that needs no order: what is drawn for a sample, a step or a clip depends on its numbers alone."""

import numpy as np
import torch


def seed_of(*numbers: int) -> int:
    """A seed of 64 bits: a function of these numbers, 0 or more, and of their order.

    As numpy's SeedSequence has it, zeros at the end change nothing: give every call of a kind as many numbers.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def generator_of(*numbers: int) -> torch.Generator:
    """A generator on the CPU, seeded with `seed_of` these numbers."""
    return torch.Generator().manual_seed(seed_of(*numbers))
