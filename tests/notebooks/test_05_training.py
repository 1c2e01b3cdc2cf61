"""The training notebook's parameters are the training config's, and its loss is the library's."""

from dataclasses import fields

import torch
from papermill import inspect_notebook

from rflav_lib.flow import rolling_flow_loss
from rflav_lib.train_config import TrainConfig
from tests.notebook_tools import NOTEBOOKS, definitions


def test_parameters_are_exactly_the_config():
    """Name, order and type: a key that is added to one has to be added to the other."""
    parameters = inspect_notebook(str(NOTEBOOKS / "05_training.ipynb"))
    assert {name: found["inferred_type_name"] for name, found in parameters.items()} == {
        field.name: field.type.__name__ for field in fields(TrainConfig)
    }


def test_the_loss_written_out_is_the_library_s():
    from types import SimpleNamespace

    generator = torch.Generator().manual_seed(0)
    video, video_noise = (torch.randn(2, 3, 4, 5, 5, generator=generator) for _ in range(2))
    audio, audio_noise = (torch.randn(2, 3, 6, 7, generator=generator) for _ in range(2))
    batch = SimpleNamespace(
        video=video,
        audio=audio,
        t=torch.rand(2, 3, generator=generator),
        video_noise=video_noise,
        audio_noise=audio_noise,
        y=None,
    )

    def model(video, audio, t, y):
        return 0.3 * video + audio.mean(), 0.1 * audio - t[..., None, None]

    written_out = definitions("05_training").plain_loss(model, batch)
    torch.testing.assert_close(written_out, rolling_flow_loss(model, **vars(batch)))
