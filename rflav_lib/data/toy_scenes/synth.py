"""Sound of the toy worlds: every sound is a formula of the exact time since its event, so onsets are sub-
sample exact.

Sample n is the instant n / 16000 s. A sound starts at the first sample at or after its event.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 1_600

Array = NDArray[np.floating]


class Track:
    """The waveform of a clip, float32 (s,), to which sounds are added."""

    def __init__(self, num_frames: int) -> None:
        self.waveform = np.zeros(num_frames * SAMPLES_PER_FRAME, dtype=np.float32)

    @property
    def seconds(self) -> float:
        """Length of the waveform."""
        return len(self.waveform) / SAMPLE_RATE

    def add(self, start: float, duration: float, sound: Callable[[Array], Array]) -> None:
        """Add `sound(seconds since start)` from `start` on for `duration` seconds; what lies outside is
        dropped.

        `start` may be negative: then only the tail of the sound is heard, as in any cut of a longer
        recording.
        """
        first = max(0, int(np.ceil(start * SAMPLE_RATE)))
        last = min(len(self.waveform), int(np.ceil((start + duration) * SAMPLE_RATE)))
        if first < last:
            self.waveform[first:last] += sound(np.arange(first, last) / SAMPLE_RATE - start)


def sine(cycles: Array) -> NDArray[np.float32]:
    """sin(2 pi cycles). Whole cycles are dropped in float64 first, so that the fast float32 sine loses
    nothing.
    """
    return np.sin((2 * np.pi) * (cycles - np.floor(cycles)).astype(np.float32))


def decay(seconds: Array, time_constant: float) -> NDArray[np.float32]:
    """exp(-seconds / time_constant)."""
    return np.exp((seconds * (-1 / time_constant)).astype(np.float32))


def bell(frequency: float) -> Callable[[Array], Array]:
    """A struck tone: three harmonics, the higher ones die sooner. Peak below 0.85, gone after 0.6 s."""

    def sound(dt: Array) -> Array:
        cycles, envelope = frequency * dt, decay(dt, 0.11)
        return envelope * (
            0.55 * sine(cycles) + envelope * (0.25 * sine(2 * cycles) + 0.1 * sine(3 * cycles))
        )

    return sound


def tick(dt: Array) -> Array:
    """A dry click: a fixed resonance at 2.4 kHz under inharmonic partials that are gone in 10 ms."""
    resonance = 0.45 * decay(dt, 0.016) * sine(2_400 * dt)
    return resonance + decay(dt, 0.004) * (
        0.3 * sine(4_130 * dt) + 0.25 * sine(6_270 * dt) + 0.2 * sine(1_150 * dt)
    )


def plink(frequency: float) -> Callable[[Array], Array]:
    """A drop in a puddle: a short pure tone that rises a little."""

    def sound(dt: Array) -> Array:
        return 0.6 * decay(dt, 0.05) * sine(frequency * (dt + 0.75 * dt * dt))

    return sound


def bang(noise: Array) -> Callable[[Array], Array]:
    """A burst: decaying noise over a thump. `noise` (n,) is read by linear interpolation, so its onset is
    sub-sample exact.
    """

    def sound(dt: Array) -> Array:
        place = dt * SAMPLE_RATE
        whole = np.minimum(place.astype(np.intp), len(noise) - 2)
        part = (place - whole).astype(np.float32)
        hiss = noise[whole] * (1 - part) + noise[whole + 1] * part
        return 0.55 * decay(dt, 0.12) * hiss + 0.3 * decay(dt, 0.09) * sine(85 * dt)

    return sound


def soft_noise(rng: np.random.Generator, seconds: float) -> NDArray[np.float32]:
    """Noise (n,) with values in -1..1 and little above 4 kHz, starting at full strength."""
    white = rng.standard_normal(int(seconds * SAMPLE_RATE) + 4).astype(np.float32)
    smooth = white[:-2] + 2 * white[1:-1] + white[2:]
    noise = np.tanh(0.6 * smooth)
    noise[0] = 0.8  # a first sample near zero would delay the onset
    return noise


def whistle(cycles: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A pure tone along `cycles(seconds)` with a 2 ms attack."""
    return lambda dt: 0.32 * sine(cycles(dt)) * np.minimum(1.0, dt / 0.002).astype(np.float32)


def kick(dt: Array) -> Array:
    """A drum: a sine that falls from 150 to 50 Hz."""
    return 0.5 * decay(dt, 0.09) * sine(50 * dt + 100 * 0.03 * (1 - np.exp(-dt / 0.03)))


def hat(dt: Array) -> Array:
    """A cymbal: inharmonic partials between 4 and 8 kHz."""
    return decay(dt, 0.025) * (0.12 * sine(4_370 * dt) + 0.1 * sine(5_590 * dt) + 0.1 * sine(6_830 * dt))


def bass(frequency: float) -> Callable[[Array], Array]:
    """A plucked bass note with a clear second harmonic."""

    def sound(dt: Array) -> Array:
        cycles = frequency * dt
        return decay(dt, 0.22) * (0.2 * sine(cycles) + 0.14 * sine(2 * cycles) + 0.06 * sine(3 * cycles))

    return sound
