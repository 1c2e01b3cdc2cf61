"""How a `Clip` looks in a notebook: a player with sound, and its frames over its mel on one time axis."""

import base64
import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from rflav_lib.mel import MelCodec

if TYPE_CHECKING:
    from rflav_lib.media import Clip

PLAYER_WIDTH = 320  # CSS pixels
STRIP_WIDTH = 9.0  # inches
STRIP_DPI = 100
MEL_BINS = 128
MEL_RANGE = (-8.0, 3.0)  # natural logarithm; the same for all clips, so that two strips can be compared
TICKS_HZ = (500, 1000, 2000, 4000, 8000)
STYLE = {"font.size": 8, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6}


def mime_bundle(clip: "Clip") -> dict[str, str]:
    """What a notebook shows: text/plain (facts), image/png (strip, base64), text/html (player over strip)."""
    picture = base64.b64encode(png(clip)).decode()
    return {"text/plain": repr(clip), "image/png": picture, "text/html": _page(clip, picture)}


def html(clip: "Clip") -> str:
    """A player over the strip, as HTML that holds everything it needs and plays offline."""
    return _page(clip, base64.b64encode(png(clip)).decode())


def png(clip: "Clip") -> bytes:
    """The strip as a PNG file; the same clip gives the same bytes."""
    buffer = BytesIO()
    with _own_style():  # ticks are made only when they are drawn
        strip(clip).savefig(buffer, format="png", dpi=STRIP_DPI, metadata={"Software": None})
    return buffer.getvalue()


def strip(clip: "Clip") -> Figure:
    """Frames over the log-mel spectrogram on one time axis.

    As many frames as fit are shown, evenly spaced; the left edge of each stands at the time when it appears.
    The figure is not pyplot's, so it is shown once, where it is asked for.
    """
    with _own_style():
        figure = Figure(figsize=(STRIP_WIDTH, 2.7), dpi=STRIP_DPI)
        # placed by hand: both axes must begin and end at the same pixel
        pictures = figure.add_axes((0.06, 0.70, 0.85, 0.27))
        sound = figure.add_axes((0.06, 0.16, 0.85, 0.52), sharex=pictures)
        scale = figure.add_axes((0.92, 0.16, 0.012, 0.52))
        _draw_frames(pictures, clip)
        image = _draw_mel(sound, clip)
        figure.colorbar(image, cax=scale, label="log-mel (ln)")
        sound.set_xlim(0, clip.duration)
        sound.set_xlabel("time (s)")
        return figure


@contextmanager
def _own_style() -> Iterator[None]:
    """The strip looks, and its bytes are, the same whatever style a notebook has set."""
    defaults = matplotlib.rcParamsDefault | {"backend": matplotlib.rcParams["backend"]}
    with matplotlib.rc_context(defaults | STYLE):
        yield


def _page(clip: "Clip", picture: str) -> str:
    _, h, w, _ = clip.frames.shape
    with TemporaryDirectory() as folder:
        path = clip.save(Path(folder) / "clip.mp4", scale=_enlargement(h, w))
        video = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<video controls loop width="{PLAYER_WIDTH}" src="data:video/mp4;base64,{video}"></video><br>'
        f'<img alt="frames over log-mel spectrogram: {clip!r}" style="max-width:100%" '
        f'src="data:image/png;base64,{picture}">'
    )


def _enlargement(h: int, w: int) -> int:
    """Whole factor that brings the width near the player's and both sides to even numbers."""
    factor = max(1, PLAYER_WIDTH // w)
    return factor + 1 if h * factor % 2 or w * factor % 2 else factor


def _draw_frames(axes: Axes, clip: "Clip") -> None:
    k, h, w, _ = clip.frames.shape
    box = axes.get_position()
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes that are drawn on have one"
    inches_wide, inches_high = box.width * STRIP_WIDTH, box.height * figure.get_figheight()
    width = clip.duration * inches_high * w / h / inches_wide  # in s, of one picture at full height
    height = min(1.0, clip.duration / width)  # a picture wider than the whole clip lasts is drawn smaller
    width *= height
    step = max(1, math.ceil(width * clip.frame_rate - 1e-6))
    for number in range(0, k, step):
        start = number / clip.frame_rate
        if start + width > clip.duration + 1e-6:
            break  # it would be cut in two at the end
        axes.imshow(clip.frames[number], extent=(start, start + width, 0, height), aspect="auto")
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.tick_params(bottom=False, labelbottom=False)
    axes.set_ylabel("frames")
    axes.spines[:].set_visible(False)


def _draw_mel(axes: Axes, clip: "Clip") -> AxesImage:
    """Draw the log-mel spectrogram; returns the image."""
    rate = clip.sample_rate
    codec = MelCodec(rate, rate / 160, n_mels=MEL_BINS, f_max=min(8000.0, rate / 2), peak=None)
    # the shortest clips are too short for a spectrum
    length = max(len(clip.waveform), 2 * codec.config.n_fft)
    waveform = np.pad(clip.waveform, (0, length - len(clip.waveform)))
    shown = max(1, len(clip.waveform) // codec.config.hop_length)
    log_mel = codec.log_mel(torch.from_numpy(waveform))[0, :, :shown].numpy()
    seconds = shown * codec.config.hop_length / rate
    image = axes.imshow(
        log_mel, origin="lower", aspect="auto", cmap="magma", vmin=MEL_RANGE[0], vmax=MEL_RANGE[1],
        extent=(0, seconds, -0.5, MEL_BINS - 0.5), interpolation="nearest",
    )  # fmt: skip
    peaks = codec.filter_bank.argmax(dim=0).numpy() * rate / codec.config.n_fft  # Hz, of each bin
    ticks = [hz for hz in TICKS_HZ if hz <= codec.config.f_max]
    axes.set_yticks(np.interp(ticks, peaks, np.arange(MEL_BINS)), [f"{hz / 1000:g}" for hz in ticks])
    axes.set_ylabel("mel scale (kHz)")
    return image
