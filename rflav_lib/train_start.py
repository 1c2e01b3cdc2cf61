"""Training that begins from a trained model's weights instead of random ones."""

import torch

from rflav_lib.misfits import misfit
from rflav_lib.released import open_checkpoint
from rflav_lib.transformer import RFLAVTransformer

# a model without memory frames may be given some: their places are all that it has to learn anew
_MAY_BE_NEW = {"video_memory_position", "audio_memory_position"}


@torch.no_grad()
def start_from(model: RFLAVTransformer, place: str) -> None:
    """Give a model the weights of a pipeline folder or a released checkpoint; new memory frames keep their own.

    Raises:
        ValueError: as `weights_for`.
    """
    model.load_state_dict(weights_for(model, place), strict=False)  # what may be missing is known by then


def weights_for(model: RFLAVTransformer, place: str) -> dict[str, torch.Tensor]:
    """The weights in a pipeline folder or a released checkpoint, for a model like this one.

    Raises:
        ValueError: nothing there that can be opened, or another architecture: names the first weights that differ.
    """
    theirs = open_checkpoint(place).transformer.state_dict()
    if told := misfit(theirs, model.state_dict(), _MAY_BE_NEW):
        raise ValueError(
            f"start_from: the model in {place} is not of this config: {told}; set hidden_size, depth, window, "
            "fusion, classes and memory frames to its own, or leave start_from out"
        )
    return theirs
