"""What a run was made of beside its config: codecs and clips. The same paths may hold others when it goes on."""

from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

from accelerate import PartialState

from rflav_lib.data.latent_cache.index import differences
from rflav_lib.data.latents import LatentCache
from rflav_lib.data.windows import TrainingClips
from rflav_lib.warn import warn


def sources(data: TrainingClips) -> dict[str, Any]:
    """Facts about codecs and clips for a checkpoint; none of clips that are not from a cache."""
    if not isinstance(data, LatentCache):
        return {}
    index = data.index
    return {
        "codecs": index.codecs,
        "class_names": list(index.class_names),
        "clips": len(index.clips),
        "clips_digest": index.clips_digest,
    }


_TYPES = {"codecs": dict, "class_names": list, "clips": int, "clips_digest": str}


def check_sources(stored: Any) -> None:
    """Raise a ValueError unless these are facts that `sources` may have given: all of them, or none."""
    if not isinstance(stored, dict) or (stored and not _TYPES.keys() <= stored.keys()):
        raise ValueError(f"run.json: made_of is {short(stored)}")
    for key, kind in _TYPES.items():
        if key in stored and type(stored[key]) is not kind:
            raise ValueError(f"run.json: made_of: {key} is {short(stored[key])}")


def changed_sources(stored: Mapping[str, Any], now: Mapping[str, Any], place: str) -> list[str]:
    """What is said about clips that are others now, for a run that goes on from a checkpoint.

    Args:
        stored: facts of the checkpoint; those of older versions, which have none, are not compared.
        now: facts of the run, as `sources` gives them.
        place: of the checkpoint.

    Raises:
        ValueError: other codecs, or other classes: what the model has learnt is not theirs. Names what differs.
    """
    if not stored or not now:
        return []
    if found := differences(stored["codecs"], now["codecs"]):
        raise ValueError(
            f"{place}: trained with other codecs than those in use ({', '.join(found)}); put the ones from before "
            "back, or use another output_dir"
        )
    if stored["class_names"] != now["class_names"]:
        raise ValueError(
            f"{place}: trained with the classes {', '.join(map(str, stored['class_names'])) or 'none'}; the data have "
            f"{', '.join(now['class_names']) or 'none'}, so labels mean others: use another output_dir"
        )
    if stored["clips_digest"] == now["clips_digest"]:
        return []
    said = (
        f"the clips are others than before: {stored['clips']} of digest {stored['clips_digest']} -> "
        f"{now['clips']} of digest {now['clips_digest']}"
    )
    if PartialState().is_main_process:
        warn(f"{place}: {said}; the run goes on with them")
    return [said]
