"""Explorers: the picture follows the controls, errors are shown, nothing stays open. And the shared style."""

import io

import ipywidgets as widgets
import matplotlib
import matplotlib.pyplot as plt
import pytest
from PIL import Image

from rflav_lib.view import style
from rflav_lib.view.explorer import explore, figure_png

matplotlib.use("Agg")


def draw(width, colour="black"):
    figure, axis = plt.subplots(figsize=(width, 2), dpi=50)
    axis.plot([0, 1], color=colour)
    return figure


def size(png):
    return Image.open(io.BytesIO(png)).size


def test_the_picture_is_there_at_once_and_follows_every_control():
    explorer = explore(
        draw,
        width=widgets.IntSlider(value=3, min=1, max=9),
        colour=widgets.Dropdown(options=["black", "red"]),
    )
    first = explorer.image.value
    assert bytes(first[:4]) == b"\x89PNG" and size(first) == (150, 100)
    explorer.controls["width"].value = 6
    second = explorer.image.value
    assert size(second) == (300, 100)
    explorer.controls["colour"].value = "red"
    assert explorer.image.value != second and size(explorer.image.value) == (300, 100)


def test_png_bytes_are_shown_as_they_are():
    seen = []

    def frame(index):
        seen.append(index)
        return figure_png(draw(index))

    explorer = explore(frame, index=widgets.IntSlider(value=2, min=1, max=4))
    explorer.controls["index"].value = 4
    assert seen == [2, 4] and size(explorer.image.value) == (200, 100)


def test_sliders_wait_until_let_go_and_get_their_name():
    explorer = explore(draw, width=widgets.IntSlider(value=3, min=1, max=9))
    slider = explorer.controls["width"]
    assert slider.continuous_update is False and slider.description == "width"
    named = explore(draw, width=widgets.IntSlider(value=3, min=1, max=9, description="inches")).controls[
        "width"
    ]
    assert named.description == "inches"


def test_the_repr_states_facts_and_no_address():
    def make():
        return explore(
            draw, width=widgets.IntSlider(value=3, min=1, max=9), colour=widgets.Dropdown(options=["red"])
        )

    assert repr(make()) == repr(make()) == "Explorer(width=3, colour='red')"


def test_no_figure_stays_open():
    plt.close("all")
    explorer = explore(draw, width=widgets.IntSlider(value=3, min=1, max=9))
    for width in (4, 5, 6):
        explorer.controls["width"].value = width
    assert plt.get_fignums() == []


def test_a_drawing_that_fails_later_says_so_and_recovers():
    def fragile(width):
        if width == 5:
            raise ValueError("five is right out")
        return draw(width)

    explorer = explore(fragile, width=widgets.IntSlider(value=3, min=1, max=9))
    before = explorer.image.value
    explorer.controls["width"].value = 5
    assert explorer.message.value == "ValueError: five is right out" and explorer.image.value == before
    explorer.controls["width"].value = 6
    assert explorer.message.value == "" and size(explorer.image.value) == (300, 100)


def test_a_drawing_that_fails_at_the_start_raises():
    with pytest.raises(ZeroDivisionError):
        explore(lambda width: 1 / 0, width=widgets.IntSlider())


def test_a_control_must_be_a_widget():
    with pytest.raises(TypeError, match="width must be an ipywidgets control"):
        explore(draw, width=(1, 9))


def test_style_tells_lines_apart_without_colour():
    before = dict(plt.rcParams)
    try:
        style.use()
        _, axis = plt.subplots()
        lines = [axis.plot([0, i])[0] for i in range(4)]
        assert len({line.get_linestyle() for line in lines}) == len({line.get_color() for line in lines}) == 4
        greys = sorted(
            sum(
                w * c
                for w, c in zip(
                    (0.299, 0.587, 0.114), matplotlib.colors.to_rgb(line.get_color()), strict=True
                )
            )
            for line in lines
        )
        assert greys[0] == 0 and greys[-1] < 0.8, "every line must be dark enough to see on white"
    finally:
        plt.close("all")
        plt.rcParams.update(before)
