"""The rolling sampler: endless generation from a window that clears while it moves (paper Sec. 3.3, Fig. 4).

Besides joint generation it makes one modality for the other (Table 3). There the given frames are noised to the
times of the window with noise that stays the same, and every step also goes down the gradient of

    L = mean over frames and elements of (clean - noise - velocity of the given modality)^2

that is, the made modality moves to where the network predicts the given one best. The released code does that
with four slips, mended here: audio-to-video mixed with new noise at every step but aimed at the old; past the
clip's end noise was taken for clean frames (there, both modalities are generated now, and only given frames
guide); the strength depended on the batch (the mean is taken for each sample now); and clips shorter than the
window failed.
"""

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from rflav_lib.flow import VelocityModel, expand_time, interpolate
from rflav_lib.memory import Memory, MemoryLayout
from rflav_lib.numbers_given import finite_number, whole_number
from rflav_lib.sampler_inputs import check_given, check_windows, checked_labels, layout_of
from rflav_lib.schedule import RollingSchedule, check_steps
from rflav_lib.transfer import to_device

VIDEO, AUDIO = 0, 1
Guidance = float | tuple[float, float]
Frames = Iterator[tuple[Tensor, Tensor]]
Generators = torch.Generator | Sequence[torch.Generator] | None
"""One CPU generator for a batch, or one for each of it: then no clip's noise depends on those beside it."""


class RollingSampler:
    """Turns a velocity model into a stream of clean frames.

    Args:
        model: any callable (video (b k c h w), audio (b k f m), t (b k), y) -> velocities of the same shapes.
        schedule: the times of the window; its `window` is the number of frames of the noise that comes in.
        steps_per_frame: Euler steps between two emitted frames, N. A frame takes T N steps from noise
            to clean, so the paper's 20, 100 and 200 steps are N = 2, 10 and 20 at a window of T = 10. M frames
            cost T N + (M - 1) N calls of the model.
        guidance_scale: s of classifier-free guidance, null + s (label - null); one number, or one for video and
            one for audio. 1 is off.
        memory: slots of the model for clean frames in front of the window, see `rflav_lib.memory`; None takes the
            model's own `memory_layout`, or none where it has no such attribute.

    Raises:
        ValueError: a bad number, or another `memory` than the model's own.
    """

    def __init__(
        self,
        model: VelocityModel,
        schedule: RollingSchedule,
        steps_per_frame: int = 2,
        guidance_scale: Guidance = 1.0,
        memory: MemoryLayout | None = None,
    ) -> None:
        self.model = model
        self.schedule = schedule
        self.memory_layout = layout_of(model, memory)
        self.steps_per_frame = check_steps(steps_per_frame)
        self.guidance_scale = guidance_scale
        self._scales = check_guidance(guidance_scale)

    def with_steps(self, steps_per_frame: int) -> Self:
        """The same sampler with another number of steps between frames."""
        other = copy.copy(self)
        other.steps_per_frame = check_steps(steps_per_frame)
        return other

    def with_guidance(self, guidance_scale: Guidance) -> Self:
        """The same sampler with another scale of guidance."""
        other = copy.copy(self)
        other.guidance_scale, other._scales = guidance_scale, check_guidance(guidance_scale)
        return other

    def stream(
        self,
        video_noise: Tensor,
        audio_noise: Tensor,
        generator: Generators = None,
        y: Tensor | None = None,
        warm_frames: int = 0,
    ) -> Frames:
        """Clean frames without end, one after the other.

        Args:
            video_noise: the noise the window starts from (b k c h w), k = window.
            audio_noise: the same for the mel segments (b k f m).
            generator: draws the noise of every later frame, on the CPU, video before audio.
            y: labels (b,), whole numbers of any kind, or None.
            warm_frames: frames that are made and thrown away before the first that is emitted. With at least
                window - 1 of them, every emitted frame has been conditioned on a full window. This moves what
                Fig. 5 shows to before the first frame; it does not make later frames better.

        Returns:
            An iterator of frames, each a video latent (b c h w) and a mel segment (b f m).

        Raises:
            ValueError: noise of another window or shape, labels that are none of the model's, guidance without labels,
                or a bad number of frames.
        """
        y = self._checked(video_noise, audio_noise, y)  # here, and not only when the first frame is asked for
        warm_frames = whole_number(warm_frames, "warm_frames", least=0)
        return self._frames(video_noise, audio_noise, generator, y, warm_frames)

    def audio_to_video(
        self,
        audio: Tensor,
        video_noise: Tensor,
        scale: float = 1000.0,
        generator: Generators = None,
        y: Tensor | None = None,
        audio_noise: Tensor | None = None,
    ) -> Frames:
        """Video for a given sound (Table 3, A2V).

        Args:
            audio: clean mel segments (b l f m), any number l of frames.
            video_noise: the noise the video's window starts from (b k c h w), k = window.
            scale: strength of the guidance by the given frames; 0 only shows them to the network.
            generator: draws all later noise, on the CPU.
            y: labels (b,), or None.
            audio_noise: the fixed noise that the sound is mixed with, (b max(l, k) f m); drawn if None.

        Returns:
            An iterator of l frames, each the made video latent (b c h w) and the given segment (b f m).

        Raises:
            ValueError: shapes that do not fit, no frame, values that are not finite, labels that are none of the
                model's, guidance without labels, or a bad scale.
        """
        scale = finite_number(scale, "scale")
        check_given(self.model, audio, "audio")
        noise = _fixed_noise(audio, audio_noise, self.schedule.window, generator, "audio")
        y = self._checked(video_noise, noise[:, : self.schedule.window], y)
        return self._conditional_frames(AUDIO, audio, noise, video_noise, scale, generator, y)

    def video_to_audio(
        self,
        video: Tensor,
        audio_noise: Tensor,
        scale: float = 1000.0,
        generator: Generators = None,
        y: Tensor | None = None,
        video_noise: Tensor | None = None,
    ) -> Frames:
        """Sound for a given video (Table 3, V2A): as `audio_to_video`, with video latents (b l c h w) given."""
        scale = finite_number(scale, "scale")
        check_given(self.model, video, "video")
        noise = _fixed_noise(video, video_noise, self.schedule.window, generator, "video")
        y = self._checked(noise[:, : self.schedule.window], audio_noise, y)
        return self._conditional_frames(VIDEO, video, noise, audio_noise, scale, generator, y)

    @torch.no_grad()
    def _frames(
        self, video: Tensor, audio: Tensor, generator: Generators, y: Tensor | None, warm: int
    ) -> Frames:
        memory = self.empty_memory(video, audio)
        video, audio = self.preroll(video, audio, y)
        for frame in itertools.count():
            if frame >= warm:
                yield video[:, 0].clone(), audio[:, 0].clone()  # a view would keep the whole window alive
            memory = memory and memory.after(video[:, 0], audio[:, 0])
            video, audio = self.roll(video, audio, generator, y, memory)

    def empty_memory(self, video: Tensor, audio: Tensor) -> Memory | None:
        """Memory of streams with windows like these, before their first frame; None where the model has none."""
        return Memory.empty(self.memory_layout, video, audio) if self.memory_layout.frames else None

    @torch.no_grad()
    def preroll(self, video: Tensor, audio: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From pure noise (b k c h w), (b k f m) to a window whose first frame is clean: T N steps."""
        memory = self.empty_memory(video, audio)
        for t, dt in self.schedule.preroll_steps(self.steps_per_frame):
            video, audio = self._step(video, audio, t, dt, y, memory)
        return video, audio

    @torch.no_grad()
    def roll(
        self, video: Tensor, audio: Tensor, generator: Generators = None, y: Tensor | None = None,
        memory: Memory | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Drop the clean first frame, append noise, and clear the next one: N steps.

        `memory` is that after the dropped frame; a model with memory slots needs it.

        Raises:
            ValueError: such a model without it.
        """
        if self.memory_layout.frames and memory is None:
            raise ValueError(
                "this model remembers frames: give roll the memory, see RollingSampler.empty_memory"
            )
        video, audio = append_noise(video, generator), append_noise(audio, generator)
        for t, dt in self.schedule.roll_steps(self.steps_per_frame):
            video, audio = self._step(video, audio, t, dt, y, memory)
        return video, audio

    @torch.inference_mode(False)  # inside of which there are no gradients
    @torch.no_grad()
    def _conditional_frames(
        self, which: int, clip: Tensor, noise: Tensor, made: Tensor, scale: float,
        generator: Generators, y: Tensor | None,
    ) -> Frames:  # fmt: skip
        """Frames with modality `which` given: `clip` (b l ...), its fixed `noise` (b max(l, k) ...)."""
        clip, noise, made = (part.clone() if part.is_inference() else part for part in (clip, noise, made))
        y = y.clone() if y is not None and y.is_inference() else y
        window, length = self.schedule.window, clip.shape[1]
        given = noise[:, :window]
        memory = self.empty_memory(*((made, given) if which == AUDIO else (given, made)))
        for frame in range(length):
            steps = self.schedule.preroll_steps if frame == 0 else self.schedule.roll_steps
            if frame:
                made = append_noise(made, generator)
                entering = noise[:, frame + window - 1 : frame + window]  # empty past the clip's end
                known = entering.shape[1]
                given = torch.cat([given[:, 1:], entering], 1) if known else append_noise(given, generator)
            ahead = slice(frame, min(frame + window, length))
            for t, dt in steps(self.steps_per_frame):
                made, given = self._conditional_step(
                    which, clip[:, ahead], noise[:, ahead], made, given, t, dt, scale, y, memory
                )
            pair = made[:, 0].clone(), clip[:, frame].clone()
            pair = pair if which == AUDIO else pair[::-1]
            memory = memory and memory.after(*pair)  # before the caller may overwrite them
            yield pair

    def _conditional_step(
        self, which: int, clean: Tensor, noise: Tensor, made: Tensor, given: Tensor,
        t: Tensor, dt: Tensor, scale: float, y: Tensor | None, memory: Memory | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """One Euler step of both modalities; `clean` and its `noise` (b j ...) are the given frames in the window."""
        known = clean.shape[1]
        here = t.expand(
            len(made), -1
        )  # for the fast sampler, which looks times up: on a GPU it would have to wait
        t, dt = (to_device(times, made.device).expand(len(made), -1) for times in (t, dt))
        given = torch.cat([interpolate(clean, noise, t[:, :known]), given[:, known:]], dim=1)
        with torch.set_grad_enabled(scale != 0):
            made = made.detach().requires_grad_(scale != 0)
            pair = (made, given) if which == AUDIO else (given, made)
            velocities = self.velocity(*pair, here, y, memory)
            made_velocity, given_velocity = velocities if which == AUDIO else velocities[::-1]
            if scale:
                error = (clean - noise - given_velocity[:, :known]).square().sum()
                # a mean over the frames of the window, whether or not all are given: a frame guides as
                # strongly in the last windows of a clip as in the first
                (gradient,) = torch.autograd.grad(error / (given_velocity[0].numel()), made)
                unfinished = expand_time((t + dt < 1 - 1e-6).to(made.dtype), made)
                made_velocity = made_velocity - scale * unfinished * gradient
        made = made.detach() + expand_time(dt, made) * made_velocity.detach()
        return made, given + expand_time(dt, given) * given_velocity.detach()

    def velocity(
        self, video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None, memory: Memory | None = None
    ) -> tuple[Tensor, Tensor]:
        """The model's velocity of the window, guided where a scale is not 1. `t` is (b k), on the CPU or beside it."""
        if memory is None:
            return self._guided(video, audio, t, y)
        video, audio = self._guided(*memory.before(video, audio, t), y)
        return video[:, memory.layout.frames :], audio[:, memory.layout.frames :]

    def _guided(self, video: Tensor, audio: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        t = to_device(t, video.device)
        labelled = self.model(video, audio, t, y)
        if self._scales == (1, 1):
            return labelled
        null = self.model(video, audio, t, None)
        video, audio = (n + s * (label - n) for n, label, s in zip(null, labelled, self._scales, strict=True))
        return video, audio

    def _step(
        self, video: Tensor, audio: Tensor, t: Tensor, dt: Tensor, y: Tensor | None, memory: Memory | None
    ) -> tuple[Tensor, Tensor]:
        """One Euler step of the whole window: x <- x + dt * velocity; t and dt are (k,)."""
        t, dt = (to_device(times, video.device).expand(len(video), -1) for times in (t, dt))
        video_velocity, audio_velocity = self.velocity(video, audio, t, y, memory)
        video = video + expand_time(dt, video) * video_velocity
        audio = audio + expand_time(dt, audio) * audio_velocity
        return video, audio

    def check_labels(self, y: Tensor | None) -> None:
        """Raise a ValueError if guidance needs labels and there are none."""
        if self._scales != (1, 1) and y is None:
            raise ValueError(f"guidance_scale is {self.guidance_scale}, which needs labels: give y")

    def _checked(self, video: Tensor, audio: Tensor, y: Tensor | None) -> Tensor | None:
        """The labels of a stream that begins with these windows; a ValueError for what does not fit."""
        check_windows(self.model, video, audio, self.schedule.window)
        self.check_labels(y)
        return checked_labels(self.model, y, len(video))


def draw_noise(shape: tuple[int, ...], generator: Generators) -> Tensor:
    """Noise of shape (b ...), drawn on the CPU: the same on every device.

    Raises:
        ValueError: a list of generators that is not one for each of the batch.
    """
    if isinstance(generator, Sequence):
        if len(generator) != shape[0]:
            raise ValueError(f"{len(generator)} generators for {shape[0]} clips: give one, or one for each")
        generator = list(generator)
    return randn_tensor(shape, generator)


def fresh_noise(window: Tensor, generator: Generators) -> Tensor:
    """Noise for one more frame of `window`: (b k ...) -> (b 1 ...)."""
    shape = (window.shape[0], *window.shape[2:])
    return to_device(draw_noise(shape, generator).to(window.dtype), window.device)[:, None]


def append_noise(window: Tensor, generator: Generators) -> Tensor:
    """Shift (b k ...) by one frame: the first leaves, noise enters at the end."""
    return torch.cat([window[:, 1:], fresh_noise(window, generator)], dim=1)


def check_guidance(scale: Guidance) -> tuple[float, float]:
    """The scale of each modality, (video, audio).

    Raises:
        ValueError: neither a finite number nor two of them.
    """
    both = tuple(scale) if isinstance(scale, tuple | list) else (scale, scale)
    try:
        video, audio = (finite_number(one, "guidance_scale") for one in both)
    except ValueError:
        raise ValueError(
            f"guidance_scale must be a number, or one for video and one for audio, not {scale!r}"
        ) from None
    return video, audio


def _fixed_noise(clip: Tensor, given: Tensor | None, window: int, generator: Generators, name: str) -> Tensor:
    """Noise for a given clip (b l ...), and for the rest of the window if the clip is shorter."""
    shape = (len(clip), max(clip.shape[1], window), *clip.shape[2:])
    if given is None:
        return draw_noise(shape, generator).to(clip)
    if tuple(given.shape) != shape:
        raise ValueError(f"{name} noise must have shape {shape}, got {tuple(given.shape)}")
    return given
