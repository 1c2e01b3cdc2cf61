"""What a run was made of beside its config: codecs and clips. The same paths may hold others when it goes on."""

from collections.abc import Mapping
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


def changed_sources(stored: Mapping[str, Any], now: Mapping[str, Any], place: str) -> list[str]:
    """What is said about clips that are others now, for a run that goes on from a checkpoint.

    Args:
        stored: facts of the checkpoint; what older versions did not store is not compared.
        now: facts of the run, as `sources` gives them.
        place: of the checkpoint.

    Raises:
        ValueError: other codecs, or other classes: what the model has learnt is not theirs. Names what differs.
    """
    known = {key: value for key, value in stored.items() if key in now}
    if "codecs" in known and (found := differences(known["codecs"], now["codecs"])):
        raise ValueError(
            f"{place}: trained with other codecs than those in use ({', '.join(found)}); put the ones from before "
            "back, or use another output_dir"
        )
    if known.get("class_names", now.get("class_names")) != now.get("class_names"):
        raise ValueError(
            f"{place}: trained with the classes {', '.join(known['class_names'])}; the data have "
            f"{', '.join(now['class_names']) or 'none'}, so labels mean others: use another output_dir"
        )
    if known.get("clips_digest", now.get("clips_digest")) == now.get("clips_digest"):
        return []
    said = (
        f"the clips are others than before: {known['clips']} of digest {known['clips_digest']} -> "
        f"{now['clips']} of digest {now['clips_digest']}"
    )
    if PartialState().is_main_process:
        warn(f"{place}: {said}; the run goes on with them")
    return [said]
