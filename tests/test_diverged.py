"""What is NaN or infinite is refused, and only what can be its cause is blamed."""

import pytest
import torch

from rflav_lib.diverged import check_made

FINE = torch.zeros(1, 2)
WEIGHTS = "its weights are damaged, or its training diverged"


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_either_side_may_be_it(bad):
    check_made(FINE, FINE, guidance_scale=1e30)
    for made in ((FINE + bad, FINE), (FINE, FINE + bad)):
        with pytest.raises(ValueError, match=f"what the model made is NaN or infinite: {WEIGHTS}$"):
            check_made(*made)


@pytest.mark.parametrize(
    ("guidance_scale", "condition_scale", "advice"),
    [
        (1, 0, WEIGHTS),
        (0, 0.0, WEIGHTS),
        (0.5, 0, WEIGHTS),
        ((1, 0), 0, WEIGHTS),
        ([1.0, 1.0], 0, WEIGHTS),
        (7.5, 0, "try a guidance_scale below 7.5"),
        (-3, 0, "try a guidance_scale above -3"),
        ((1, 4), 0, r"try a guidance_scale below \(1, 4\)"),
        (0, 1000.0, "try a condition_scale below 1000.0"),
        (1, 1, "try a condition_scale below 1"),
        (1, -5, "try a condition_scale above -5"),
        (2, 1e4, "try a guidance_scale below 2 or a condition_scale below 10000.0"),
    ],
)
def test_only_guidance_that_can_be_the_cause_is_blamed(guidance_scale, condition_scale, advice):
    with pytest.raises(ValueError, match=f": {advice}$"):
        check_made(FINE + torch.nan, FINE, guidance_scale, condition_scale)
