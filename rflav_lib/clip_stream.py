"""Endless generation as clips of equal length that join without a seam, in picture and in sound."""

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from rflav_lib.diverged import check_made
from rflav_lib.image_codec import ImageVAE
from rflav_lib.media import Clip
from rflav_lib.memory import Memory
from rflav_lib.numbers_given import whole_number
from rflav_lib.provenance import fingerprint, settings_of
from rflav_lib.sampler import Guidance, RollingSampler, check_guidance
from rflav_lib.stream_state import (
    FORMAT,
    check_keys,
    check_model,
    check_settings,
    check_waiting,
    counts_of,
    memory_of,
    memory_state,
    noise_of,
    vocoder_of,
    waiting_of,
    window_of,
)
from rflav_lib.undo import all_or_nothing

if TYPE_CHECKING:
    from rflav_lib.pipeline import Label, RFLAVPipeline

CHUNK_FRAMES = 10  # of a clip, unless told
NO_GUIDANCE = [1.0, 1.0]


class ClipStream:
    """Clips without end: an iterator that can be steered, saved, and gone on with in another process.

    Each clip has `chunk_frames` frames and exactly their sound. The vocoder looks a little ahead, so pictures wait
    for their sound: the first clip takes a few frames more than the others. Memory does not grow. Threads may share a
    stream: each clip goes to one of them, and what else they ask for waits until it is made.

    Attributes:
        steps_per_frame: N, Euler steps between two finished frames; may be changed while the stream runs.
        frames_made: frames handed out so far.
    """

    def __init__(
        self,
        pipeline: "RFLAVPipeline",
        sampler: RollingSampler,
        chunk_frames: int,
        y: "Label | None",
        generator: torch.Generator | None,
        vae: ImageVAE | None = None,
        warm_frames: int = 0,
    ) -> None:
        chunk_frames = whole_number(chunk_frames, "chunk_frames")
        warm_frames = whole_number(warm_frames, "warm_frames", least=0)
        # of all that moves the stream; re-entrant, as a signal's handler may ask for its state
        self._lock = threading.RLock()
        self._pipeline, self._sampler, self._chunk_frames = pipeline, sampler, chunk_frames
        self._vae = vae or pipeline.vae
        self._dtype = str(self._vae.dtype).removeprefix("torch.")
        opened = {
            "guidance_scale": (_scales(sampler), NO_GUIDANCE),
            "chunk_frames": (chunk_frames, CHUNK_FRAMES),
        }
        self._asked = {name: value for name, (value, usual) in opened.items() if value != usual}
        self._generator = generator or torch.Generator().manual_seed(torch.seed() % 2**63)
        self.y = y
        # video (1 k c h w), audio (1 k f m), the first clean
        self._window: tuple[Tensor, Tensor] | None = None
        self._warm_frames = warm_frames  # frames to throw away before the first that is handed out
        self._memory: Memory | None = None  # of the frames before the window, where the model remembers
        self._latents: list[Tensor] = []  # frames whose sound is not complete (1 c h w)
        self._vocoder = pipeline.vocoder.stream(batch=1)
        self._sound = torch.zeros(1, 0)
        self.frames_made = 0
        self._finished = False

    @property
    def y(self) -> "Label | None":
        """The class, by name or number. Set it while the stream runs: the next frames that enter follow it."""
        return self._y

    @y.setter
    def y(self, label: "Label | None") -> None:
        self._y, self._numbers = self._label(label, self._sampler)

    def _label(self, label: "Label | None", sampler: RollingSampler) -> "tuple[Label | None, Tensor | None]":
        """A class as plain text or number, and as the model's label (1,)."""
        numbers = self._pipeline.label_numbers(label)
        if numbers is not None and len(numbers) != 1:
            raise ValueError(f"a stream makes one clip at a time, so it takes one class, not {len(numbers)}")
        sampler.check_labels(numbers)
        if numbers is None:
            return None, None
        # numpy's strings are strings too, and no plain values to those who load a state
        return (str(label) if isinstance(label, str) else int(numbers)), numbers

    @property
    def steps_per_frame(self) -> int:
        """Euler steps between two frames."""
        return self._sampler.steps_per_frame

    @steps_per_frame.setter
    def steps_per_frame(self, steps: int) -> None:
        self._sampler = self._sampler.with_steps(steps)

    @property
    def guidance_scale(self) -> Guidance:
        """Of classifier-free guidance; fixed when the stream is opened, or by the state that it goes on with."""
        return self._sampler.guidance_scale

    @property
    def chunk_frames(self) -> int:
        """Frames of a clip; fixed when the stream is opened, or by the state that it goes on with."""
        return self._chunk_frames

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Clip:
        """The next clip. If it fails or is interrupted, what is not handed out yet is kept: go on, or see `finish`.

        Raises:
            ValueError: the model made NaN or infinite values; names the scale of guidance that can be the cause.
            StopIteration: the stream was ended.
        """
        with self._lock:
            if self._finished:
                raise StopIteration
            samples = self._chunk_frames * self._pipeline.samples_per_frame
            while self._sound.shape[1] < samples:
                self._advance()
            return self._hand_out(self._chunk_frames)

    def finish(self) -> Clip | None:
        """End the stream. Returns a last clip of the frames that were still waiting for their sound, if any.

        If it fails or is interrupted (a full disk, no memory for the decoder), call it again.
        """
        with self._lock:
            if not self._finished:
                with all_or_nothing(self), all_or_nothing(self._vocoder):
                    self._sound = torch.cat([self._sound, self._vocoder.flush().cpu()], dim=1)
                    self._finished = True
            return self._hand_out(len(self._latents)) if self._latents else None

    def close(self) -> None:
        """End the stream and let go of what it holds."""
        with self._lock:
            self._finished, self._window, self._memory = True, None, None
            self._latents, self._sound = [], torch.zeros(1, 0)

    def state_dict(self) -> dict[str, Any]:
        """Tensors on the CPU and plain values, for `torch.save` and `torch.load(..., weights_only=True)`.

        The first call takes a checksum of the weights: seconds for a large model.

        Raises:
            ValueError: the stream was ended: there is nothing to go on with.
        """
        with self._lock:
            if self._finished:
                raise ValueError("this stream was ended: save its state before finish() or close()")
            return {
                "format": FORMAT,
                "window": None if self._window is None else [part.cpu().clone() for part in self._window],
                "memory": memory_state(self._memory),
                "warm_frames": self._warm_frames,
                "latents": [latent.cpu() for latent in self._latents],
                "sound": self._sound.clone(),
                "vocoder": self._vocoder.state_dict(),
                "generator": self._generator.get_state(),
                "y": self._y,
                "steps_per_frame": int(self.steps_per_frame),
                "frames_made": self.frames_made,
                "guidance_scale": _scales(self._sampler),
                "chunk_frames": self._chunk_frames,
                "dtype": self._dtype,
                "weights": self._weights,
                "settings": settings_of(self._pipeline),
            }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream of the same model stood, to the last bit with the same machine and threads.

        It goes on as it was saved: with its class, steps, guidance and length of clips. A stream that was opened with
        another guidance_scale than 1 or other chunk_frames than 10 says if the state has others; so does one of another
        dtype. A state of an older version, which did not keep these, goes on with the stream's own, with a warning.

        Raises:
            ValueError: a state that is none, is damaged, or is of another model, other weights or other settings;
                then the stream is as it was.
        """
        check_keys(state)
        try:
            parts, noise = self._parts_of(state)
        except (AttributeError, KeyError, IndexError, TypeError, RuntimeError) as error:
            raise ValueError(f"this state is damaged: {error}") from error
        with self._lock, all_or_nothing(self, self._generator):
            vars(self).update(parts)
            self._generator.set_state(noise)

    def _parts_of(self, state: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
        """What is to become of this stream's attributes and of its generator; nothing is changed yet."""
        like = self._pipeline.initial_noise(1, torch.Generator())
        window = window_of(state, like)
        empty = None if window is None else self._sampler.empty_memory(*like)
        memory = memory_of(state.get("memory"), empty)
        check_settings({**self._asked, "dtype": self._dtype}, state)
        check_model(state, self._weights, settings_of(self._pipeline))
        sampler = self._sampler.with_steps(state["steps_per_frame"])
        sampler = sampler.with_guidance(tuple(state.get("guidance_scale", _scales(sampler))))
        y, numbers = self._label(state["y"], sampler)
        latents, sound = waiting_of(state, like[0])
        frames_made, warm_frames = counts_of(state)
        vocoder = self._pipeline.vocoder.stream(batch=1)
        vocoder.load_state_dict(vocoder_of(state))
        check_waiting(latents, sound, getattr(vocoder, "owed", None), self._pipeline.samples_per_frame)
        chunk_frames = whole_number(state.get("chunk_frames", self._chunk_frames), "chunk_frames")
        parts = {
            "_window": window, "_memory": memory, "_latents": latents, "_sound": sound, "_vocoder": vocoder,
            "_sampler": sampler, "_chunk_frames": chunk_frames, "_warm_frames": warm_frames, "_y": y,
            "_numbers": numbers, "frames_made": frames_made, "_finished": False,
        }  # fmt: skip
        return parts, noise_of(state)

    @cached_property
    def _weights(self) -> str:
        return fingerprint(self._pipeline)

    def _advance(self) -> None:
        """Clear one more frame of the window, and give its mel segment to the vocoder."""
        with all_or_nothing(self, self._generator), all_or_nothing(self._vocoder):
            if self._window is None:
                (video, audio), memory = self._start()
            else:
                (video, audio), memory = self._roll(self._window, self._memory)
            check_made(video[:, :1], audio[:, :1], guidance_scale=self._sampler.guidance_scale)
            sound = self._vocoder.push(self._pipeline.mel.decode(audio[:, :1])).float().cpu()
            self._window, self._memory = (video, audio), memory
            self._latents = [*self._latents, video[:, 0].clone()]
            self._sound = torch.cat([self._sound, sound], dim=1)

    def _start(self) -> tuple[tuple[Tensor, Tensor], Memory | None]:
        """Clear the first frame that is handed out: window, and memory of those before it."""
        noise = self._pipeline.initial_noise(1, self._generator)
        window, memory = self._sampler.preroll(*noise, self._numbers), self._sampler.empty_memory(*noise)
        for _ in range(self._warm_frames):
            window, memory = self._roll(window, memory)
        return window, memory

    def _roll(
        self, window: tuple[Tensor, Tensor], memory: Memory | None
    ) -> tuple[tuple[Tensor, Tensor], Memory | None]:
        """One frame further: window, and memory with the frame that left it."""
        memory = memory and memory.after(window[0][:, 0], window[1][:, 0])
        return self._sampler.roll(*window, self._generator, self._numbers, memory), memory

    def _hand_out(self, frames: int) -> Clip:
        samples = frames * self._pipeline.samples_per_frame
        pictures = self._pipeline.decode_video(torch.stack(self._latents[:frames], dim=1), self._vae)[0]
        mel = self._pipeline.mel.config
        clip = Clip(pictures, self._sound[0, :samples].numpy().copy(), mel.frame_rate, mel.sample_rate)
        with all_or_nothing(self):
            self._latents, self._sound = self._latents[frames:], self._sound[:, samples:].clone()
            self.frames_made += frames
        return clip


def _scales(sampler: RollingSampler) -> list[float]:
    """The guidance of video and audio, as plain numbers."""
    return [float(scale) for scale in check_guidance(sampler.guidance_scale)]
