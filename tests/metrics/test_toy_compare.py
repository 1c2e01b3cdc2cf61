"""Two models of a toy world clip by clip: pairs counted and tested as known cases ask, other clips refused."""

from dataclasses import replace

import pytest

from rflav_lib.data.toy_trackers import PENDULUM, Tally, Tempo
from rflav_lib.metrics.toy.compare import Paired, compare, main
from rflav_lib.metrics.toy.reading import Reading
from rflav_lib.metrics.toy.report import Measurement

SETTINGS = {
    "world": "toy-landscape",
    "weights": "a",
    "frames": 40,
    "seed": 0,
    "batch": 10,
    "steps_per_frame": 4,
}


def reading(asked=0, objects=40):
    all_right = Tally(5, 5)
    return Reading(asked, asked, asked, 1.0, close=all_right, objects=Tally(objects, 40), pitch=all_right)


def written(path, readings, **settings):
    Measurement(SETTINGS | settings, {"generated": list(readings)}, [{"from_clip": 0}]).write(path, "a test")
    return str(path)


def test_pairs_are_counted_and_the_sign_test_is_that_of_a_coin():
    good, bad = reading(objects=40), reading(objects=10)
    found = compare([good] * 7 + [bad] * 2 + [good, bad], [bad] * 7 + [good] * 2 + [good, bad])
    objects = found["clips with the right number of objects"]
    assert objects == Paired(clips=11, first=8, second=3, only_first=7, only_second=2)
    # 9 tosses: 7 or more heads in (36 + 9 + 1) of 512 cases, and as many with tails
    assert objects.p == pytest.approx(2 * 46 / 512)
    assert found["asked class seen"].p == 1.0, "no pair differs"


def test_each_clip_is_asked_only_what_its_label_can_answer():
    pendulum = reading(asked=PENDULUM)
    found = compare([reading(), pendulum], [reading(), pendulum])
    assert found["clips with the pitch of the picture"].clips == 1, "a pendulum's picture asks for no pitch"
    assert found["clips in sync"].clips == 2
    assert "tempo found" not in found

    dance = replace(
        reading(asked=None),
        tempo_seen=Tempo(bpm=120.0, spread=0.01),
        tempo_heard=Tempo(bpm=120.0, spread=0.01),
    )
    found = compare([dance], [replace(dance, tempo_heard=None)])
    assert found["tempo found"] == Paired(clips=1, first=1, second=0, only_first=1, only_second=0)
    assert not {"asked class seen", "asked class heard", "clips with the pitch of the picture"} & found.keys()


def test_pairs_of_other_classes_or_no_clips_are_refused():
    with pytest.raises(ValueError, match="clip 1 was asked for class 0 in one and 3 in the other"):
        compare([reading(), reading()], [reading(), reading(asked=3)])
    with pytest.raises(ValueError, match="no readings"):
        compare([], [])


def test_the_command_compares_as_many_clips_as_both_files_have(tmp_path, capsys):
    first = written(tmp_path / "first.json", [reading(), reading(objects=0), reading()])
    second = written(tmp_path / "second.json", [reading(), reading()], weights="b")
    assert main([first, second]) == 0
    said = capsys.readouterr().out
    assert "2 pairs, weights a and b" in said
    assert "| clips with the right number of objects | 2 | 1 | 2 | 0 | 1 | 1 |" in said


@pytest.mark.parametrize("setting", [{"seed": 1}, {"frames": 20}, {"world": "toy-dance"}, {"batch": 5}])
def test_files_of_other_clips_are_refused(setting, tmp_path, capsys):
    first, second = (
        written(tmp_path / "a.json", [reading()]),
        written(tmp_path / "b.json", [reading()], **setting),
    )
    assert main([first, second]) == 2
    said = capsys.readouterr().err
    assert next(iter(setting)) in said and "b.json" in said and "no pairs" in said


def test_a_file_without_generated_clips_is_one_clear_error(tmp_path, capsys):
    Measurement(SETTINGS, {"real": [reading()]}, [{"from_clip": 0}]).write(tmp_path / "b.json", "a test")
    assert main([written(tmp_path / "a.json", [reading()]), str(tmp_path / "b.json")]) == 2
    assert "b.json: holds no generated clips, only real" in capsys.readouterr().err


def test_a_file_of_something_else_is_one_clear_error(tmp_path, capsys):
    (tmp_path / "b.json").write_text('{"settings": 3}')
    assert main([written(tmp_path / "a.json", [reading()]), str(tmp_path / "b.json")]) == 2
    assert "b.json: not a measurement" in capsys.readouterr().err
