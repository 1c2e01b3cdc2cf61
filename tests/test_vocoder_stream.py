"""Griffin-Lim in pieces: as many samples as the whole, as near to the mel, and no click where pieces meet."""

import io
import math

import pytest
import torch

from rflav_lib.data.toy import make_clip
from rflav_lib.mel import MelCodec
from rflav_lib.vocoder import GriffinLim
from rflav_lib.vocoder_stream import BLOCK, FADE

HOP = 160


@pytest.fixture(scope="module")
def pair():
    codec = MelCodec(n_mels=64, peak=None)
    return codec, GriffinLim.from_codec(codec)


def log_mel_of(codec, label, frames=30):
    return codec.log_mel(torch.from_numpy(make_clip("toy-landscape", 7, label, frames, label).clip.waveform))


def in_pieces(vocoder, log_mel, size, stream=None):
    stream = stream or vocoder.stream(len(log_mel))
    pieces = [stream.push(part) for part in log_mel.split(size, dim=-1)]
    return torch.cat([*pieces, stream.flush()], dim=-1)


@pytest.mark.parametrize(("iterations", "rounds"), [(64, 48), (4, 3), (1, 1)])
def test_a_block_takes_three_quarters_of_the_rounds(pair, monkeypatch, iterations, rounds):
    codec, _ = pair
    vocoder, asked = GriffinLim.from_codec(codec, iterations=iterations), []
    find_phases = vocoder.find_phases
    monkeypatch.setattr(
        vocoder,
        "find_phases",
        lambda spectra, rounds, past: asked.append(rounds) or find_phases(spectra, 1, past),
    )
    in_pieces(vocoder, log_mel_of(codec, 0, 2), 10)
    assert set(asked) == {rounds}


@pytest.mark.parametrize("frames", [1, 7, 10, BLOCK, BLOCK + 7, BLOCK + 8, BLOCK + 9, 2 * BLOCK + 8, 130])
def test_every_frame_gives_its_samples(pair, frames):
    codec, vocoder = pair
    log_mel = log_mel_of(codec, 2)[..., :frames]
    sound = in_pieces(vocoder, log_mel, 10)
    assert sound.shape == (1, frames * HOP) and torch.isfinite(sound).all()


def test_how_it_is_cut_does_not_matter(pair):
    codec, vocoder = pair
    log_mel = log_mel_of(codec, 0, 16)
    by_ten = in_pieces(vocoder, log_mel, 10)
    for size in (1, 37, 160):
        assert torch.equal(in_pieces(vocoder, log_mel, size), by_ten)


@pytest.mark.parametrize("label", range(5))
def test_it_says_what_the_mel_says(pair, label):
    """Measured: at most 0.31, where the whole clip at once has at most 0.26."""
    codec, vocoder = pair
    log_mel = log_mel_of(codec, label)
    error = (codec.log_mel(in_pieces(vocoder, log_mel, 10)) - log_mel).abs().mean()
    assert error < 0.36
    assert error < (codec.log_mel(vocoder(log_mel)) - log_mel).abs().mean() + 0.12


def test_events_keep_their_place(pair):
    """Within 2 ms, also where blocks meet; a whole clip at once keeps them within 1 ms."""
    codec, vocoder = pair
    places = torch.tensor([3000, 6400, 6500, 9637, 12800])  # two of them where blocks meet
    clicks = torch.zeros(len(places), 16000)
    for row, place in enumerate(places):
        clicks[row, place - 16 : place + 16] = torch.hann_window(32)
    found = in_pieces(vocoder, codec.log_mel(clicks), 10).abs().argmax(dim=1)
    assert (found - places).abs().max() <= 32, found - places


def test_no_click_where_blocks_meet(pair):
    """A steady chord has next to nothing above 4 kHz: a click at a joint would stand out there."""
    codec, vocoder = pair
    n = torch.arange(64000) / 16000
    chord = sum(torch.sin(2 * math.pi * pitch * n) for pitch in (220, 331, 554)) * 0.2
    sound = in_pieces(vocoder, codec.log_mel(chord), 10)[0]
    spectrum = torch.stft(sound, 256, 32, window=torch.hann_window(256), return_complex=True).abs()
    high = spectrum[64:].square().sum(0).sqrt()  # one value every 32 samples
    joints = [block * BLOCK * HOP - HOP // 2 for block in range(1, 10)]
    near = torch.zeros(len(high), dtype=torch.bool)
    for joint in joints:
        near[(joint - 128) // 32 : (joint + FADE + 128) // 32] = True
    near[:40] = near[-40:] = False
    elsewhere = high[40:-40][~near[40:-40]]
    assert near.sum() > 100 and high[near].max() < 1.5 * elsewhere.max()


def test_the_check_above_would_hear_a_click(pair):
    codec, vocoder = pair
    n = torch.arange(32000) / 16000
    chord = sum(torch.sin(2 * math.pi * pitch * n) for pitch in (220, 331, 554)) * 0.2
    log_mel = codec.log_mel(chord)
    apart = torch.cat([vocoder(part) for part in log_mel.split(BLOCK, dim=-1)], dim=-1)[0]
    spectrum = torch.stft(apart, 256, 32, window=torch.hann_window(256), return_complex=True).abs()
    high = spectrum[64:].square().sum(0).sqrt()
    joints = [block * BLOCK * HOP // 32 for block in range(1, 5)]
    near = torch.cat([high[joint - 8 : joint + 8] for joint in joints])
    assert near.max() > 3 * high[40:-40].median()


def test_another_process_goes_on_bit_equally(pair):
    codec, vocoder = pair
    log_mel = log_mel_of(codec, 3, 24)
    stream = vocoder.stream()
    begun = stream.push(log_mel[..., :110])
    file = io.BytesIO()
    torch.save(stream.state_dict(), file)
    file.seek(0)
    other = GriffinLim.from_codec(codec).stream()
    other.load_state_dict(torch.load(file, weights_only=True))
    rest = [torch.cat([s.push(log_mel[..., 110:]), s.flush()], dim=-1) for s in (stream, other)]
    assert torch.equal(*rest) and begun.shape[1] + rest[0].shape[1] == log_mel.shape[-1] * HOP


def test_memory_is_flat_and_after_a_flush_it_is_new(pair):
    codec, vocoder = pair
    log_mel = log_mel_of(codec, 4, 20)
    stream = vocoder.stream()
    first, sizes = in_pieces(vocoder, log_mel, 50, stream), []
    for _ in range(3):
        stream.push(log_mel)
        state = stream.state_dict()
        sizes.append(
            max(
                tensor.untyped_storage().nbytes()
                for tensor in (state["waiting"], state["context"], state["past"])
            )
        )
    assert sizes[0] == sizes[1] == sizes[2]
    stream.flush()
    assert torch.equal(in_pieces(vocoder, log_mel, 50, stream), first)


def test_sounds_of_a_batch_do_not_mix(pair):
    codec, vocoder = pair
    log_mel = torch.cat([log_mel_of(codec, 0, 12), log_mel_of(codec, 2, 12)])
    both = in_pieces(vocoder, log_mel, 20)
    torch.testing.assert_close(both[1:], in_pieces(vocoder, log_mel[1:], 20), atol=1e-4, rtol=0)


def test_bad_input_is_named(pair):
    _, vocoder = pair
    with pytest.raises(ValueError, match="is for 2 sounds, this stream for 1"):
        vocoder.stream().push(torch.zeros(2, 64, 10))
    with pytest.raises(ValueError, match="m=64"):
        vocoder.stream().push(torch.zeros(1, 32, 10))
    with pytest.raises(ValueError, match="NaN"):
        vocoder.stream().push(torch.full((1, 64, 10), float("nan")))
    with pytest.raises(ValueError, match="batch must be at least 1"):
        vocoder.stream(0)
    with pytest.raises(ValueError, match="this state is of a stream of"):
        vocoder.stream(2).load_state_dict(vocoder.stream(1).state_dict())


def test_an_interrupted_push_counts_as_none(pair, monkeypatch):
    codec, vocoder = pair
    log_mel, stream = log_mel_of(codec, 1, 16), vocoder.stream()
    expected = in_pieces(vocoder, log_mel, 50)
    first = stream.push(log_mel[..., :60])
    plain, calls = vocoder.find_phases, []

    def second_stops(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(vocoder, "find_phases", second_stops)
        with pytest.raises(KeyboardInterrupt):
            stream.push(log_mel[..., 60:])
    rest = [stream.push(log_mel[..., 60:]), stream.flush()]
    assert torch.equal(torch.cat([first, *rest], dim=-1), expected)
