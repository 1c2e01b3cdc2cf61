"""The live loss curve: what a reader sees while training runs."""

from rflav_lib.view import live
from rflav_lib.view.live import LiveCurve

PNG = b"\x89PNG"


def test_the_bar_and_the_time_left_follow_each_step_and_the_picture_not_too_often(monkeypatch):
    now = 100.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    curve = LiveCurve(3)
    bar, text = curve.children[0].children
    curve.update(1, 2.0, 3.0, 125.4)
    first = bytes(curve.children[1].value)
    assert (bar.value, bar.max, text.value) == (1, 3, "step 1 of 3, 2:05 left") and first.startswith(PNG)
    now += live.REDRAW_SECONDS / 2
    curve.update(2, 1.0, 2.0, 60)
    assert text.value == "step 2 of 3, 1:00 left" and curve.children[1].value == first, (
        "too soon to draw again"
    )
    curve.update(3, 0.5, 1.0, 0)
    assert bytes(curve.children[1].value) != first, "the last step is always drawn"
    assert repr(curve) == "LiveCurve(3 steps)"


def test_the_figure_holds_both_losses_of_all_steps():
    curve = LiveCurve(2)
    assert [len(line.get_xdata()) for line in curve.figure().axes[0].lines] == [0, 0], "before the first step"
    curve.update(1, 2.0, 3.0, 1)
    curve.update(2, 1.0, 2.5, 0)
    (axis,) = curve.figure().axes
    found = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert (
        found == {"video": [[1, 2.0], [2, 1.0]], "audio": [[1, 3.0], [2, 2.5]]} and axis.get_yscale() == "log"
    )
