"""Weights that do not fit a network: what an error says of them."""

import pytest
import torch

from rflav_lib.misfits import misfit

WANTED = {"a": torch.zeros(3, 4), "b": torch.zeros(()), "c": torch.zeros(2)}


@pytest.mark.parametrize(
    ("stored", "optional", "told"),
    [
        (dict(WANTED), (), ""),
        ({"a": (3, 4), "b": (), "c": (2,)}, (), ""),
        ({"a": (3, 4), "b": ()}, (), "1 missing (c)"),
        ({"a": (3, 4), "b": ()}, {"c"}, ""),
        ({"a": (3, 4), "b": (), "c": (3,)}, {"c"}, "1 of another shape (c is (3,), not (2,))"),
        (WANTED | {"z": torch.zeros(1)}, {"z"}, "1 left over (z)"),
        ({"a": (4, 3), "b": (1,), "d": ()}, (),
         "1 missing (c); 1 left over (d); 2 of another shape (a is (4, 3), not (3, 4), b is (1,), not ())"),
        (WANTED | dict.fromkeys("zyxwv", (1,)), (), "5 left over (v, w, x, ...)"),
    ],
)  # fmt: skip
def test_names_and_shapes_are_told(stored, optional, told):
    assert misfit(stored, WANTED, optional) == told
