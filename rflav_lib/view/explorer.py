"""Figures with sliders that survive a saved notebook and a strict comparison of its outputs.

`interact`, `Output` and `clear_output` do not: what they show piles up in the cell. Here every change draws
one new PNG and pushes it into the same `Image` widget.
"""

import io
from collections.abc import Callable

import ipywidgets as widgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def picture_widget() -> widgets.Image:
    """A place for PNG pictures at their own size: a box would stretch them to its width, and blur them."""
    return widgets.Image(format="png", layout=widgets.Layout(align_self="flex-start", max_width="100%"))


def figure_png(figure: Figure) -> bytes:
    """`figure` as PNG bytes. The figure is closed, so that drawing for hours leaks nothing."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()


class Explorer(widgets.VBox):
    """Controls above a picture that follows them. Make one with `explore`.

    Attributes:
        controls: the controls by the argument they set. Setting a `value` redraws, as a click does.
        image: the widget that holds the picture; `image.value` are PNG bytes.
        message: a line below, empty unless drawing failed.
    """

    def __init__(self, draw: Callable[..., Figure | bytes], controls: dict[str, widgets.ValueWidget]) -> None:
        self.controls = controls
        self.image = picture_widget()
        self.message = widgets.Label()
        self._draw = draw
        super().__init__([*controls.values(), self.image, self.message])
        for name, control in controls.items():
            if hasattr(control, "continuous_update"):
                control.continuous_update = False  # one drawing when the slider is let go, no queue behind it
            if not control.description:
                control.description = name.replace("_", " ")
            control.style = {"description_width": "initial"}
            control.observe(self._redraw, names="value")
        self._show()

    @property
    def values(self) -> dict[str, object]:
        """What the controls stand at, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def _show(self) -> None:
        picture = self._draw(**self.values)
        self.image.value = figure_png(picture) if isinstance(picture, Figure) else picture

    def _redraw(self, _change: object) -> None:
        """Redraw after a click. An exception would vanish in the browser's log, so it is shown below."""
        try:
            self._show()
        except Exception as error:
            self.message.value = f"{type(error).__name__}: {error}"
        else:
            self.message.value = ""

    def __repr__(self) -> str:
        return f"Explorer({', '.join(f'{name}={value!r}' for name, value in self.values.items())})"


def explore(draw: Callable[..., Figure | bytes], **controls: widgets.ValueWidget) -> Explorer:
    """A picture with controls above it, drawn again whenever one of them moves.

        explore(draw, step=widgets.IntSlider(value=0, min=0, max=20), window=Dropdown(options=[4, 10]))

    Args:
        draw: called with the value of each control by name; returns a figure (then closed) or PNG bytes.
        controls: ipywidgets with a `value`. Sliders wait until they are let go. A control without a
            description gets its name.

    Raises:
        TypeError: a control that is no widget with a value.
        Exception: whatever `draw` raises at the values the controls start from.
    """
    for name, control in controls.items():
        if not isinstance(control, widgets.ValueWidget):
            raise TypeError(
                f"{name} must be an ipywidgets control with a value, such as IntSlider, not {control!r}"
            )
    return Explorer(draw, controls)
