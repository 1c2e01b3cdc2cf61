"""The live player without a browser: what it sends, whom it obeys, what it refuses, what it saves."""

import gc
import io
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rflav_lib.media import Clip
from rflav_lib.view import player as module
from rflav_lib.view.player import play
from tests.tiny import tiny_pipeline

SECONDS = 120


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline()


@pytest.fixture
def player(pipe, tmp_path):
    """Makes players that keep what they send; all are closed afterwards."""
    made = []

    def make(pipe=pipe, **options):
        player = play(pipe, **{"folder": tmp_path, "ahead": 1.0, "steps_per_frame": 1, **options})
        player.sent = []
        player.send = lambda content, buffers=None: player.sent.append((content, buffers))
        made.append(player)
        return player

    yield make
    for each in made:
        feed = each._feed
        each.close()
        assert feed is None or feed.join(SECONDS)


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def clips(player, run=None):
    return [(c, b) for c, b in player.sent if c["kind"] == "clip" and run in (None, c["run"])]


def answer(player, **content):
    """As if the browser had sent it."""
    player._handle_custom_msg(content, [])


def test_what_arrives_is_what_the_pipeline_streams(pipe, player):
    each = player(y="rain", seed=3)
    each.running = True
    until(lambda: len(clips(each)) == 2)
    stream = pipe.stream(
        steps_per_frame=1, chunk_frames=5, y="rain", generator=torch.Generator().manual_seed(3)
    )
    for (content, (pictures, sound)), clip, first in zip(clips(each), stream, (0, 5), strict=False):
        assert (content["first"], content["count"], content["sizes"]) == (first, 5, [])
        assert content["speed"] > 0
        assert (np.frombuffer(pictures, np.uint8).reshape(5, 64, 64, 3) == clip.frames).all()
        assert (np.frombuffer(sound, "<f4") == clip.waveform).all()


def test_the_kernel_is_not_flooded_and_goes_on_when_the_browser_has_played(player):
    each = player(ahead=1.0)
    each.running = True
    until(lambda: len(clips(each)) == 2)
    time.sleep(0.3)
    assert len(clips(each)) == 2
    answer(each, kind="played", run=1, frames=5)
    until(lambda: len(clips(each)) == 3)
    answer(each, kind="played", run=7, frames=15)
    time.sleep(0.3)
    assert len(clips(each)) == 3, "the word of another run counts for nothing"


def test_a_clip_that_was_lost_on_the_way_is_sent_once_more(player):
    each = player()
    each.running = True
    until(lambda: len(clips(each)) == 2)
    lost = clips(each)[1]
    answer(each, kind="played", run=1, frames=5, missing=5)
    until(lambda: len(clips(each)) >= 4)
    again = [(c, b) for c, b in clips(each)[2:] if c["first"] == 5]
    assert len(again) == 1 and again[0][1] == lost[1], "the same bytes, once"
    assert again[0][0]["run"] == 1
    answer(each, kind="played", run=7, frames=5, missing=0)
    assert all(c["first"] for c, _ in clips(each)[2:]), "what another run misses is nothing of this one"


def test_start_again_plays_the_same_again_and_another_seed_another(player):
    each = player(seed=1)
    firsts = []
    for run, seed in enumerate((1, 1, 2), start=1):
        each.seed = seed
        each.running = True
        until(lambda run=run: clips(each, run))
        each.running = False
        firsts.append(clips(each, run)[0][1][0])
    assert firsts[0] == firsts[1] != firsts[2]
    assert each._feed.join(SECONDS)


def test_class_and_steps_follow_while_it_plays(player):
    each = player(y="rain", ahead=0.5)
    each.running = True
    until(lambda: clips(each))
    each.y = "siren"
    each.steps_per_frame = 2
    answer(each, kind="played", run=1, frames=5)
    until(lambda: len(clips(each)) == 2)
    assert each._feed._stream.y == "siren" and each._feed._stream.steps_per_frame == 2


def test_a_class_by_number_gets_its_name(player):
    assert player(y=2).y == "rain"
    assert player().y is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": "rian"}, "did you mean 'rain'"),
        ({"y": 5}, "out of range"),
        ({"y": ["rain", "siren"]}, "one class, not 2"),
        ({"steps_per_frame": 0}, "at least 1"),
        ({"ahead": 0}, "ahead must be above 0"),
        ({"ahead": float("inf")}, "ahead must be a finite number, not inf"),
        ({"patience": -1.0}, "patience must be above 0"),
        ({"patience": float("inf")}, "patience must be a finite number, not inf"),
        ({"patience": 1e10}, "at most 86400 seconds, not 10000000000.0"),
        ({"patience": "10"}, "patience must be a finite number, not '10'"),
        ({"seed": -1}, "seed must be a whole number, at least 0, not -1"),
        ({"guidance_scale": 3}, "guidance_scale is 3, which needs labels: choose a class"),
        ({"guidance_scale": "3", "y": "rain"}, "guidance_scale must be a number"),
        ({"dtype": "bfloat16"}, "dtype must be None or one of"),
        ({"warm_frames": -1}, "warm_frames must be a whole number"),
    ],
)
def test_bad_settings_are_refused_at_once(player, options, message):
    with pytest.raises(ValueError, match=message):
        player(**options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("guidance", "play takes no option 'guidance'; did you mean 'guidance_scale'?"),
        (
            "generator",
            "play takes no option 'generator'; there are: compiled, dtype, guidance_scale, warm_frames",
        ),
    ],
)
def test_options_that_a_stream_does_not_have_are_refused_at_once(player, name, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        player(**{name: 2})


def test_a_player_that_was_never_made_leaves_nothing_to_clean_up(player, monkeypatch):
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    with pytest.raises(AttributeError):
        module.Player(None, Path(), 1.0, 1.0, {})
    gc.collect()
    assert raised == []


def test_bad_settings_later_are_refused_and_change_nothing(player):
    each = player(y="rain")
    with pytest.raises(ValueError, match="unknown class"):
        each.y = "snow"
    with pytest.raises(ValueError, match="at least 1"):
        each.steps_per_frame = 0
    assert (each.y, each.steps_per_frame) == ("rain", 1)


def test_what_the_browser_asks_in_vain_is_told_and_taken_back_while_the_stream_goes_on(player):
    each = player(y="rain", guidance_scale=2.0, ahead=0.5)
    assert each.facts["any"] is False
    told = []
    each.send_state = lambda key=None: told.append(key)
    each.running = True
    until(lambda: clips(each))
    for setting, reason in (({"y": None}, "needs labels"), ({"steps_per_frame": 0}, "at least 1")):
        each.set_state(setting)
        assert reason in each.message and told[-1] == list(setting)
    assert (each.y, each.steps_per_frame) == ("rain", 1)
    answer(each, kind="played", run=1, frames=5)
    until(lambda: len(clips(each)) == 2)
    assert each.running
    assert player(y="rain").facts["any"] is True


def test_saved_is_what_was_seen(player, tmp_path):
    each = player()
    each.running = True
    until(lambda: len(clips(each)) == 2)
    answer(each, kind="played", run=1, frames=8)
    assert len(each.seen) == 8
    answer(each, kind="save")
    each.running = False
    answer(each, kind="save")
    assert [content["text"] for content, _ in each.sent if content["kind"] == "said"] == [
        f"saved 0.8 s as {tmp_path / name}" for name in ("player-001.mp4", "player-002.mp4")
    ]
    clip = Clip.read(tmp_path / "player-001.mp4")
    assert len(clip) == 8 and clip.frames.shape[1:] == (256, 256, 3)


def test_two_that_save_at_once_get_names_of_their_own(player, tmp_path, monkeypatch):
    """As two kernels do: the second looks for a name while the first is still writing."""
    first, second = player(), player()
    for each in (first, second):
        each.running = True
        until(lambda each=each: clips(each))
        answer(each, kind="played", run=1, frames=5)
    save, others = Clip.save, []

    def slowly(clip, *arguments, **settings):
        if not others:
            others.append(None)
            others[0] = second.save()
        return save(clip, *arguments, **settings)

    monkeypatch.setattr(Clip, "save", slowly)
    assert (first.save().name, others[0].name) == ("player-001.mp4", "player-002.mp4")
    assert [len(Clip.read(path)) for path in sorted(tmp_path.iterdir())] == [5, 5]


def test_a_name_that_could_not_be_used_is_given_back(player, tmp_path, monkeypatch):
    each = player()
    each.running = True
    until(lambda: clips(each))
    answer(each, kind="played", run=1, frames=5)

    def fails(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Clip, "save", fails)
    answer(each, kind="save")
    assert "No space left" in each.message and list(tmp_path.iterdir()) == []


def test_nothing_seen_nothing_saved(player, tmp_path):
    each = player()
    answer(each, kind="save")
    assert each.message == "nothing has been played yet: press Start first"
    assert list(tmp_path.iterdir()) == []


def test_a_decoder_that_breaks_is_reported_and_what_was_seen_can_be_saved(player, tmp_path):
    pipe = tiny_pipeline()
    decode, calls = pipe.decode_video, []

    def fragile(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("the decoder broke")
        return decode(*arguments)

    pipe.decode_video = fragile
    each = player(pipe)
    each.running = True
    until(lambda: not each.running)
    assert each.message == "generation stopped: RuntimeError: the decoder broke"
    answer(each, kind="played", run=1, frames=5)
    assert each.save().name == "player-001.mp4"
    each.running = True
    until(lambda: clips(each, 2))


def test_large_frames_travel_as_jpeg():
    frames = np.zeros((2, 256, 256, 3), np.uint8)
    frames[1, 100:200] = (250, 120, 10)
    data, sizes = module._packed(frames)
    assert len(data) == sum(sizes) < frames.size / 10
    for frame, file in zip(frames, (data[: sizes[0]], data[sizes[0] :]), strict=True):
        seen = np.asarray(Image.open(io.BytesIO(file))).astype(int)
        assert np.abs(seen - frame).mean() < 1


def test_a_model_without_classes(player):
    each = player(tiny_pipeline(num_classes=0))
    assert each.facts["classes"] == []
    with pytest.raises(ValueError, match="no classes"):
        each.y = "rain"


def test_the_repr_states_facts_and_no_address(player):
    expected = "Player(64x64 @ 10 fps, 16000 Hz, y='rain', steps_per_frame=1, seed=0)"
    assert repr(player(y="rain")) == repr(player(y="rain")) == expected
    assert player(y="rain")._repr_mimebundle_()[0]["text/plain"] == expected


def test_it_starts_nothing_by_itself(player):
    assert player()._feed is None


def test_the_browsers_half_needs_no_network():
    for name in ("_esm", "_css"):
        source = str(getattr(module.Player, name))
        assert not re.search(r"https?:|\bimport\b|@import|url\(", source), name


def test_the_library_needs_no_widgets():
    library = Path(module.__file__).parents[1]
    outside = [path for path in library.rglob("*.py") if library / "view" not in path.parents]
    assert len(outside) > 20
    at_the_top = re.compile(r"^(import|from) (anywidget|ipywidgets|rflav_lib\.view)", re.MULTILINE)
    assert [path.name for path in outside if at_the_top.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 2**64}, "seed must be at most 9223372036854775807"),
        ({"compiled": "no"}, "compiled must be True or False, not 'no'"),
        ({"warm_frames": 10**30}, "warm_frames must be at most 2147483647"),
    ],
)
def test_what_would_fail_only_after_start_is_refused_before(pipe, options, message):
    with pytest.raises(ValueError, match=message):
        play(pipe, **options)


@pytest.mark.parametrize("pipe", [None, "checkpoints/toy-dance"])
def test_what_is_no_pipeline(pipe):
    with pytest.raises(TypeError, match=f"play takes a pipeline, not {pipe!r}: open one"):
        play(pipe)
