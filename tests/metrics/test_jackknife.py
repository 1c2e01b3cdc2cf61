"""The jackknife over clips: right for a mean, whatever the clips; and what it shares out and splits."""

import numpy as np
import pytest
import torch

from rflav_lib.metrics.jackknife import alone, jackknife, two_sides


def mean_of(values):
    return lambda rows: float(values[rows].mean())


def test_of_a_mean_the_error_is_the_standard_error_and_the_bias_none():
    values = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = jackknife(mean_of(values), [alone(40, "x")], 100)
    assert (found.value, found.parts) == (pytest.approx(values.mean().item()), 40)
    assert found.error == pytest.approx(values.std().item() / 40**0.5)
    assert found.bias == pytest.approx(0, abs=1e-12)
    low, high = found.around(0.0)
    assert high == pytest.approx(2.023 * found.error, rel=1e-3) and low == -high


def test_the_bias_of_a_variance_is_found():
    values = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = jackknife(lambda rows: float(values[rows].var(correction=0)), [alone(30, "x")], 30)
    assert found.value - found.bias == pytest.approx(values.var().item())


def test_windows_of_a_clip_are_left_out_together_and_so_is_a_clip_in_two_sets():
    clips = list(range(10)) * 4
    values = torch.arange(10, dtype=torch.float64).repeat(4)
    assert jackknife(mean_of(values), [clips], 10).error == pytest.approx(
        jackknife(mean_of(values[:10]), [clips[:10]], 10).error
    ), "four windows of a clip that say the same are one"
    same = jackknife(lambda x, y: float(values[x].mean() - values[y].mean()), [clips, clips], 10)
    assert same.error == pytest.approx(0), "what a clip moves in both sets falls out"
    apart = jackknife(
        lambda x, y: float(values[x].mean() - values[y].mean()),
        [clips, [("other", each) for each in clips]],
        10,
    )
    assert apart.error > 0.5


def test_parts_are_about_as_long_and_every_row_is_left_out_once():
    clips = [clip for clip in range(30) for _ in range(clip % 3 + 1)]
    kept = []

    def note(rows):
        kept.append(rows.tolist())
        return 0.0

    jackknife(note, [clips], 7)
    left_out = [set(kept[0]) - set(rows) for rows in kept[1:]]
    assert sorted(row for rows in left_out for row in rows) == kept[0] and len(left_out) == 7
    assert {len(rows) for rows in left_out} <= {8, 9, 10}
    assert all(
        len({clips[row] for row in rows} & {clips[row] for row in kept[0] if row not in rows}) == 0
        for rows in left_out
    )


def test_a_single_clip_or_too_few_rows_have_no_error():
    values = torch.arange(5, dtype=torch.float64)
    for sets in ([[0] * 5], [[0, 0, 0, 0, 1]], [alone(2, "x")]):
        found = jackknife(mean_of(values), sets, 10)
        assert np.isnan(found.error) and np.isnan(found.around(1.0)).all()


def test_two_sides_share_no_clip_and_are_as_long():
    clips = ["a", "b", "b", "c", "a", "d", "b", "e", "e"]
    first, second = two_sides(clips)
    assert len(first) == len(second) >= 4
    assert not {clips[row] for row in first} & {clips[row] for row in second}
    assert two_sides(["a", "a", "a"]) == ([], [])
