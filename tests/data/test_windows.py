"""Drawing windows: each window of each clip as often as any other, and equal clips by the first draw."""

import itertools

import pytest
import torch

from rflav_lib.data.windows import draw_place


def test_every_window_of_every_clip_is_equally_likely():
    generator = torch.Generator().manual_seed(0)
    lengths, window = [5, 4, 12], 4
    places = [(clip, start) for clip, k in enumerate(lengths) for start in range(k - window + 1)]
    draws = [draw_place(lengths, window, generator) for _ in range(6000)]
    assert set(draws) == set(places)
    expected = len(draws) / len(places)
    chi_square = sum((draws.count(place) - expected) ** 2 / expected for place in places)
    assert chi_square < 38  # 11 degrees of freedom: beyond it in one seed of 13,000


def test_clips_of_equal_length_take_one_draw_for_the_clip_and_one_for_the_place():
    """The toy models' training depends on these very draws."""
    generator, again = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
    for _ in range(50):
        drawn = draw_place([40] * 12, 10, generator)
        assert drawn == tuple(int(torch.randint(n, (), generator=again)) for n in (12, 31))


def test_clips_shorter_than_the_window_are_never_drawn():
    generator = torch.Generator().manual_seed(0)
    assert {clip for clip, _ in (draw_place([3, 10, 2], 5, generator) for _ in range(60))} == {1}


def test_a_window_that_fits_nowhere_is_refused():
    for lengths in itertools.permutations([3, 9, 2]):
        with pytest.raises(ValueError, match="a window of 10 frames does not fit into clips of 9 frames"):
            draw_place(lengths, 10, torch.Generator())
