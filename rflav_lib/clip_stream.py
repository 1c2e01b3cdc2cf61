"""Endless generation as clips of equal length that join without a seam, in picture and in sound."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from rflav_lib.media import Clip
from rflav_lib.memory import Memory
from rflav_lib.sampler import RollingSampler, check_warm_frames
from rflav_lib.undo import all_or_nothing

if TYPE_CHECKING:
    from rflav_lib.pipeline import Label, RFLAVPipeline

FORMAT = 1  # of the state


class ClipStream:
    """Clips without end: an iterator that can be steered, saved, and gone on with in another process.

    Each clip has `chunk_frames` frames and exactly their sound. The vocoder looks a little ahead, so pictures wait
    for their sound: the first clip takes a few frames more than the others. Memory does not grow.

    Attributes:
        steps_per_frame: the paper's N; may be changed while the stream runs.
        frames_made: frames handed out so far.
    """

    def __init__(
        self,
        pipeline: "RFLAVPipeline",
        sampler: RollingSampler,
        chunk_frames: int,
        y: "Label | None",
        generator: torch.Generator | None,
        vae: AutoencoderKL | None = None,
        warm_frames: int = 0,
    ) -> None:
        if isinstance(chunk_frames, bool) or not isinstance(chunk_frames, int) or chunk_frames < 1:
            raise ValueError(f"chunk_frames must be a whole number, at least 1, not {chunk_frames!r}")
        check_warm_frames(warm_frames)
        self._pipeline, self._sampler, self._chunk_frames = pipeline, sampler, chunk_frames
        self._vae = vae or pipeline.vae
        self._generator = generator or torch.Generator().manual_seed(torch.seed() % 2**63)
        self.y = y
        self._window: tuple[Tensor, Tensor] | None = (
            None  # video (1 k c h w), audio (1 k f m), the first clean
        )
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
        numbers = self._pipeline.label_numbers(label)
        if numbers is not None and len(numbers) != 1:
            raise ValueError(f"a stream makes one clip at a time, so it takes one class, not {len(numbers)}")
        self._sampler.check_labels(numbers)
        self._y, self._numbers = label, numbers

    @property
    def steps_per_frame(self) -> int:
        """Euler steps between two frames."""
        return self._sampler.steps_per_frame

    @steps_per_frame.setter
    def steps_per_frame(self, steps: int) -> None:
        self._sampler = self._sampler.with_steps(steps)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Clip:
        """The next clip. If it fails or is interrupted, what is not handed out yet is kept: go on, or see `finish`."""
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
        if not self._finished:
            with all_or_nothing(self), all_or_nothing(self._vocoder):
                self._sound = torch.cat([self._sound, self._vocoder.flush().cpu()], dim=1)
                self._finished = True
        return self._hand_out(len(self._latents)) if self._latents else None

    def close(self) -> None:
        """End the stream and let go of what it holds."""
        self._finished, self._window, self._memory = True, None, None
        self._latents, self._sound = [], torch.zeros(1, 0)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values: `torch.save` writes them, `torch.load(..., weights_only=True)` reads them."""
        return {
            "format": FORMAT,
            "window": None if self._window is None else [part.cpu().clone() for part in self._window],
            "memory": self._memory_state(),
            "warm_frames": self._warm_frames,
            "latents": [latent.cpu() for latent in self._latents],
            "sound": self._sound.clone(),
            "vocoder": self._vocoder.state_dict(),
            "generator": self._generator.get_state(),
            "y": self._y,
            "steps_per_frame": self.steps_per_frame,
            "frames_made": self.frames_made,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream of the same model stood, to the last bit with the same machine and threads.

        Raises:
            ValueError: a state of another format or of a model of other sizes.
        """
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError("this is no state of a stream; take it from ClipStream.state_dict()")
        video, audio = self._pipeline.initial_noise(1, torch.Generator())
        if state["window"] is not None:
            for name, theirs, ours in zip(("video", "audio"), state["window"], (video, audio), strict=True):
                if theirs.shape != ours.shape:
                    raise ValueError(
                        f"this state has a {name} window of {tuple(theirs.shape)}, this model {tuple(ours.shape)}: "
                        "it is of another model"
                    )
        like = None if state["window"] is None else self._sampler.empty_memory(video, audio)
        memory = self._memory_from(state.get("memory"), like)
        self.y, self.steps_per_frame = state["y"], state["steps_per_frame"]
        self._memory, self._warm_frames = memory, state.get("warm_frames", 0)
        self._vocoder.load_state_dict(state["vocoder"])
        self._window = None if state["window"] is None else tuple(part.to(video) for part in state["window"])
        self._latents = [latent.to(video) for latent in state["latents"]]
        self._sound = state["sound"].clone()
        self._generator.set_state(state["generator"])
        self.frames_made, self._finished = state["frames_made"], False

    def _memory_state(self) -> dict[str, Any] | None:
        if self._memory is None:
            return None
        slots = {name: getattr(self._memory, name).cpu().clone() for name in ("video", "audio")}
        return {**slots, "emitted": self._memory.emitted, "layout": asdict(self._memory.layout)}

    def _memory_from(self, state: dict[str, Any] | None, like: Memory | None) -> Memory | None:
        """The memory of a state; `like` is an empty one of this model, None where there should be none."""
        theirs, ours = (
            None if state is None else state["layout"],
            None if like is None else asdict(like.layout),
        )
        if theirs != ours:
            raise ValueError(f"this state has memory {theirs}, this model {ours}: it is of another model")
        if like is None or state is None:
            return None
        slots = {name: state[name].to(getattr(like, name)) for name in ("video", "audio")}
        return replace(like, **slots, emitted=state["emitted"])

    def _advance(self) -> None:
        """Clear one more frame of the window, and give its mel segment to the vocoder."""
        with all_or_nothing(self, self._generator), all_or_nothing(self._vocoder):
            if self._window is None:
                (video, audio), memory = self._start()
            else:
                (video, audio), memory = self._roll(self._window, self._memory)
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
