"""A loss curve that draws itself while training runs, and that saved notebooks and strict comparison survive."""

import time

import ipywidgets as widgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rflav_lib.view.explorer import figure_png, picture_widget

REDRAW_SECONDS = 0.5  # at most this often: drawing must not slow training down


class LiveCurve(widgets.VBox):
    """Progress bar, time left and loss curve: `update` with every state, `figure` for the final picture.

    Traits are replaced instead of printing output again and again, so nothing piles up in the notebook.
    """

    def __init__(self, total: int) -> None:
        self.history: list[tuple[int, float, float]] = []
        self._bar = widgets.IntProgress(value=0, max=total, description="training")
        self._text = widgets.Label()
        self._image = picture_widget()
        self._drawn = 0.0
        super().__init__([widgets.HBox([self._bar, self._text]), self._image])

    def update(self, step: int, video_loss: float, audio_loss: float, seconds_left: float) -> None:
        """Add one point and redraw if the last drawing is old enough, or this is the last step."""
        self.history.append((step, video_loss, audio_loss))
        self._bar.value = step
        minutes, seconds = divmod(round(seconds_left), 60)
        self._text.value = f"step {step} of {self._bar.max}, {minutes}:{seconds:02d} left"
        if step == self._bar.max or time.monotonic() - self._drawn > REDRAW_SECONDS:
            figure = self.figure()
            self._image.value = figure_png(figure)
            self._drawn = time.monotonic()

    def figure(self) -> Figure:
        """Both losses over steps, on a logarithmic axis."""
        steps, video, audio = zip(*self.history, strict=True) if self.history else ((), (), ())
        figure, axis = plt.subplots(figsize=(7, 2.6))
        axis.plot(steps, video, color="black", label="video")
        axis.plot(steps, audio, color="tab:orange", linestyle="--", label="audio")
        axis.set(xlabel="step", ylabel="weighted loss (Eq. 10)", yscale="log")
        axis.legend(frameon=False)
        figure.tight_layout()
        return figure

    def __repr__(self) -> str:
        return f"LiveCurve({self._bar.max} steps)"
