"""Training that begins from a trained model's weights instead of random ones."""

from collections.abc import Sequence

import torch

from rflav_lib.misfits import misfit
from rflav_lib.released import open_checkpoint
from rflav_lib.transformer import RFLAVTransformer
from rflav_lib.warn import warn

# a model without memory frames may be given some: their places are all that it has to learn anew
_MAY_BE_NEW = {"video_memory_position", "audio_memory_position"}
_OF_CLASSES = ("video_label.weight", "audio_label.weight")


@torch.no_grad()
def start_from(model: RFLAVTransformer, place: str, class_names: Sequence[str] = ()) -> None:
    """Give a model the weights of a pipeline folder or a released checkpoint; new memory frames keep their own.

    Raises:
        ValueError: as `weights_for`.
    """
    weights = weights_for(model, place, class_names)
    model.load_state_dict(weights, strict=False)  # what may be missing is known by then


def weights_for(
    model: RFLAVTransformer, place: str, class_names: Sequence[str] = ()
) -> dict[str, torch.Tensor]:
    """The weights in a pipeline folder or a released checkpoint, for a model like this one.

    Where both have names for their classes, a class gets the labels' weights of the one of its name. Classes that
    the other model does not have begin with those that are left, and a warning names them.

    Raises:
        ValueError: nothing there that can be opened, or another architecture: names the first weights that differ.
    """
    pipeline = open_checkpoint(place)
    theirs = pipeline.transformer.state_dict()
    if told := misfit(theirs, model.state_dict(), _MAY_BE_NEW):
        raise ValueError(
            f"start_from: the model in {place} is not of this config: {told}; set hidden_size, depth, window, "
            "fusion, classes and memory frames to its own, or leave start_from out"
        )
    rows = _rows_by_name(place, list(pipeline.config.class_names or ()), class_names)
    for name in _OF_CLASSES if rows else ():
        rest = range(len(rows), len(theirs[name]))  # "no class"
        theirs[name] = theirs[name][[*rows, *rest]]
    return theirs


def _rows_by_name(place: str, theirs: Sequence[str], ours: Sequence[str]) -> list[int]:
    """The label there of each class here; none where not both have names, or as many."""
    if not ours or len(set(theirs)) != len(set(ours)):
        return []
    left = [name for name in theirs if name not in ours]
    begins = {name: name if name in theirs else left.pop(0) for name in ours}
    if new := [f"{name} as {other}" for name, other in begins.items() if name != other]:
        warn(
            f"start_from: the model in {place} has other classes; these begin with its labels: {', '.join(new)}"
        )
    return [list(theirs).index(other) for other in begins.values()]
