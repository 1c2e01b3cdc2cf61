"""The search for phases makes what torch's and torchaudio's functions make, in less time."""

import math

import pytest
import torch
import torchaudio

from rflav_lib.phase_search import FrameTransform, find_phases

FRAMES = 20


def transform_of(n_fft=512, width=256, hop=40):
    window = torch.hann_window(width, dtype=torch.float64)
    return FrameTransform(window, n_fft, hop, FRAMES), {
        "n_fft": n_fft, "hop_length": hop, "win_length": width, "window": window,
    }  # fmt: skip


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("sizes", [(512, 256, 40), (512, 255, 64), (256, 256, 100), (400, 300, 150)])
def test_it_is_the_short_time_fourier_transform_and_its_inverse(sizes):
    transform, settings = transform_of(*sizes)
    sound = noise(2, transform.samples)
    spectrum = torch.stft(sound, **settings, return_complex=True)
    turn = transform.turn[:, None]
    torch.testing.assert_close(transform.spectrum(sound).mT, spectrum * turn)
    torch.testing.assert_close(transform.sound(transform.spectrum(sound)), sound)
    other = torch.polar(noise(2, *spectrum.shape[1:]).abs(), noise(2, *spectrum.shape[1:]))
    expected = torch.istft(other, **settings, length=transform.samples)
    torch.testing.assert_close(transform.sound((other * turn).mT), expected)


@pytest.mark.parametrize("rounds", [1, 2, 16])
def test_it_is_torchaudios_griffin_lim(rounds):
    transform, settings = transform_of()
    magnitude = noise(2, 257, FRAMES).abs()
    expected = torchaudio.functional.griffinlim(
        magnitude, **settings, power=1.0, n_iter=rounds, momentum=0.99, rand_init=False,
        length=transform.samples,
    )  # fmt: skip
    torch.testing.assert_close(find_phases(transform, magnitude, rounds, 0.99), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_phases_go_on_from_what_is_known(sign):
    """A tone and its opposite have the same magnitudes: the known beginning says which one goes on."""
    transform, settings = transform_of()
    tone = torch.sin(2 * math.pi * 0.031 * torch.arange(transform.samples, dtype=torch.float64))[None] * 0.5
    magnitude = torch.stft(tone, **settings, return_complex=True).abs()
    known = sign * tone[:, : transform.samples // 2]
    found = find_phases(transform, magnitude, 32, 0.99, known)
    after = slice(known.shape[1], known.shape[1] + settings["win_length"] // 2)
    assert (found - sign * tone)[:, after].abs().max() < 0.15
