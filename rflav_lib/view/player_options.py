"""What the live player is asked for, checked before anybody presses Start."""

import difflib
import inspect
from typing import Any

from rflav_lib.arguments import Label, check_dtype, check_flag
from rflav_lib.compiling import check_compiler
from rflav_lib.numbers_given import finite_number, whole_number
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.sampler import Guidance, check_guidance

LONGEST_SECONDS = 86_400.0  # of waiting and of buffering: what is longer is no number that was meant
# of a stream, set by the player itself
OWN_OPTIONS = {"self", "steps_per_frame", "chunk_frames", "y", "generator"}


def check_seconds(seconds: float, name: str) -> None:
    """Raise a ValueError unless these are more than 0 and not more than `LONGEST_SECONDS`."""
    if not 0 < finite_number(seconds, name) <= LONGEST_SECONDS:
        raise ValueError(f"{name} must be above 0 and at most {LONGEST_SECONDS:g} seconds, not {seconds!r}")


def check_options(pipe: RFLAVPipeline, options: dict[str, Any]) -> None:
    """Raise what `pipe.stream` would raise for its options, without the cost of opening a stream."""
    known = set(inspect.signature(RFLAVPipeline.stream).parameters) - OWN_OPTIONS
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
            raise TypeError(f"play takes no option {name!r}; {hint}")
    check_guidance(options.get("guidance_scale", 1.0))
    check_dtype(options.get("dtype"))
    whole_number(options.get("warm_frames", 0), "warm_frames", least=0)
    check_flag(options.get("compiled", False), "compiled")
    if options.get("compiled"):
        check_compiler(pipe.transformer.device)


def one_class(pipe: RFLAVPipeline, y: Label | None, guidance: Guidance) -> Label | None:
    """A class by its name, or its number in a model without names; None for no class.

    Raises:
        ValueError: no class of the model, several, or none where guidance needs one.
    """
    numbers = pipe.label_numbers(y)
    if numbers is None:
        if check_guidance(guidance) != (1, 1):
            raise ValueError(f"guidance_scale is {guidance}, which needs labels: choose a class, such as y=0")
        return None
    if len(numbers) != 1:
        raise ValueError(f"a player shows one clip, so it takes one class, not {len(numbers)}")
    names = list(pipe.config.class_names)
    return names[numbers[0]] if names else int(numbers[0])
