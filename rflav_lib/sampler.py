"""The rolling sampler: endless generation from a window that clears while it moves (paper Sec. 3.3, Fig. 4)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rflav_lib.flow import VelocityModel, expand_time
from rflav_lib.schedule import RollingSchedule, check_steps


class RollingSampler:
    """Turns a velocity model into a stream of clean frames.

    Args:
        model: any callable (video (b k c h w), audio (b k f m), t (b k), y) -> velocities of the same shapes.
        schedule: the times of the window; its `window` is the number of frames of the noise that comes in.
        steps_per_frame: Euler steps between two emitted frames (paper: N). A frame takes T N steps from noise
            to clean, so the paper's 20, 100 and 200 steps are N = 2, 10 and 20 at a window of T = 10. M frames
            cost T N + (M - 1) N calls of the model.
        guidance_scale: s of classifier-free guidance, null + s (label - null) for both modalities; 1 is off.
    """

    def __init__(
        self,
        model: VelocityModel,
        schedule: RollingSchedule,
        steps_per_frame: int = 2,
        guidance_scale: float = 1.0,
    ) -> None:
        self.model = model
        self.schedule = schedule
        self.steps_per_frame = check_steps(steps_per_frame)
        self.guidance_scale = guidance_scale

    def stream(
        self,
        video_noise: Tensor,
        audio_noise: Tensor,
        generator: torch.Generator | None = None,
        y: Tensor | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Clean frames without end, one after the other.

        Args:
            video_noise: the noise the window starts from (b k c h w), k = window.
            audio_noise: the same for the mel segments (b k f m).
            generator: draws the noise of every later frame, on the CPU, video before audio.
            y: labels (b,), or None.

        Returns:
            An iterator of frames, each a video latent (b c h w) and a mel segment (b f m).

        Raises:
            ValueError: noise of another window, or guidance without labels.
        """
        self._check(video_noise, audio_noise, y)  # here, and not only when the first frame is asked for
        return self._frames(video_noise, audio_noise, generator, y)

    @torch.no_grad()
    def _frames(
        self, video: Tensor, audio: Tensor, generator: torch.Generator | None, y: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for t, dt in self.schedule.preroll_steps(self.steps_per_frame):
            video, audio = self._step(video, audio, t, dt, y)
        while True:
            yield video[:, 0].clone(), audio[:, 0].clone()  # a view would keep the whole window alive
            video = torch.cat([video[:, 1:], fresh_noise(video, generator)], dim=1)
            audio = torch.cat([audio[:, 1:], fresh_noise(audio, generator)], dim=1)
            for t, dt in self.schedule.roll_steps(self.steps_per_frame):
                video, audio = self._step(video, audio, t, dt, y)

    def velocity(self, video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """The model's velocity, guided when the scale is not 1. `t` is (b k)."""
        labelled = self.model(video, audio, t, y)
        if self.guidance_scale == 1:
            return labelled
        null = self.model(video, audio, t, None)
        return tuple(n + self.guidance_scale * (label - n) for n, label in zip(null, labelled, strict=True))

    def _step(
        self, video: Tensor, audio: Tensor, t: Tensor, dt: Tensor, y: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """One Euler step of the whole window: x <- x + dt * velocity; t and dt are (k,)."""
        t, dt = (times.to(video.device).expand(len(video), -1) for times in (t, dt))
        video_velocity, audio_velocity = self.velocity(video, audio, t, y)
        video = video + expand_time(dt, video) * video_velocity
        audio = audio + expand_time(dt, audio) * audio_velocity
        return video, audio

    def _check(self, video: Tensor, audio: Tensor, y: Tensor | None) -> None:
        for name, noise in (("video", video), ("audio", audio)):
            if noise.shape[1] != self.schedule.window:
                raise ValueError(
                    f"{name} noise has {noise.shape[1]} frames, but the window is {self.schedule.window}"
                )
        if self.guidance_scale != 1 and y is None:
            raise ValueError(f"guidance_scale is {self.guidance_scale}, which needs labels: give y")
        if len(video) != len(audio):
            raise ValueError(f"video noise is for {len(video)} clips, audio noise for {len(audio)}")


def fresh_noise(window: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise for one more frame of `window`: (b k ...) -> (b 1 ...), drawn on the CPU: the same on every device."""
    shape = (window.shape[0], *window.shape[2:])
    return torch.randn(shape, generator=generator).to(window)[:, None]
