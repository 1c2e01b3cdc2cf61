"""Work that is done or not done: Ctrl-C in the middle of it leaves no half."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def all_or_nothing(thing: object, generator: torch.Generator | None = None) -> Iterator[None]:
    """If the block raises anything, Ctrl-C too, the attributes of `thing` are again what they were.

    So is the state of `generator`. Attributes have to be replaced in the block, not changed in place.
    """
    before, noise = dict(vars(thing)), None if generator is None else generator.get_state()
    try:
        yield
    except BaseException:
        vars(thing).update(before)
        if generator is not None and noise is not None:
            generator.set_state(noise)
        raise
