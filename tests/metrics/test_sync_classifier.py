"""The sync classifier, trained in the test: right on unseen pairs, and only for their timing."""

from dataclasses import replace

import numpy as np
import pytest

from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.metrics.sync_classifier import train_classifier, train_on


@pytest.fixture(scope="module")
def classifier():
    return train_classifier("toy-landscape", clips=90, steps=90)


@pytest.fixture(scope="module")
def unseen():
    return [make_clip("toy-landscape", 42, i, 40).clip for i in range(50)]


def test_pairs_that_it_never_saw(classifier, unseen):
    shares = classifier.accuracy(unseen)
    print({name: round(share["value"], 3) for name, share in shares.items()})
    for name in ("aligned", "shifted", "shuffled", "preferred"):
        assert shares[name]["value"] > 0.8, name
        assert shares[name]["low"] < shares[name]["value"] <= shares[name]["high"]


def test_what_is_late_is_not_preferred(classifier, unseen):
    late = [Clip(clip.frames, np.roll(clip.waveform, 2 * 1600)) for clip in unseen]
    shares = classifier.accuracy(late)
    assert shares["preferred"]["high"] < 0.2 and shares["aligned"]["high"] < 0.2
    assert classifier.accuracy(late, shifts=[-2, 2, 4])["preferred"]["high"] < 0.2


def test_preference_needs_no_threshold(classifier, unseen):
    """Clips of a model score lower than real ones, in time or not: that moves what is called aligned, and not this."""
    shares = classifier.accuracy(unseen)
    strict = replace(classifier, threshold=float(np.max(classifier.window_scores(unseen)))).accuracy(unseen)
    assert strict["aligned"]["value"] == 0
    assert strict["preferred"] == shares["preferred"]


def test_shares_called_in_time_fall_from_no_shift_on(classifier, unseen):
    called = [
        float(np.mean(classifier.window_scores(unseen, by) > classifier.threshold)) for by in (0, 1, 2, 5)
    ]
    assert called[0] > 0.8 and called[0] >= called[1] > called[2] - 0.1 and max(called[2:]) < 0.2


def test_the_same_seed_trains_the_same():
    clips = [make_clip("toy-landscape", 43, i, 30).clip for i in range(4)]
    first, second = (train_on(clips, clips, steps=3, batch=4) for _ in range(2))
    assert np.array_equal(first.window_scores(clips), second.window_scores(clips))
    assert first.threshold == second.threshold


def test_what_does_not_fit_is_refused(classifier, unseen):
    short = make_clip("toy-landscape", 43, 0, 20).clip
    with pytest.raises(ValueError, match="one length"):
        classifier.window_scores([unseen[0], short])
    with pytest.raises(ValueError, match="no shift of 20"):
        classifier.window_scores(unseen[:2], 20)
    with pytest.raises(ValueError, match="too short"):
        train_on([short], [short], steps=1)
    with pytest.raises(ValueError, match="no clips"):
        classifier.accuracy([])
    with pytest.raises(ValueError, match="at least two clips"):
        classifier.accuracy(unseen[:1])
