"""One path for real and generated clips."""

import numpy as np
import pytest

from rflav_lib.data.toy import make_clip
from rflav_lib.evaluation.treatment import Treatment
from rflav_lib.image_codec import letterbox, to_uint8


@pytest.fixture(scope="module")
def clip():
    return make_clip("toy-landscape", 0, 0, 16, label=0).clip


def test_nothing_to_do_changes_nothing(clip):
    assert Treatment()(clip) is clip
    assert (Treatment().resize_name, Treatment().codec_name) == ("64x64, as it came", "none")


def test_the_resize_is_the_one_with_antialias(clip):
    small = Treatment(size=16)(clip)
    expected = to_uint8(letterbox(clip.frames, 16)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(small.frames, expected)
    np.testing.assert_array_equal(small.waveform, clip.waveform)
    assert Treatment(size=16).resize_name == "64x64 to 16x16, bicubic, antialias"


def test_the_codec_changes_picture_and_sound_a_little(clip):
    coded = Treatment(codec="h264", crf=23)(clip)
    assert coded.frames.shape == clip.frames.shape and coded.waveform.shape == clip.waveform.shape
    error = np.abs(coded.frames.astype(int) - clip.frames).mean()
    rougher = np.abs(Treatment(codec="h264", crf=45)(clip).frames.astype(int) - clip.frames).mean()
    assert 0 < error < 8 and rougher > 1.5 * error
    assert 0 < np.abs(coded.waveform - clip.waveform).max() < 0.5
    assert np.corrcoef(coded.waveform, clip.waveform)[0, 1] > 0.95, "no delay"
    assert Treatment(codec="h264").codec_name == "H.264 CRF 23 + AAC"


def test_clips_of_another_size_are_refused(clip):
    with pytest.raises(ValueError, match="clips are 64x64, but source_size is 256"):
        Treatment(source_size=256)(clip)
