"""The user study: blind, balanced, nothing lost, and a known preference found within its interval."""

import csv
import math
import multiprocessing
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binomtest

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.view.study_answers import FIELDS, Answers, Pair, Study, make_study
from rflav_lib.view.study_result import MINIMUM, evaluate, share_of
from rflav_lib.view.user_study import user_study

EITHER = {"quality": "left", "alignment": "right"}


def made_up(tmp_path, pairs=10, seed=0):
    """A study of files that nobody opens."""
    files = [Pair(f"{i:02d}", (tmp_path / f"a{i}.mp4", tmp_path / f"b{i}.mp4")) for i in range(pairs)]
    return Study(("ours", "theirs"), tuple(files), seed)


def simulate(study, answers, raters, preference, seed=0):
    """Raters who prefer the first kind with the given probabilities, whatever side it is on."""
    rng = np.random.default_rng(seed)
    for rater in range(raters):
        for trial in study.trials(f"rater {rater}"):
            kind = {question: int(rng.random() >= share) for question, share in preference.items()}
            chosen = {question: "left" if kind[question] == trial.left else "right" for question in kind}
            assert answers.append(study, trial, f"rater {rater}", chosen)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three real clips of two lengths and sizes, of the same names in both folders."""
    root = tmp_path_factory.mktemp("clips")
    for index in range(3):
        clip = make_clip("toy-landscape", 3, index, 6).clip
        clip.save(root / "ours" / f"{index}.mp4")
        longer = make_clip("toy-landscape", 4, index, 9).clip
        Clip(longer.frames[:, :32, :32], longer.waveform).save(root / "theirs" / f"{index}.mp4", scale=2)
    return root / "ours", root / "theirs"


@pytest.fixture
def page(folders, tmp_path):
    page = user_study(*folders, answers=tmp_path / "answers.csv", pairs=3)
    page.sent = []
    page.send = lambda content, buffers=None: page.sent.append((content, buffers))
    yield page
    page.close()


def says(page, **content):
    """As if the browser had sent it."""
    page._handle_custom_msg(content, [])


def test_every_rater_has_an_order_of_their_own_and_balanced_sides(tmp_path):
    study = made_up(tmp_path)
    orders = {tuple(trial.pair.name for trial in study.trials(f"rater {i}")) for i in range(20)}
    assert len(orders) == 20
    for i in range(20):
        trials = study.trials(f"rater {i}")
        assert Counter(trial.left for trial in trials) == {0: 5, 1: 5}
        assert {trial.pair.name for trial in trials} == {pair.name for pair in study.pairs}
        assert trials == study.trials(f"rater {i}"), "the same again after a break"
    lefts = [trial.left for i in range(200) for trial in study.trials(f"r{i}") if trial.number == 1]
    assert 70 < sum(lefts) < 130


def test_equal_names_belong_together_and_others_are_drawn(tmp_path):
    for folder, names in (("a", "xyz"), ("b", "xyw"), ("c", "pq")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.mp4").touch()
    (tmp_path / "a" / "notes.txt").touch()
    study = make_study(tmp_path / "a", tmp_path / "b", pairs=2)
    assert [pair.name for pair in study.pairs] == ["x", "y"] and study.names == ("a", "b")
    drawn = make_study(tmp_path / "a", tmp_path / "c", pairs=2)
    assert len({file for pair in drawn.pairs for file in pair.files}) == 4
    for first, second, pairs, why in (
        ("a", "b", 3, "there are 2 videos of the same name"),
        ("a", "c", 3, "smaller"),
    ):
        with pytest.raises(ValueError, match=why):
            make_study(tmp_path / first, tmp_path / second, pairs)
    with pytest.raises(ValueError, match="different names"):
        make_study(tmp_path / "a", tmp_path / "a", 1)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        make_study(tmp_path / "a", tmp_path / "nothing", 1)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_known_preference_is_found_within_its_interval(tmp_path, seed):
    study, answers = made_up(tmp_path), Answers(tmp_path / "answers.csv")
    simulate(study, answers, 15, {"quality": 0.8, "alignment": 0.5}, seed)
    quality, alignment = evaluate(answers, study).shares
    assert quality.low < 0.8 < quality.high and quality.p < 1e-3 and quality.n == 150
    assert alignment.low < 0.5 < alignment.high and alignment.p > 0.01
    assert evaluate(answers, study).warnings == ()


def of_raters(truth, taste, rng, raters=10, pairs=10):
    """A study of raters whose own shares spread by `taste` (standard deviation, a beta distribution)."""
    if not taste:
        own = np.full(raters, truth)
    else:
        size = truth * (1 - truth) / taste**2 - 1
        own = rng.beta(truth * size, (1 - truth) * size, raters)
    return share_of("quality", [(int(wins), pairs) for wins in rng.binomial(pairs, own)])


@pytest.mark.parametrize("taste", [0, 0.15, 0.25])
def test_raters_tastes_make_no_preference_and_the_interval_holds_the_truth(taste):
    """Where all answers are taken as independent, p is below 0.05 in 3, 12 and 24 % of studies with nothing to find."""
    rng = np.random.default_rng(0)
    found = [of_raters(0.5, taste, rng) for _ in range(600)]
    assert 0.02 < np.mean([each.p < 0.05 for each in found]) < 0.07
    for truth in (0.5, 0.7):
        held = np.mean(
            [each.low < truth < each.high for each in (of_raters(truth, taste, rng) for _ in found)]
        )
        assert 0.93 < held <= 0.99, truth


def test_the_p_value_counts_signs_of_raters():
    """By hand: net wins 4, 2 and -1; of their eight signings, four add up to 5 or more either way."""
    assert share_of("quality", [(4, 4), (3, 4), (1, 3)]).p == 0.5
    assert share_of("quality", [(3, 4)] * 10).p == 2 / 2**10
    assert share_of("quality", [(2, 4)] * 3).p == 1
    one = share_of("quality", [(8, 10)])
    wilson = binomtest(8, 10).proportion_ci(0.95, method="wilson")
    assert (one.low, one.high) == pytest.approx((wilson.low, wilson.high)) and math.isnan(one.p)


def test_too_few_answers_and_a_side_that_always_wins_are_warned_of(tmp_path):
    study, answers = made_up(tmp_path), Answers(tmp_path / "answers.csv")
    for trial in study.trials("one"):
        answers.append(study, trial, "one", {"quality": "left", "alignment": "left"})
    result = evaluate(answers, study)
    text = str(result)
    assert (
        f"10 answers; {MINIMUM} are needed" in text
        and "one rater; intervals are for this person alone" in text
    )
    assert "quality: the left side was chosen 10 of 10 times" in text
    assert [share.wins for share in result.shares] == [5, 5], "sides are balanced, so the kinds are even"
    assert all(math.isnan(share.p) for share in result.shares) and "| – |" in text


def test_the_minimum_is_where_the_interval_is_ten_points_wide():
    def half_width(n):
        interval = binomtest(n // 2, n, 0.5).proportion_ci(0.95, "wilson")
        return (interval.high - interval.low) / 2

    assert half_width(MINIMUM) <= 0.1 < half_width(MINIMUM - 3)


def test_nothing_is_stored_twice_and_nothing_that_is_no_answer(tmp_path):
    study, answers = made_up(tmp_path), Answers(tmp_path / "answers.csv")
    trial = study.trials("me")[0]
    assert answers.append(study, trial, "me", EITHER)
    assert not Answers(answers.path).append(study, trial, "me", EITHER)
    assert answers.append(study, study.trials("you")[0], "you", EITHER)
    for rater, chosen, why in (
        ("", EITHER, "name"), ("me", {"quality": "left"}, "left or right"), ("me", {**EITHER, "quality": "up"}, "left"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            answers.append(study, trial, rater, chosen)
    assert len(answers.rows()[0]) == 2


def write_many(path, folder, name):
    study = made_up(folder, 40)
    for trial in study.trials(name):
        Answers(path).append(study, trial, name, EITHER)


def test_two_processes_append_at_the_same_time_and_every_line_is_whole(tmp_path):
    path = tmp_path / "answers.csv"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rflav_lib.view.study_answers"])  # it takes seconds: once, not four times
    # the last two are one rater in two tabs: each pair counts once
    workers = [
        context.Process(target=write_many, args=(path, tmp_path, name))
        for name in ("a", 'b, "c"', "b, d", "b, d")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
        assert worker.exitcode == 0
    rows, broken = Answers(path).rows()
    assert not broken and Counter(row["rater"] for row in rows) == {"a": 40, 'b, "c"': 40, "b, d": 40}
    assert len(path.read_text().splitlines()) == 121


def test_a_line_that_was_cut_off_stays_apart_and_is_told(tmp_path):
    study, answers = made_up(tmp_path), Answers(tmp_path / "answers.csv")
    trials = study.trials("me")
    answers.append(study, trials[0], "me", EITHER)
    with answers.path.open("a") as file:
        file.write("2026-01-01T00:00:00+00:00,abc,m")
    answers.append(study, trials[1], "me", EITHER)
    rows, broken = answers.rows()
    assert [row["pair"] for row in rows] == [trial.pair.name for trial in trials[:2]] and broken == [3]
    assert "lines 3 of the file are broken" in str(evaluate(answers, study))


def test_files_of_something_else_are_left_alone(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    study = made_up(tmp_path)
    with pytest.raises(ValueError, match="not a file of answers"):
        Answers(path).append(study, study.trials("me")[0], "me", EITHER)
    assert path.read_text() == "a,b\n1,2\n"


def test_studies_are_not_added_up(tmp_path):
    answers = Answers(tmp_path / "answers.csv")
    simulate(made_up(tmp_path, seed=1), answers, 1, {"quality": 1.0, "alignment": 1.0})
    with pytest.raises(ValueError, match="no answers to this study, but to 1 others"):
        evaluate(answers, made_up(tmp_path, seed=2))


def test_the_page_asks_stores_and_ends(page):
    assert page.state["phase"] == "welcome" and page.trial is None
    says(page, kind="start", rater="me")
    for number in (1, 2, 3):
        assert (page.state["phase"], page.state["number"]) == ("trial", number)
        assert page.sent[-1][0] == {"kind": "videos", "number": number} and len(page.sent[-1][1]) == 2
        says(page, kind="answer", number=number, plays=[1, 2], **EITHER)
    assert page.state["phase"] == "done" and page.state["done"] == 3
    with page.answers.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FIELDS and len(rows) == 3
    assert all(
        (row["quality"], row["alignment"], row["plays_right"]) == ("left", "right", "2") for row in rows
    )
    assert {(row["left"], row["right"]) for row in rows} == {("ours", "theirs"), ("theirs", "ours")}


def test_what_the_browser_gets_tells_nothing(page, tmp_path):
    """Neither names nor ways of encoding; both sides are equally long, and what the file says is shown."""
    says(page, kind="start", rater="me")
    content, videos = page.sent[-1]
    assert (
        "ours" not in repr(page.get_state()) and "theirs" not in repr(page.get_state()) and len(content) == 2
    )
    shown = []
    for video in videos:
        (tmp_path / "shown.mp4").write_bytes(video)
        assert b"ours" not in video and b"theirs" not in video
        shown.append(Clip.read(tmp_path / "shown.mp4"))
    assert len(shown[0]) == len(shown[1]) == 6 and min(clip.frames.shape[1] for clip in shown) >= 256
    original = Clip.read(page.trial.pair.files[page.trial.left])
    enlarged = original.frames[:6].repeat(4, axis=1).repeat(4, axis=2)
    assert np.abs(shown[0].frames.astype(int) - enlarged).mean() < 6


def test_who_comes_back_goes_on_and_two_tabs_do_not_answer_twice(page, folders):
    says(page, kind="start", rater="me")
    says(page, kind="answer", number=1, plays=[1, 1], **EITHER)
    again = user_study(*folders, answers=page.answers.path, pairs=3)
    again.start(" me ")
    assert again.state["number"] == 2 and "welcome back: 1" in again.state["message"]
    again.answer(**EITHER)
    says(page, kind="answer", number=2, plays=[1, 1], **EITHER)
    assert "another tab" in page.state["message"] and page.state["number"] == 3
    assert len(page.answers.rows()[0]) == 2
    again.close()


def test_mistakes_are_said_and_store_nothing(page):
    says(page, kind="start", rater="  ")
    assert page.state["phase"] == "welcome" and "name" in page.state["message"]
    with pytest.raises(ValueError, match="nothing is asked"):
        page.answer(**EITHER)
    says(page, kind="start", rater="me")
    says(page, kind="answer", number=1, plays=[1, 1], quality="left")
    assert page.state["number"] == 1 and "left or right" in page.state["message"]
    says(page, kind="answer", number=7, plays=[1, 1], **EITHER)  # an old view
    assert not page.answers.path.exists()
    assert repr(page) == "StudyPage(3 pairs, 2 questions, trial)"


def test_a_study_of_other_files_of_the_same_names_is_another(tmp_path):
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            (tmp_path / folder / f"{name}.mp4").write_bytes(f"{folder} {name}".encode())

    def study():
        return make_study(tmp_path / "ours", tmp_path / "theirs", pairs=2)

    before, answers = study(), Answers(tmp_path / "answers.csv")
    assert before.key == study().key
    assert answers.append(before, before.trials("Ada")[0], "Ada", EITHER)
    (tmp_path / "ours" / "b.mp4").write_bytes(b"ours B")
    assert study().key != before.key and not answers.answered(study(), "Ada")


def test_videos_of_a_folder_that_differ_in_their_endings_alone_are_refused(tmp_path):
    for file in ("ours/0.mp4", "ours/0.webm", "theirs/0.mp4"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(ValueError, match=r"ours: 0\.mp4 and 0\.webm have the same name: keep one"):
        make_study(tmp_path / "ours", tmp_path / "theirs", pairs=1)
