"""From the toy worlds to mp4 files and back: trackers find the events that were written."""

import json
import math
import statistics
import threading
from dataclasses import asdict

import pytest
import torch

from data_scripts.check import check
from data_scripts.published import FetchError
from data_scripts.toy import EVENTS, World, main, prepare
from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.data.toy_trackers import audible_events, av_offset, visual_class, visual_events
from rflav_lib.locks import held
from rflav_lib.mel import MelCodec

NEAR = 0.020  # s
EDGE = 0.2  # s; what is this near to an end may be seen or not
FRAMES = 40
TRACKED = ("toy-landscape", "toy-dance")  # whose events `toy_trackers` reads


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both worlds as folders."""
    roots = {}
    for world in TRACKED:
        roots[world] = tmp_path_factory.mktemp(world)
        assert prepare(World(roots[world], world, 7, FRAMES), train=5, test=5, workers=1) == 0
    return roots


def files(root):
    """(path, clip as ClipFolder gives it, truth) of every file."""
    truth = json.loads((root / EVENTS).read_text())["clips"]
    for split in ("train", "test"):
        folder = ClipFolder(root, split, frames=FRAMES, size=64, strict=True)
        for number, file in enumerate(folder.files):
            item = folder[number]
            known = truth[file.path.relative_to(root).as_posix()]
            if known["label"] is not None:
                assert folder.class_names[item["label"]] == CLASSES[known["world"]][known["label"]]
            yield file.path, item["frames"].numpy(), item["waveform"], known


def hear(waveform):
    codec = MelCodec(n_mels=64)
    return codec.decode(codec.encode(waveform))[0].numpy()


def distances(events, found):
    """From each event away from the clip's ends to the nearest found one of its kind, in s."""
    return [
        min((abs(other.time - event.time) for other in found if other.kind == event.kind), default=math.inf)
        for event in events
        if EDGE <= event.time <= FRAMES / 10 - EDGE
    ]


@pytest.mark.parametrize("world", TRACKED)
def test_trackers_find_the_same_events_in_the_files(made, world):
    """The same as in memory, one by one, and the true ones; for the dance's eyes the promise is for the median."""
    for path, frames, waveform, known in files(made[world]):
        label = known["label"]
        truth = make_clip(world, known["seed"], known["index"], FRAMES, label)
        assert known["events"] == [asdict(event) for event in truth.events]
        seen, seen_before = (visual_events(pixels, label) for pixels in (frames, truth.clip.frames))
        sounds = (waveform, torch.from_numpy(truth.clip.waveform))
        heard, heard_before = (audible_events(hear(sound), label) for sound in sounds)
        kinds = {event.kind for event in seen_before}
        true = [event for event in truth.events if event.kind in kinds]
        assert len(distances(true, true)) > 1, path
        for now, before in ((seen, seen_before), (heard, heard_before)):
            for one, other in ((now, before), (before, now)):  # none lost, none new
                assert max(distances(one, other)) < NEAR, path
            worst = max if label is not None else statistics.median  # see the docstring
            assert worst(distances(true, now)) < NEAR, path
        assert abs(av_offset(frames, hear(waveform), label).seconds) < NEAR, path
        assert label is None or visual_class(frames) == label, path


def test_check_finds_them_sound(made, tmp_path, capsys):
    for world, root in made.items():
        assert check(root, tmp_path / world, workers=1) == 0
        assert "10 files, 0 problems" in capsys.readouterr().out


def test_written_once_and_completed(tmp_path, capsys):
    words = [
        "prepare",
        "--root",
        str(tmp_path),
        "--train",
        "5",
        "--test",
        "5",
        "--frames",
        "10",
        "--workers",
        "1",
    ]
    assert main(words) == 0
    paths = sorted(tmp_path.rglob("*.mp4"))
    assert [path.parent.name for path in paths] == 2 * sorted(CLASSES["toy-landscape"])
    content, times = (tmp_path / EVENTS).read_text(), [path.stat().st_mtime_ns for path in paths]
    paths[0].unlink()
    assert main(words) == 0
    assert [path.stat().st_mtime_ns == time for path, time in zip(paths, times, strict=True)] == [
        False
    ] + 9 * [True]
    assert (tmp_path / EVENTS).read_text() == content
    assert main([*words, "--seed", "1"]) == 1 and "holds clips of" in capsys.readouterr().err


def test_no_clip_stands_in_both_splits(made):
    for root in made.values():
        clips = json.loads((root / EVENTS).read_text())["clips"].values()
        assert len({clip["index"] for clip in clips}) == len(clips) == 10


def test_an_interrupted_run_keeps_its_settings(tmp_path, monkeypatch):
    import data_scripts.toy as toy

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(toy, "each", interrupted)
    world = World(tmp_path, "toy-dance", 0, 10)
    with pytest.raises(KeyboardInterrupt):
        prepare(world, 2, 1)
    monkeypatch.undo()
    with pytest.raises(FetchError, match="holds clips of"):
        prepare(World(tmp_path, "toy-dance", 1, 10), 2, 1)
    assert prepare(world, 2, 1, workers=1) == 0


def test_an_interrupted_second_run_keeps_the_events_of_the_first(tmp_path, monkeypatch):
    import data_scripts.toy as toy

    def interrupted(*args):
        raise KeyboardInterrupt

    world = World(tmp_path, "toy-dance", 0, 10)
    assert prepare(world, 2, 1, workers=1) == 0
    events = (tmp_path / EVENTS).read_bytes()
    monkeypatch.setattr(toy, "each", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(world, 2, 1)
    assert (tmp_path / EVENTS).read_bytes() == events


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frames", "0"], "--frames must be a whole number, at least 1, not 0"),
        (["--train", "-1"], "--train must be a whole number, at least 0, not -1"),
        (["--test", "-40"], "--test must be a whole number, at least 0, not -40"),
        (["--seed", "-1"], "--seed must be a whole number, at least 0, not -1"),
        (
            ["--train", "0", "--test", "0"],
            "--train and --test together must be a whole number, at least 1, not 0",
        ),
    ],
)
def test_numbers_of_which_no_clips_can_be_made_leave_nothing_behind(tmp_path, capsys, words, message):
    root = tmp_path / "toy"
    assert main(["prepare", "--root", str(root), *words]) == 1
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not root.exists()


def test_a_file_that_is_no_clip_of_the_folder_is_made_anew(tmp_path):
    world = World(tmp_path, "toy-dance", 0, 10)
    assert prepare(world, 3, 0, workers=1) == 0
    empty, shorter, whole = sorted(tmp_path.rglob("*.mp4"))
    contents = [path.read_bytes() for path in (empty, shorter)]
    empty.write_bytes(b"")
    make_clip("toy-dance", 0, 1, 5).clip.save(shorter)
    written = whole.stat().st_mtime_ns
    assert prepare(world, 3, 0, workers=1) == 0
    assert [path.read_bytes() for path in (empty, shorter)] == contents
    assert whole.stat().st_mtime_ns == written


def test_a_second_process_waits_for_the_first(tmp_path):
    world, done = World(tmp_path, "toy-dance", 0, 10), []
    second = threading.Thread(target=lambda: done.append(prepare(world, 1, 0, workers=1)))
    with held(tmp_path / ".prepare.lock"):
        second.start()
        second.join(1.0)
        assert second.is_alive() and not list(tmp_path.rglob("*.mp4"))
    second.join(60)
    assert done == [0]
