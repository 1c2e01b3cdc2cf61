"""What decides a row's samples stands in their recipe, by which stored clips are known again."""

import json
from types import SimpleNamespace

import pytest

from rflav_lib.evaluation.config import Row
from rflav_lib.evaluation.sampling import RowSampler
from rflav_lib.evaluation.sources import Window
from tests.tiny import tiny_pipeline


@pytest.fixture
def recipe(tmp_path):
    """Of three samples of a model with these settings of its network, whose weights are always the same."""

    def of(**settings):
        folder = tmp_path / "model"
        tiny_pipeline(num_classes=0).save_whole(folder)
        config = folder / "transformer" / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | settings))
        row = Row(name="tiny", checkpoint=str(folder), steps=4)
        windows = [Window(f"clip {index}", 0, None) for index in range(3)]
        return RowSampler(row, 4, 0, "no", SimpleNamespace(name="clips", class_names=()), windows).recipe(
            range(3)
        )

    return of


def test_a_model_of_equal_weights_and_other_settings_has_another_recipe(recipe):
    once, again, other = recipe(), recipe(), recipe(num_heads=1)
    assert once == again
    assert [key for key in once if once[key] != other[key]] == ["settings"]
