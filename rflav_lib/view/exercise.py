"""The exercises' judge: says nothing until the reader has predicted, so that a stored notebook gives nothing away."""

from collections.abc import Sequence
from typing import TypeGuard


def judge(prediction: object, measured: object, tolerance: float = 0.0) -> str:
    """What to print under an exercise.

    Args:
        prediction: the reader's; None while there is none.
        measured: a number, a word, True or False, or a list of these.
        tolerance: how far a number may be off, in its own unit.

    Returns:
        "no prediction yet", "right: 0.44", or "no: 0.44".

    Raises:
        TypeError: a prediction of another kind than what was measured (a word for a number, a list of other length).
    """
    if prediction is None:
        return "no prediction yet"
    right = _agrees(prediction, measured, tolerance)
    return f"{'right' if right else 'no'}: {_shown(measured)}"


def _agrees(prediction: object, measured: object, tolerance: float) -> bool:
    if _is_list(measured):
        if not _is_list(prediction) or len(prediction) != len(measured):
            raise TypeError(f"predict a list of {len(measured)}, not {prediction!r}")
        pairs = zip(prediction, measured, strict=True)
        agreed = [_agrees(one, other, tolerance) for one, other in pairs]
        return all(agreed)  # only now, so that each has been checked for its kind
    for kind, name in ((bool, "True or False"), (str, "a word"), (int | float, "a number")):
        if isinstance(measured, kind):
            if not isinstance(prediction, kind) or (kind is not bool and isinstance(prediction, bool)):
                raise TypeError(f"predict {name}, not {prediction!r}")
            if kind is not bool and isinstance(prediction, int | float) and isinstance(measured, int | float):
                return abs(prediction - measured) <= tolerance
            return prediction == measured
    raise TypeError(f"cannot judge a {type(measured).__name__}: measure a number, a word, a truth, or a list")


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _shown(measured: object) -> str:
    if _is_list(measured):
        return f"[{', '.join(map(_shown, measured))}]"
    return f"{measured:.3g}" if isinstance(measured, float) else str(measured)
