"""Endless clips: what the sampler makes, in pieces that join, and that another process can go on with."""

import io
import itertools
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from rflav_lib import ROOT, clip_stream
from rflav_lib.fast_transformer import FastTransformer
from rflav_lib.hifigan import HiFiGAN
from rflav_lib.media import Clip
from rflav_lib.memory import MemoryLayout
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def stream_of(pipeline, chunk_frames=3, seed=3, y="rain", **settings):
    generator = torch.Generator().manual_seed(seed)
    return pipeline.stream(1, chunk_frames, y, generator=generator, **settings)


def near(first: np.ndarray, second: np.ndarray) -> bool:
    """Pictures decoded in batches of another size may differ by one level."""
    return np.abs(first.astype(int) - second).max() <= 1


def same(first: Clip, second: Clip) -> bool:
    return np.array_equal(first.frames, second.frames) and np.array_equal(first.waveform, second.waveform)


def test_chunks_are_the_clip_that_one_call_makes(pipeline):
    """The same pictures; the sound is searched in blocks, so it is alike and not the same."""
    stream = stream_of(pipeline)
    chunks = [*itertools.islice(stream, 4), stream.finish()]
    (clip,) = pipeline(sum(map(len, chunks)), 1, "rain", generator=torch.Generator().manual_seed(3))
    assert [len(chunk) for chunk in chunks[:4]] == [3] * 4
    joined = Clip.concatenate(chunks)
    assert near(joined.frames, clip.frames)
    mels = [pipeline.mel.log_mel(torch.from_numpy(each.waveform)) for each in (joined, clip)]
    assert (mels[0] - mels[1]).abs().mean() < 0.5


@pytest.mark.parametrize("chunk_frames", [1, 2, 7])
def test_every_chunk_has_its_frames_and_exactly_their_sound(pipeline, chunk_frames):
    stream = stream_of(pipeline, chunk_frames)
    for number, clip in enumerate(itertools.islice(stream, 4), start=1):
        assert len(clip) == chunk_frames and len(clip.waveform) == 1600 * chunk_frames
        assert stream.frames_made == number * chunk_frames


def test_the_size_of_chunks_changes_nothing(pipeline):
    by_two = Clip.concatenate(list(itertools.islice(stream_of(pipeline, 2), 6)))
    by_six = Clip.concatenate(list(itertools.islice(stream_of(pipeline, 6), 2)))
    assert near(by_two.frames, by_six.frames) and np.array_equal(by_two.waveform, by_six.waveform)


def test_finishing_hands_out_what_waited_and_ends_it(pipeline):
    stream = stream_of(pipeline, 2)
    first = next(stream)
    last = stream.finish()
    assert len(last) >= 1 and len(last.waveform) == 1600 * len(last)
    assert stream.frames_made == len(first) + len(last)
    assert list(stream) == [] and stream.finish() is None


def test_a_class_set_while_it_runs_is_heard_and_seen_later(pipeline):
    steady, steered = stream_of(pipeline), stream_of(pipeline)
    assert same(next(steady), next(steered))
    steered.y = "siren"
    assert steered.y == "siren"
    later = [list(itertools.islice(stream, 4)) for stream in (steady, steered)]
    assert not same(later[0][-1], later[1][-1])


def test_steps_may_change_while_it_runs(pipeline):
    stream = stream_of(pipeline)
    next(stream)
    stream.steps_per_frame = 3
    assert stream.steps_per_frame == 3 and len(next(stream)) == 3


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_state_goes_on_bit_equally(pipeline, before):
    stream = stream_of(pipeline)
    list(itertools.islice(stream, before))
    file = io.BytesIO()
    torch.save(stream.state_dict(), file)
    file.seek(0)
    other = stream_of(pipeline, seed=99, y="siren")
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.y == "rain" and other.frames_made == 3 * before
    assert all(
        same(*pair) for pair in zip(itertools.islice(stream, 3), itertools.islice(other, 3), strict=True)
    )


@pytest.mark.slow
def test_a_stream_that_goes_on_computes_its_times_in_the_same_batch(pipeline, monkeypatch):
    """A product of several threads rounds by the number of its rows, so "bit-equally" hangs on this."""
    batches = []
    compute = FastTransformer._compute
    monkeypatch.setattr(
        FastTransformer,
        "_compute",
        lambda self, t, labels: batches.append(t.tolist()) or compute(self, t, labels),
    )
    first = pipeline.stream(
        steps_per_frame=2, chunk_frames=2, y="rain", generator=torch.Generator().manual_seed(0)
    )
    next(first)
    of_first = list(batches)
    batches.clear()
    later = pipeline.stream(steps_per_frame=2, chunk_frames=2)
    later.load_state_dict(first.state_dict())
    for _ in range(4):  # the first clips may be made already: sound is found in blocks
        next(later)
        next(first)
    assert batches == of_first and len(batches) == 1 and len(batches[0]) > pipeline.transformer.config.window


def test_another_process_goes_on_bit_equally(pipeline, tmp_path):
    pipeline.save_whole(tmp_path / "pipeline")
    stream = stream_of(pipeline)
    next(stream)
    torch.save(stream.state_dict(), tmp_path / "state.pt")
    script = f"""
import numpy as np, torch
from rflav_lib.pipeline import RFLAVPipeline
torch.set_num_threads({torch.get_num_threads()})
pipe = RFLAVPipeline.from_pretrained({str(tmp_path / "pipeline")!r})
stream = pipe.stream(1, 3)
stream.load_state_dict(torch.load({str(tmp_path / "state.pt")!r}, weights_only=True))
clip = next(stream)
np.savez({str(tmp_path / "next.npz")!r}, frames=clip.frames, waveform=clip.waveform)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True)
    expected, found = next(stream), np.load(tmp_path / "next.npz")
    assert np.array_equal(found["frames"], expected.frames)
    assert np.array_equal(found["waveform"], expected.waveform)


def test_what_it_holds_does_not_grow(pipeline):
    stream = stream_of(pipeline, 5)
    sizes = []
    for _ in range(12):
        next(stream)
        file = io.BytesIO()
        torch.save(stream.state_dict(), file)
        sizes.append(len(file.getvalue()))
    # what waits for its sound comes and goes with the vocoder's blocks, over four chunks
    assert sizes[4:8] == sizes[8:12]


def test_a_decoder_that_fails_in_mid_stream_loses_nothing(pipeline, monkeypatch):
    expected = stream_of(pipeline)
    stream = stream_of(pipeline)
    assert same(next(stream), next(expected))
    with monkeypatch.context() as patch:
        patch.setattr(
            pipeline, "decode_video", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory"))
        )
        with pytest.raises(RuntimeError, match="out of memory"):
            next(stream)
    assert same(next(stream), next(expected)), "the same clip, once the decoder works again"


def broken(*_):
    raise RuntimeError("out of memory")


def test_what_was_generated_before_a_failure_can_be_saved(pipeline, monkeypatch):
    """By its state, to go on elsewhere; or by finishing, once the decoder works again."""
    expected, stream = stream_of(pipeline), stream_of(pipeline)
    assert same(next(stream), next(expected))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "decode_video", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            next(stream)
        saved = io.BytesIO()
        torch.save(stream.state_dict(), saved)
        with pytest.raises(RuntimeError, match="out of memory"):
            stream.finish()
    saved.seek(0)
    elsewhere = stream_of(pipeline, seed=99)
    elsewhere.load_state_dict(torch.load(saved, weights_only=True))
    for _ in range(2):
        assert same(next(elsewhere), next(expected))
    last = stream.finish()
    assert len(last) >= 3 and len(last.waveform) == 1600 * len(last)
    assert list(stream) == [] and stream.finish() is None


def test_a_vocoder_that_fails_loses_nothing(pipeline, monkeypatch):
    expected, stream = stream_of(pipeline), stream_of(pipeline)
    with monkeypatch.context() as patch:
        patch.setattr(stream._vocoder, "push", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            next(stream)
        patch.setattr(stream._vocoder, "flush", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            stream.finish()
    assert stream.finish() is None, "no frame was whole"
    started = stream_of(pipeline)
    assert same(next(started), next(expected))
    with monkeypatch.context() as patch:
        patch.setattr(started._vocoder, "push", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            list(itertools.islice(started, 3))


def test_with_hifigan_the_chunks_are_the_whole_to_the_last_digit():
    """No joint can be heard where there is none: the sound in chunks is the sound of the whole clip."""
    pipeline = tiny_pipeline()
    torch.manual_seed(1)
    vocoder = HiFiGAN(
        n_mels=32, upsample_initial_channel=32, resblock_kernel_sizes=(3,), resblock_dilation_sizes=((1, 3),)
    )
    for parameter in vocoder.parameters():  # loud enough to be heard
        torch.nn.init.normal_(parameter, std=0.2)
    pipeline.register_modules(vocoder=vocoder.eval())
    stream = stream_of(pipeline)
    chunks = [*itertools.islice(stream, 4), stream.finish()]
    joined = Clip.concatenate([chunk for chunk in chunks if chunk])
    (whole,) = pipeline(len(joined), 1, "rain", generator=torch.Generator().manual_seed(3))
    assert len(joined.waveform) == 1600 * len(joined) > 1600 * 12
    assert whole.waveform.std() > 0.01
    np.testing.assert_allclose(joined.waveform, whole.waveform, atol=1e-5)


class Playing:
    """In the place of a sampler: hands out mel segments (1 k f m) that are given."""

    steps_per_frame = 1
    guidance_scale = 1.0

    def __init__(self, segments, window):
        self.segments, self.window, self.frame = segments, window, 0

    def preroll(self, video, audio, y):
        return video, self.segments[:, : self.window]

    def empty_memory(self, video, audio):
        return None

    def roll(self, video, audio, generator, y, memory):
        self.frame += 1
        return video, self.segments[:, self.frame : self.frame + self.window]


def test_no_click_where_clips_meet(pipeline):
    """A chord has little above 6 kHz: what there is at the joints of clips is no louder than elsewhere."""
    n = torch.arange(16000 * 5) / 16000
    chord = sum(torch.sin(2 * math.pi * pitch * n) for pitch in (220, 331, 554)) * 0.2
    stream = stream_of(pipeline, 2)
    stream._sampler = Playing(pipeline.mel.encode(chord), 4)
    clips = list(itertools.islice(stream, 18))
    # the same clips, not joining: this would be heard
    apart = [np.roll(clip.waveform, 500) for clip in clips]
    joints = torch.arange(2, 17) * 3200 // 32
    for pieces, clicks in (([clip.waveform for clip in clips], False), (apart, True)):
        sound = torch.from_numpy(np.concatenate(pieces))
        spectrum = torch.stft(sound, 256, 32, window=torch.hann_window(256), return_complex=True)
        high = spectrum.abs()[96:].square().sum(0).sqrt()
        at_joints = torch.cat([high[place - 4 : place + 5] for place in joints])
        between = torch.cat([high[place + 20 : place + 80] for place in joints])
        assert (at_joints.max() > 2 * between.quantile(0.99)) == clicks


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chunk_frames": 0}, "chunk_frames must be a whole number, at least 1, not 0"),
        ({"chunk_frames": 2.0}, "chunk_frames must be a whole number"),
        ({"y": "rian"}, "did you mean 'rain'"),
        ({"y": ["rain", "siren"]}, "takes one class, not 2"),
        ({"steps_per_frame": 0}, "steps_per_frame must be a whole number"),
        ({"guidance_scale": 2.0}, "needs labels"),
    ],
)
def test_bad_calls_are_named_at_once(pipeline, settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline.stream(**settings)


def test_a_state_of_another_model_is_refused(pipeline):
    other = tiny_pipeline(window=3)
    running = stream_of(other)
    next(running)
    with pytest.raises(ValueError, match="it is of another model"):
        stream_of(pipeline).load_state_dict(running.state_dict())
    for nothing in ({}, {"format": [3]}, {"format": 4}):
        with pytest.raises(ValueError, match="no state of a stream"):
            stream_of(pipeline).load_state_dict(nothing)


def test_bf16_makes_nearly_the_same_clip(pipeline):
    exact, fast = next(stream_of(pipeline)), next(stream_of(pipeline, dtype=torch.bfloat16))
    difference = np.abs(exact.frames.astype(int) - fast.frames).mean()
    assert 0 < difference < 8 and len(fast.waveform) == len(exact.waveform)
    assert next(pipeline.vae.parameters()).dtype == torch.float32, "the pipeline's own decoder is left alone"


def interrupted_once(monkeypatch, owner, name, at, after):
    """From now on `owner.name` stops its call number `at` as Ctrl-C would, when its work is done or before it."""
    calls, plain = itertools.count(), getattr(owner, name)

    def interrupts(*arguments, **more):
        stops = next(calls) == at
        if stops and not after:
            raise KeyboardInterrupt
        made = plain(*arguments, **more)
        if stops:
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(owner, name, interrupts)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("owner", "name"), [("_vocoder", "push"), ("vocoder", "find_phases"), ("_sampler", "_step"),
                                             ("_sampler", "roll"), ("_pipeline", "decode_video")])  # fmt: skip
@pytest.mark.parametrize("at", [0, 2])
def test_an_interrupted_stream_goes_on_as_if_nothing_had_been(pipeline, monkeypatch, owner, name, after, at):
    expected, stream = stream_of(pipeline), stream_of(pipeline)
    assert same(next(stream), next(expected))
    place = pipeline.vocoder if owner == "vocoder" else getattr(stream, owner)
    with monkeypatch.context() as patch:
        interrupted_once(patch, place, name, at, after)
        with pytest.raises(KeyboardInterrupt):
            list(itertools.islice(stream, 12))
    assert stream.frames_made < 13 * 3
    for _ in range(stream.frames_made // 3 - 1):
        next(expected)
    for _ in range(3):
        assert same(next(stream), next(expected))
    assert torch.equal(stream._generator.get_state(), expected._generator.get_state())
    assert same(stream.finish(), expected.finish())


def test_an_interrupted_end_is_the_end_once_it_is_asked_for_again(pipeline, monkeypatch):
    expected, stream = stream_of(pipeline), stream_of(pipeline)
    assert same(next(stream), next(expected))
    for after in (False, True):
        with monkeypatch.context() as patch:
            interrupted_once(patch, pipeline.vocoder, "find_phases", 0, after)
            with pytest.raises(KeyboardInterrupt):
                stream.finish()
    assert same(stream.finish(), expected.finish())


def saved(stream):
    """The state as another process gets it."""
    file = io.BytesIO()
    torch.save(stream.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("guidance", [2.0, (1.0, 3.0), np.float64(2)])
def test_a_state_goes_on_with_its_guidance_and_its_length_of_clips(pipeline, guidance):
    stream = stream_of(pipeline, guidance_scale=guidance)
    next(stream)
    later = pipeline.stream()
    later.load_state_dict(saved(stream))
    for _ in range(2):
        assert same(next(stream), next(later))
    unguided = stream_of(pipeline)
    later.load_state_dict(saved(unguided))
    assert same(next(unguided), next(later)), "what a state said before does not stay"


@pytest.mark.parametrize(
    ("opened", "message"),
    [
        (
            {"guidance_scale": 3.0},
            r"guidance_scale \[2\.0, 2\.0\], but .* opened with guidance_scale \[3\.0, 3\.0\]",
        ),
        ({"chunk_frames": 4}, "goes on with chunk_frames 3, but the stream was opened with chunk_frames 4"),
        (
            {"dtype": torch.bfloat16},
            "goes on with dtype float32, but the stream was opened with dtype bfloat16",
        ),
    ],
)
def test_a_state_of_other_settings_than_a_stream_was_opened_with_is_refused(pipeline, opened, message):
    state = saved(stream_of(pipeline, guidance_scale=2.0))
    with pytest.raises(ValueError, match=message):
        pipeline.stream(y="rain", **opened).load_state_dict(state)
    same_settings = pipeline.stream(y="rain", guidance_scale=(2, 2), chunk_frames=3, dtype=torch.float32)
    same_settings.load_state_dict(state)


def test_a_state_of_other_weights_is_refused(pipeline):
    other = tiny_pipeline()
    with torch.no_grad():
        next(other.vae.decoder.parameters()).add_(0.01)
    state = saved(stream_of(other))
    with pytest.raises(ValueError, match=r"this state is of other weights \(\w{16}\) than this model's"):
        stream_of(pipeline).load_state_dict(state)


def test_weights_are_looked_at_once_and_only_for_a_state(pipeline, monkeypatch):
    looked = []
    monkeypatch.setattr(clip_stream, "fingerprint", lambda pipe: looked.append(pipe) or "0" * 16)
    stream = stream_of(pipeline)
    next(stream)
    assert not looked
    for _ in range(3):
        stream.load_state_dict(stream.state_dict())
    assert looked == [pipeline]


@pytest.mark.parametrize("y", [np.array(["siren"])[0], ["siren"], 4])
def test_a_class_of_any_kind_is_saved_as_a_plain_value(pipeline, y):
    stream = stream_of(pipeline, y=y)
    state = saved(stream)
    assert type(state["y"]) in (str, int)
    later = stream_of(pipeline, seed=8)
    later.load_state_dict(state)
    assert same(next(stream), next(later))


def test_all_of_a_state_is_on_the_cpu(pipeline):
    """Wherever the vocoder keeps what it has in hand."""
    vocoder, elsewhere = stream_of(pipeline)._vocoder, Mock()
    vocoder._past = elsewhere
    assert vocoder.state_dict()["past"] is elsewhere.cpu().clone()


def test_a_state_of_an_older_version_goes_on_and_says_what_it_lacks(pipeline):
    stream = stream_of(pipeline)
    next(stream)
    state = saved(stream) | {"format": 1}
    for key in ("guidance_scale", "chunk_frames", "dtype", "weights", "memory", "warm_frames", "settings"):
        del state[key]
    later = stream_of(pipeline, seed=5)
    with pytest.warns(UserWarning, match="without guidance_scale, chunk_frames, dtype, weights, settings:"):
        later.load_state_dict(state)
    assert same(next(stream), next(later))


def test_a_state_of_format_2_goes_on_and_still_knows_its_weights(pipeline):
    stream = stream_of(pipeline)
    next(stream)
    state = saved(stream) | {"format": 2}
    del state["settings"]
    later = stream_of(pipeline, seed=5)
    with pytest.warns(UserWarning, match="by an older version, without settings:"):
        later.load_state_dict(state)
    assert same(next(stream), next(later))
    with (
        pytest.warns(UserWarning, match="older"),
        pytest.raises(ValueError, match="this state is of other weights"),
    ):
        later.load_state_dict(state | {"weights": "0" * 16})


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("mel", {"audio_scale": 2.0}),
        ("vocoder", {"iterations": 5}),
        ("transformer", {"num_heads": 1}),
        ("vae", {"scaling_factor": 0.5}),
    ],
)
def test_a_state_of_other_settings_of_a_part_is_refused(pipeline, part, changes):
    """Equal weights, used in another way."""
    state, other = saved(stream_of(pipeline)), tiny_pipeline()
    getattr(other, part).register_to_config(**changes)
    with pytest.raises(ValueError, match=f"saved by a pipeline with other settings of {part}: open the"):
        stream_of(other).load_state_dict(state)


@pytest.mark.parametrize("end", ["finish", "close"])
@pytest.mark.parametrize("before", [0, 1])
def test_a_stream_that_was_ended_has_no_state(pipeline, end, before):
    stream = stream_of(pipeline)
    list(itertools.islice(stream, before))
    getattr(stream, end)()
    with pytest.raises(ValueError, match=r"was ended: save its state before finish\(\) or close\(\)"):
        stream.state_dict()


def test_threads_that_share_a_stream_get_each_clip_once(pipeline):
    stream, expected = stream_of(pipeline, 2), list(itertools.islice(stream_of(pipeline, 2), 6))
    with ThreadPoolExecutor(3) as pool:
        made = [clip for part in pool.map(lambda _: [next(stream), next(stream)], range(3)) for clip in part]
    for clip in expected:
        (found,) = (number for number, other in enumerate(made) if same(clip, other))
        made.pop(found)
    assert stream.frames_made == 12 and not made


@pytest.mark.parametrize("vocoder", ["griffin-lim", "hifi-gan"])
def test_a_state_whose_frames_do_not_fit_their_sound_is_refused(pipeline, vocoder):
    if vocoder == "hifi-gan":
        pipeline = tiny_pipeline()
        small = HiFiGAN(n_mels=32, upsample_rates=(20, 8), upsample_kernel_sizes=(40, 16),
                        upsample_initial_channel=8)  # fmt: skip
        pipeline.register_modules(vocoder=small.eval())
    for before in (0, 1, 2):
        other = stream_of(pipeline, seed=8)
        list(itertools.islice(other, before))
        stream_of(pipeline).load_state_dict(saved(other))
    for latents in ([], other.state_dict()["latents"][1:], other.state_dict()["latents"] * 2):
        with pytest.raises(ValueError, match=r"this state is damaged: \d+ frames wait with \d+ samples"):
            stream_of(pipeline).load_state_dict(saved(other) | {"latents": latents})


KEYS = ("window", "memory", "warm_frames", "latents", "sound", "vocoder", "generator", "y", "steps_per_frame",
        "frames_made", "guidance_scale", "chunk_frames", "dtype", "weights", "settings")  # fmt: skip
DAMAGE = {
    "window": [[torch.zeros(1)], 3, [torch.zeros(2, 2)] * 2],
    "memory": [{"layout": {}}, 3],
    "warm_frames": [-1, "2"],
    "latents": [[torch.zeros(2)], 3],
    "sound": [torch.zeros(5), None],
    "vocoder": [
        {},
        None,
        {"waiting": torch.zeros(1, 32, 3), "context": torch.zeros(1), "past": None, "tail": None},
    ],
    "generator": [torch.zeros(3, dtype=torch.uint8), "seed"],
    "y": ["rian", 99],
    "steps_per_frame": [0, None],
    "frames_made": [-1, "3"],
    "guidance_scale": ["much", [1.0, 2.0, 3.0], 3, [True, True]],
    "chunk_frames": [0, None],
    "dtype": ["float16"],
    "weights": ["0123456789abcdef"],
    "settings": [{}, 3],
}


@pytest.mark.parametrize("key", KEYS)
def test_a_damaged_state_is_named_and_changes_nothing(pipeline, key):
    """Every value but what the other stream has in hand differs from this stream's: what is used would be seen."""
    other = stream_of(pipeline, seed=8, y="siren")
    next(other)
    state, stream, expected = saved(other), pipeline.stream(1, y="rain"), pipeline.stream(1, y="rain")
    before = saved(stream)
    for damaged in ({name: value for name, value in state.items() if name != key},
                    *({**state, key: value} for value in DAMAGE[key])):  # fmt: skip
        with pytest.raises(ValueError, match=r"state|must be|unknown class|out of range"):
            stream.load_state_dict(damaged)
    with pytest.raises(ValueError, match=f"this state of a stream is damaged: it lacks {key}$"):
        stream.load_state_dict({name: value for name, value in state.items() if name != key})
    expected.load_state_dict(before)
    assert same(next(stream), next(expected))


@pytest.mark.parametrize("key", ["waiting", "context", "past", "tail"])
def test_a_vocoder_s_state_that_lacks_something_is_refused_as_a_whole(pipeline, key):
    stream = stream_of(pipeline)
    list(itertools.islice(stream, 3))
    state = saved(stream)
    del state["vocoder"][key]
    with pytest.raises(ValueError, match=f"this state of a vocoder is damaged: it lacks {key}"):
        stream_of(pipeline).load_state_dict(state)


@pytest.fixture(scope="module")
def with_memory():
    return tiny_pipeline(memory=MemoryLayout(1, 2))


def refused(pipeline, spoil, message):
    """A state spoilt by `spoil` is refused, and the stream that should have loaded it goes on as it would have."""
    other = stream_of(pipeline, seed=8, y="siren")
    list(itertools.islice(other, 2))
    stream, expected, state = stream_of(pipeline), stream_of(pipeline), saved(other)
    spoil(state)
    with pytest.raises(ValueError, match=message):
        stream.load_state_dict(state)
    assert same(next(stream), next(expected))


@pytest.mark.parametrize("emitted", [-7, "x", 2.5, True, None])
def test_a_state_of_a_bad_number_of_remembered_frames_is_refused(with_memory, emitted):
    message = f"emitted must be a whole number, at least 0, not {emitted!r}"
    refused(with_memory, lambda state: state["memory"].update(emitted=emitted), message)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("part", "what"),
    [
        (lambda state: state["window"][0], "video window"),
        (lambda state: state["window"][1], "audio window"),
        (lambda state: state["latents"][-1], "waiting frames"),
        (lambda state: state["sound"], "waiting sound"),
        (lambda state: state["memory"]["video"], "video memory"),
        (lambda state: state["memory"]["audio"], "audio memory"),
        (lambda state: state["vocoder"]["waiting"], "vocoder's waiting"),
        (lambda state: state["vocoder"]["past"], "vocoder's past"),
    ],
)
def test_a_state_that_is_not_finite_is_refused(with_memory, part, what, value):
    def spoil(state):
        part(state).view(-1)[0] = value

    refused(with_memory, spoil, f"this state is damaged: NaN or infinite values in the {what}$")


def test_what_is_fixed_is_not_set_in_silence(pipeline):
    stream = stream_of(pipeline)
    assert (stream.guidance_scale, stream.chunk_frames) == (1.0, stream._chunk_frames)
    for name in ("guidance_scale", "chunk_frames"):
        with pytest.raises(AttributeError, match=name):
            setattr(stream, name, 3)


def test_guidance_that_runs_away_is_named_and_the_stream_stays_as_it_was(pipeline):
    stream = pipeline.stream(1, y="rain", guidance_scale=1e30)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"made is NaN or infinite: try a guidance_scale below 1e\+30"):
            next(stream)
    assert stream.frames_made == 0
