"""Flow matching on a window whose frames each have their own time (paper Sec. 3.2 and 3.3, Eq. 1-5, 9-10).

The convention of the paper and of the whole library: t = 1 is clean data, t = 0 is pure noise, and the
path between them is the straight line. Nothing in here knows the network: a model is any callable
``(video, audio, t, y) -> (video velocity, audio velocity)``.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from einops import reduce
from torch import Tensor

Weighting = Literal["logit_normal", "uniform"]
VelocityModel = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


def expand_time(t: Tensor, like: Tensor) -> Tensor:
    """Append axes of length one to `t` until it broadcasts over `like`: (b k) -> (b k 1 ... 1)."""
    return t.reshape(*t.shape, *(1,) * (like.ndim - t.ndim)).to(like.dtype)


def interpolate(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Point on the straight path from noise to data: x_t = t x + (1 - t) eps (Eq. 1; per frame Eq. 4 and 5).

    Args:
        clean: data x, (b k ...).
        noise: eps, the shape of `clean`.
        t: flow time in [0, 1], (b k); any leading part of the shape of `clean` works.
    """
    time = expand_time(t, clean)
    return time * clean + (1 - time) * noise


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """Derivative of the path with respect to t: x - eps, the same at every t (Eq. 2)."""
    return clean - noise


def logit_normal(t: Tensor) -> Tensor:
    """Density of the logit-normal(0, 1) distribution at `t`: the weight lambda of Eq. 3 and 10.

    It peaks at t = 0.5 (1.596) and falls to zero at both ends, so that frames which are almost clean or
    almost noise hardly count. At exactly 0 and 1 the limit, 0, is returned.
    """
    logit = torch.logit(t)
    density = torch.exp(-0.5 * logit.square()) / (math.sqrt(2 * math.pi) * t * (1 - t))
    return torch.where((t > 0) & (t < 1), density, torch.zeros_like(density))


def flow_weight(t: Tensor, weighting: str) -> Tensor:
    """lambda(t) by name: "logit_normal" (the paper) or "uniform" (one everywhere).

    Raises:
        ValueError: another name.
    """
    if weighting == "logit_normal":
        return logit_normal(t)
    if weighting == "uniform":
        return torch.ones_like(t)
    raise ValueError(f"weighting must be 'logit_normal' or 'uniform', not {weighting!r}")


def rolling_flow_errors(
    model: VelocityModel,
    video: Tensor,
    audio: Tensor,
    t: Tensor,
    video_noise: Tensor,
    audio_noise: Tensor,
    y: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean squared velocity error of every frame, before weighting: two tensors (b k), video and audio.

    Both modalities of a frame share its time, which is what keeps sound and picture in step (Eq. 4 and 5).

    Raises:
        ValueError: noise of another shape than what it is for, or times that are not (b k).
    """
    for name, clean, noise in (("video", video, video_noise), ("audio", audio, audio_noise)):
        if clean.shape != noise.shape:
            raise ValueError(
                f"{name} noise has shape {tuple(noise.shape)}, but {name} is {tuple(clean.shape)}"
            )
        if clean.shape[:2] != t.shape:
            raise ValueError(f"t must be (b k) = {tuple(clean.shape[:2])} as {name} is, not {tuple(t.shape)}")
    noisy_video = interpolate(video, video_noise, t)
    noisy_audio = interpolate(audio, audio_noise, t)
    video_velocity, audio_velocity = model(noisy_video, noisy_audio, t, y)
    # float32 from here on: under bf16 autocast the squares would lose the small errors that training is about
    video_error = (velocity(video, video_noise) - video_velocity.to(video.dtype)).square()
    audio_error = (velocity(audio, audio_noise) - audio_velocity.to(audio.dtype)).square()
    return reduce(video_error, "b k c h w -> b k", "mean"), reduce(audio_error, "b k f m -> b k", "mean")


def rolling_flow_loss(
    model: VelocityModel,
    video: Tensor,
    audio: Tensor,
    t: Tensor,
    video_noise: Tensor,
    audio_noise: Tensor,
    y: Tensor | None = None,
    weighting: Weighting = "logit_normal",
) -> Tensor:
    """The training loss of the paper (Eq. 9 and 10): video and audio weigh the same.

    Args:
        model: any callable (video, audio, t, y) -> (video velocity, audio velocity).
        video: clean latents (b k c h w).
        audio: clean mel segments (b k f m).
        t: flow time of each frame (b k), as `RollingSchedule.draw` makes it.
        video_noise: the shape of `video`.
        audio_noise: the shape of `audio`.
        y: class labels (b,), or None.
        weighting: lambda(t), "logit_normal" or "uniform".

    Returns:
        A scalar: mean over samples and frames of lambda times the mean squared error, video plus audio.

    Raises:
        ValueError: shapes that do not fit together, an unknown weighting, or a window without memory slots in front
            for a model that has them (`rflav_lib.memory`).
    """
    _check_slots(model, t)
    video_error, audio_error = rolling_flow_errors(model, video, audio, t, video_noise, audio_noise, y)
    weight = flow_weight(t, weighting)
    return (weight * video_error).mean() + (weight * audio_error).mean()


def _check_slots(model: VelocityModel, t: Tensor) -> None:
    """See that a model with memory slots does not take frames of the window for them.

    Slots are at flow time 0 or 1, frames in training are never. Values are looked at on the CPU alone, without a wait.

    Raises:
        ValueError: it would.
    """
    slots = getattr(getattr(model, "memory_layout", None), "frames", 0)
    if slots and t.device.type == "cpu" and not ((t[:, :slots] == 0) | (t[:, :slots] == 1)).all():
        raise ValueError(
            f"this model has {slots} memory slots in front of its window: put frames at t = 1, or zeros at t = 0, there"
        )


def noise_of_state(state: Tensor, clean: Tensor, t: Tensor) -> Tensor:
    """The noise whose straight path to `clean` goes through `state` at time t: (x_t - t x) / (1 - t).

    With it, Eq. 1 gives any state of a window, also one that no noise was drawn for, and x - eps points from there
    to the clean truth. `t` is (b k), below 1.
    """
    time = expand_time(t, clean)
    return (state - time * clean) / (1 - time)


@torch.no_grad()
def rolled_out_noise(
    model: VelocityModel,
    video: Tensor,
    audio: Tensor,
    t: Tensor,
    video_noise: Tensor,
    audio_noise: Tensor,
    y: Tensor | None,
    back: Tensor,
    steps: int = 1,
) -> tuple[Tensor, Tensor]:
    """Noise of windows that the model itself has brought to t, from real ones noised further: training on roll-outs.

    A sampler's windows hold the model's errors, those of Eq. 9 do not. Here real frames are noised to `back` before
    t (pure noise at most), Euler steps of the model lead to t, and the loss at the returned noise then pulls from
    where the model came out to the clean truth. A cheap form of Self Forcing (Huang et al. 2025). Use it with
    the logit-normal weight: the pull grows with 1 / (1 - t).

    Args:
        model: any callable (video, audio, t, y) -> (video velocity, audio velocity).
        video: clean latents (b k c h w).
        audio: clean mel segments (b k f m).
        t: flow time of each frame (b k); frames at exactly 0 or 1 come back as they were.
        video_noise: the shape of `video`.
        audio_noise: the shape of `audio`.
        y: class labels (b,), or None.
        back: how far each sample is noised back (b,), in flow time; with 0 it comes back as it was.
        steps: Euler steps from there to t.

    Returns:
        Noise of video and audio.
    """
    start = (t - back[:, None]).clamp(min=0)
    start = torch.where(t < 1, start, t)  # memory frames stay
    state = [interpolate(video, video_noise, start), interpolate(audio, audio_noise, start)]
    dt = (t - start) / steps
    for step in range(steps):
        velocities = model(state[0], state[1], start + step * dt, y)
        state = [x + expand_time(dt, x) * v.to(x.dtype) for x, v in zip(state, velocities, strict=True)]
    noises = []
    for made, clean, noise in zip(state, (video, audio), (video_noise, audio_noise), strict=True):
        moved = expand_time(dt > 0, clean).bool()
        noises.append(torch.where(moved, noise_of_state(made, clean, t), noise))  # at t = 1 nothing has moved
    return noises[0], noises[1]
