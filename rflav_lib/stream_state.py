"""The saved state of a stream of clips, looked at piece by piece before any of it is used.

Format 3 holds all that later clips depend on, and what they must not be gone on with: other weights, parts of other
settings, another dtype. Format 2 did not keep `settings`; format 1 neither `guidance_scale`, `chunk_frames`, `dtype`
and `weights`. Such a state is still loaded, with a warning: the stream goes on with its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from rflav_lib.memory import Memory
from rflav_lib.numbers_given import whole_number
from rflav_lib.warn import warn

FORMAT = 3
SINCE = {
    1: ("window", "latents", "sound", "vocoder", "generator", "y", "steps_per_frame", "frames_made"),
    2: ("memory", "warm_frames", "guidance_scale", "chunk_frames", "dtype", "weights"),
    3: ("settings",),
}
"""The keys that each format added."""
MAY_LACK = ("memory", "warm_frames")  # of format 1: what they stand for came with format 2


def check_keys(state: Any) -> None:
    """Raise a ValueError for what is no state, or lacks something; warn of one of an older format."""
    formats = list(SINCE)  # a state from a file may hold anything, and not all can be looked up in a dict
    if not (isinstance(state, dict) and state.get("format") in formats):
        raise ValueError("this is no state of a stream; take it from ClipStream.state_dict()")
    kept = [key for since, keys in SINCE.items() if since <= state["format"] for key in keys]
    check_missing(state, kept, "stream")
    if state["format"] < FORMAT:
        lacks = [key for keys in SINCE.values() for key in keys if key not in (*kept, *MAY_LACK)]
        warn(
            f"this state was saved by an older version, without {', '.join(lacks)}: "
            "it goes on with those of the stream that loads it, right or wrong"
        )


def check_missing(state: Mapping[str, Any], keys: Iterable[str], of: str) -> None:
    """Raise a ValueError that names the keys that a state of a stream, a vocoder, ... lacks."""
    if missing := [key for key in keys if key not in state]:
        raise ValueError(f"this state of a {of} is damaged: it lacks {', '.join(missing)}")


def check_settings(asked: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Raise a ValueError where a stream was asked for a setting and a state was saved with another."""
    for name, value in asked.items():
        if name in saved and saved[name] != value:
            raise ValueError(
                f"this state goes on with {name} {saved[name]}, but the stream was opened with {name} {value}: "
                "open it with the same"
            )


def check_model(state: Mapping[str, Any], weights: str, settings: Mapping[str, str]) -> None:
    """See that a state was saved by a pipeline like this one.

    Args:
        state: of a stream.
        weights: this pipeline's, as `provenance.fingerprint` gives them.
        settings: this pipeline's, as `provenance.settings_of` gives them.

    Raises:
        ValueError: by one of other weights, or with a part of other settings.
    """
    if "weights" in state and state["weights"] != weights:
        raise ValueError(
            f"this state is of other weights ({state['weights']}) than this model's ({weights}): "
            "open the pipeline that it was saved with"
        )
    theirs = dict(state.get("settings", settings))
    if differ := sorted(name for name in {*theirs, *settings} if theirs.get(name) != settings.get(name)):
        raise ValueError(
            f"this state was saved by a pipeline with other settings of {', '.join(differ)}: "
            "open the pipeline that it was saved with"
        )


def window_of(state: Mapping[str, Any], like: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor] | None:
    """The window, shaped and placed as `like`: video (1 k c h w), audio (1 k f m); None before the first frame.

    Raises:
        ValueError: of another model, or not finite.
    """
    if state["window"] is None:
        return None
    for name, theirs, ours in zip(("video", "audio"), state["window"], like, strict=True):
        if theirs.shape != ours.shape:
            raise ValueError(
                f"this state has a {name} window of {tuple(theirs.shape)}, this model {tuple(ours.shape)}: "
                "it is of another model"
            )
    video, audio = (part.to(ours) for part, ours in zip(state["window"], like, strict=True))
    return finite(video, "video window"), finite(audio, "audio window")


def waiting_of(state: Mapping[str, Any], like: Tensor) -> tuple[list[Tensor], Tensor]:
    """Latents (1 c h w) that wait for their sound, like frames of `like` (1 k c h w), and sound (1 s) on the CPU.

    Raises:
        ValueError: other shapes, or not finite.
    """
    latents, sound = [latent.to(like) for latent in state["latents"]], state["sound"].cpu().float().clone()
    if any(latent.shape != like[:, 0].shape for latent in latents) or sound.ndim != 2 or len(sound) != 1:
        raise ValueError(
            "this state is damaged: frames or sound that wait have other shapes than the model's"
        )
    return [finite(latent, "waiting frames") for latent in latents], finite(sound, "waiting sound")


def check_waiting(latents: list[Tensor], sound: Tensor, owed: int | None, samples_per_frame: int) -> None:
    """See that the frames that wait and their sound are equally long.

    Args:
        latents: frames (1 c h w).
        sound: samples (1 s).
        owed: samples that the vocoder still has in hand; None where it does not tell.
        samples_per_frame: of a frame.

    Raises:
        ValueError: they are not.
    """
    needed, have = len(latents) * samples_per_frame, sound.shape[1] + (owed or 0)
    if have > needed or (owed is not None and have != needed):
        raise ValueError(
            f"this state is damaged: {len(latents)} frames wait with {have} samples of sound, not {needed}"
        )


def memory_state(memory: Memory | None) -> dict[str, Any] | None:
    """Memory as tensors on the CPU and plain values."""
    if memory is None:
        return None
    slots = {name: getattr(memory, name).cpu().clone() for name in ("video", "audio")}
    return {**slots, "emitted": memory.emitted, "layout": asdict(memory.layout)}


def memory_of(state: dict[str, Any] | None, like: Memory | None) -> Memory | None:
    """The memory of a state; `like` is an empty one of this model, None where there should be none.

    Raises:
        ValueError: of another model, or damaged.
    """
    theirs = None if state is None else state["layout"]
    ours = None if like is None else asdict(like.layout)
    if theirs != ours:
        raise ValueError(f"this state has memory {theirs}, this model {ours}: it is of another model")
    if like is None or state is None:
        return None
    slots = {name: state[name].to(getattr(like, name)) for name in ("video", "audio")}
    if any(slots[name].shape != getattr(like, name).shape for name in slots):
        raise ValueError("this state is damaged: its memory has other shapes than its layout says")
    for name, slot in slots.items():
        finite(slot, f"{name} memory")
    return replace(like, **slots, emitted=whole_number(state["emitted"], "emitted", least=0))


def vocoder_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The vocoder's state. Raises a ValueError for a tensor that is not finite; the rest is the vocoder's to check."""
    for name, part in state["vocoder"].items():
        if isinstance(part, Tensor):
            finite(part, f"vocoder's {name}")
    return state["vocoder"]


def finite(tensor: Tensor, what: str) -> Tensor:
    """The tensor, of any shape. Raises a ValueError that says `what` holds NaN or infinite values."""
    if not torch.isfinite(tensor).all():
        raise ValueError(f"this state is damaged: NaN or infinite values in the {what}")
    return tensor


def noise_of(state: Mapping[str, Any]) -> Tensor:
    """The generator's state. Raises a ValueError for what is none."""
    try:
        torch.Generator().set_state(state["generator"])
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"this state is damaged: its generator cannot be set ({error})") from error
    return state["generator"]


def counts_of(state: Mapping[str, Any]) -> tuple[int, int]:
    """Frames handed out, and frames to throw away before the first. Raises a ValueError for what are none."""
    made = whole_number(state["frames_made"], "frames_made", least=0)
    return made, whole_number(state.get("warm_frames", 0), "warm_frames", least=0)
