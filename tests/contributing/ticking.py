"""Reading toy-metronome: its ticks, from pixels alone and from sound alone."""

import numpy as np
from numpy.typing import NDArray

from rflav_lib.data.toy_scenes.canvas import FRAME_RATE, SIZE
from rflav_lib.data.toy_scenes.scene import Event
from rflav_lib.data.toy_tracking.fits import Array, flash_times
from rflav_lib.data.toy_tracking.hearing import RISE_BIAS, sudden

LAMP = slice(SIZE // 2 - 6, SIZE // 2 + 6)  # rows and columns


def seen(frames: NDArray[np.uint8]) -> list[Event]:
    """Flashes of the lamp in frames (k 64 64 3)."""
    light = frames[:, LAMP, LAMP].mean(axis=(1, 2, 3))
    return [Event(t, "tick") for t in flash_times(light - np.quantile(light, 0.1), FRAME_RATE, least=15.0)]


def heard(log_mel: Array) -> list[Event]:
    """Ticks in a log-mel (m n); a pendulum has the same ones."""
    return sudden(log_mel, "tick", 1_500, 8_000, bias=RISE_BIAS["turn"])
