"""What keeps stored weights from fitting a network, in words: names that are missing or left over, other shapes."""

from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

Shape = tuple[int, ...]


def misfit(
    stored: Mapping[str, Tensor | Shape], wanted: Mapping[str, Tensor | Shape], optional: Collection[str] = ()
) -> str:
    """What does not fit, for the end of an error: "1 missing (a); 1 of another shape (b is (3,), not (4,))".

    Args:
        stored: the weights, or their shapes, by name.
        wanted: those of the network.
        optional: names that may be missing.

    Returns:
        Of each kind how many there are, and the first three; empty where everything fits.
    """
    theirs, ours = (
        {name: value if isinstance(value, tuple) else tuple(value.shape) for name, value in values.items()}
        for values in (stored, wanted)
    )
    shapes = [
        f"{name} is {theirs[name]}, not {shape}"
        for name, shape in ours.items()
        if theirs.get(name, shape) != shape
    ]
    return in_words(ours.keys() - theirs.keys() - set(optional), theirs.keys() - ours.keys(), shapes)


def in_words(missing: Iterable[str], left_over: Iterable[str], shapes: Iterable[str] = ()) -> str:
    """As `misfit`, of names that are known already, and sentences about shapes."""
    kinds = {"missing": missing, "left over": left_over, "of another shape": shapes}
    return "; ".join(
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' * (len(names) > 3)})"
        for kind, names in ((kind, sorted(names)) for kind, names in kinds.items())
        if names
    )
