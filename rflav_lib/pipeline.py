"""RFLAVPipeline: the model and its codecs in one folder; call it and get clips with sound."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from rflav_lib.arguments import Label, check_dtype, check_flag, check_generators, class_numbers
from rflav_lib.clip_stream import CHUNK_FRAMES, ClipStream
from rflav_lib.components import Vocoder, check_fit, name_list
from rflav_lib.conditions import Sound, Video, given_sounds, given_videos
from rflav_lib.diverged import check_made
from rflav_lib.engine import FastSampler
from rflav_lib.image_codec import ImageVAE, decode_latents, encode_frames, reduction
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.numbers_given import finite_number, whole_number
from rflav_lib.pipeline_folder import StrictPipeline
from rflav_lib.sampler import Generators, Guidance, RollingSampler, draw_noise
from rflav_lib.schedule import RollingSchedule
from rflav_lib.transformer import RFLAVTransformer

CONDITION_SCALE = 1000.0
"""Of audio-to-video and video-to-audio (Table 3). The guidance is a mean over a window's frames and elements, so the
best scale grows with their number. On the bundled toy model 1e4 makes single clips run away to infinity, and 1e5 most;
3e3 makes better sounds for a video than 1e3, which keeps its distance."""


class RFLAVPipeline(StrictPipeline):
    """Joint audio-video generation by rolling flow matching.

    Args:
        transformer: predicts the velocities.
        vae: latent <-> frame.
        mel: waveform <-> mel segments.
        vocoder: log-mel -> waveform.
        class_names: names of the labels, in order; none for a model without classes.

    Raises:
        ValueError: a part of another class, class names that are no list of different names, or parts that do not fit
            each other; names what.
    """

    def __init__(
        self,
        transformer: RFLAVTransformer,
        vae: ImageVAE,
        mel: MelCodec,
        vocoder: Vocoder,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__()
        class_names = name_list(class_names)
        check_fit(transformer, vae, mel, vocoder, class_names)
        self.register_modules(transformer=transformer, vae=vae, mel=mel, vocoder=vocoder)
        self.register_to_config(class_names=class_names)

    @torch.no_grad()
    def __call__(
        self,
        num_frames: int | None = None,
        steps_per_frame: int = 2,
        y: Label | Sequence[Label] | None = None,
        guidance_scale: Guidance = 1.0,
        generator: Generators = None,
        audio: Sound | list[Sound] | None = None,
        video: Video | list[Video] | None = None,
        num_clips: int | None = None,
        condition_scale: float = CONDITION_SCALE,
        dtype: torch.dtype | None = None,
        warm_frames: int = 0,
    ) -> list[Clip]:
        """Generate clips with sound; or a video for a given sound, or a sound for a given video.

        Args:
            num_frames: frames of each clip; any number, the window rolls as far as needed. With `audio` or
                `video` it may be left out, and all of what is given is used.
            steps_per_frame: N, Euler steps between two finished frames; more is finer and slower.
            y: class, by number or name, or a list of numbers and names, one for each clip; None for no class.
            guidance_scale: classifier-free guidance, one number or (video, audio); 1 is off.
            generator: CPU generator of all noise: the same seed gives the same clip on every device. Or a list with
                one for each clip: then each clip's noise is the same in whatever batch it is made.
            audio: make a video for this sound: a mono waveform (s,) at the model's rate, a `Clip`, or a path. Or a
                list of sounds as long as each other, for a clip each.
            video: make sound for this video: frames uint8 (k h w 3) of the model's size, a `Clip`, or a path,
                whose frames are letterboxed. Or a list of videos as long as each other.
            num_clips: how many clips; by default one for each label, sound or video.
            condition_scale: how strongly `audio` or `video` guides; 0 only shows it to the model.
            dtype: of matrix products in joint generation: torch.bfloat16 is faster and not exact, see `FastSampler`.
            warm_frames: frames to make and throw away before the first; joint generation only, see `RollingSampler`.

        Returns:
            The clips. What was given comes back as it was given, not through a codec; sound of a file or a `Clip` that
            is too loud comes back scaled down, see `given_sound`.

        Raises:
            ValueError: an argument that cannot be used, or both `audio` and `video`; it names the value. Or what the
                model made is NaN or infinite: it names the scale of guidance that can be the cause.
            MediaError: a file that cannot be read.
        """
        if audio is not None and video is not None:
            raise ValueError("audio and video are both given: there is nothing left to generate")
        warm_frames = whole_number(warm_frames, "warm_frames", least=0)
        if warm_frames and (audio is not None or video is not None):
            raise ValueError(
                "warm_frames is for joint generation: what is given has nothing before its first frame"
            )
        if num_frames is not None or (audio is None and video is None):
            num_frames = whole_number(num_frames, "num_frames")
        if num_clips is not None:
            num_clips = whole_number(num_clips, "num_clips")
        condition_scale = finite_number(condition_scale, "condition_scale")
        check_dtype(dtype)
        check_generators(generator)
        sounds = None if audio is None else given_sounds(audio, self.mel, num_frames)
        pictures = None if video is None else given_videos(video, self.frame_size, self.mel, num_frames)
        given = len(sounds or pictures or [])
        labels = self.label_numbers(y, given if given > 1 and num_clips is None else num_clips)
        batch = num_clips or (given if labels is None else len(labels)) or 1
        if given > 1 and batch != given:
            raise ValueError(f"{given} sounds or videos for {batch} clips: give one, or as many as clips")
        if given:
            dtype = None  # guidance by what is given goes down small gradients
            _check_gradients(self.transformer, condition_scale)
        sampler = self.sampler(steps_per_frame, guidance_scale, dtype)
        video_noise, audio_noise = self.initial_noise(batch, generator)
        settings = (condition_scale, generator, labels)
        if sounds:
            num_frames = len(sounds[0]) // self.samples_per_frame
            clean = self.mel.encode(torch.from_numpy(np.stack(sounds))).to(audio_noise)
            frames = sampler.audio_to_video(clean.expand(batch, -1, -1, -1), video_noise, *settings)
        elif pictures:
            num_frames = len(pictures[0])
            clean = torch.stack([encode_frames(self.vae, each) for each in pictures]).to(video_noise)
            frames = sampler.video_to_audio(clean.expand(batch, -1, -1, -1, -1), audio_noise, *settings)
        else:
            assert num_frames is not None, "checked above: it may be left out only beside what is given"
            frames = sampler.stream(video_noise, audio_noise, generator, labels, warm_frames)
        latents, segments = zip(*(next(frames) for _ in self.progress_bar(range(num_frames))), strict=True)
        made = torch.stack(latents, dim=1), torch.stack(segments, dim=1)
        check_made(*made, guidance_scale=guidance_scale, condition_scale=condition_scale if given else 0)
        return self.decode(*made, pictures, sounds)

    def stream(
        self,
        steps_per_frame: int = 2,
        chunk_frames: int = CHUNK_FRAMES,
        y: Label | None = None,
        guidance_scale: Guidance = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        compiled: bool = False,
        warm_frames: int = 0,
    ) -> ClipStream:
        """Generate without end: an iterator of clips of `chunk_frames` frames that join without a seam.

            stream = pipe.stream(y="rain")
            for clip in stream:
                play(clip)
                stream.y = "siren"      # whenever you like

        With `dtype=torch.bfloat16` matrix products and the decoder run in bf16: faster, not exact. `compiled` sends the
        network through `torch.compile`: faster, after a first clip that takes minutes. `warm_frames` are made and
        thrown away before the first: see `RollingSampler.stream`.

        Raises:
            ValueError: as calling the pipeline does. RuntimeError: `compiled` without a compiler.
        """
        check_generators(generator, several=False)
        chunk_frames = whole_number(chunk_frames, "chunk_frames")
        warm_frames = whole_number(warm_frames, "warm_frames", least=0)
        sampler = self.sampler(steps_per_frame, guidance_scale, dtype, compiled=compiled)
        vae = self.vae if dtype is None else copy.deepcopy(self.vae)
        if dtype is not None:  # the module's own `to`: diffusers' warns about every cast
            vae = nn.Module.to(  # type: ignore[call-overload]  # its types leave out memory_format
                vae, dtype=dtype, memory_format=torch.channels_last
            )
        return ClipStream(self, sampler, chunk_frames, y, generator, vae, warm_frames)

    def sampler(
        self,
        steps_per_frame: int = 2,
        guidance_scale: Guidance = 1.0,
        dtype: torch.dtype | None = None,
        fast: bool = True,
        compiled: bool = False,
    ) -> RollingSampler:
        """The sampler of this model: the fast one, or the plain one, whose numbers it has.

        Raises:
            ValueError: a bad number, or `dtype` or `compiled` for the plain one. RuntimeError: `compiled` without a
                compiler.
        """
        check_flag(compiled, "compiled")
        if not fast and (dtype is not None or compiled):
            raise ValueError("dtype and compiled are of the fast sampler: leave them out, or fast=False")
        model = self.transformer.eval()
        settings = RollingSchedule(model.config.window), steps_per_frame, guidance_scale
        if fast:
            return FastSampler(model, *settings, dtype, compiled)
        return RollingSampler(model, *settings, model.memory_layout)

    def initial_noise(self, batch: int, generator: Generators = None) -> tuple[Tensor, Tensor]:
        """Noise of a first window, video (b k c h w) drawn before audio (b k f m), on the model's device."""
        config = self.transformer.config
        video_shape = (batch, config.window, config.in_channels, config.latent_size, config.latent_size)
        audio_shape = (batch, config.window, config.mel_frames, config.n_mels)
        video, audio = (draw_noise(shape, generator) for shape in (video_shape, audio_shape))
        return video.to(self.transformer.device), audio.to(self.transformer.device)

    @property
    def frame_size(self) -> int:
        """Pixels of a frame's side."""
        return self.transformer.config.latent_size * reduction(self.vae)

    @property
    def samples_per_frame(self) -> int:
        """Sound samples of a video frame."""
        return self.mel.frames_per_segment * self.mel.config.hop_length

    def decode(
        self,
        video: Tensor,
        audio: Tensor,
        pictures: Sequence[np.ndarray] | None = None,
        sounds: Sequence[np.ndarray] | None = None,
    ) -> list[Clip]:
        """Clean latents (b k c h w) and mel segments (b k f m) -> a `Clip` for each of the batch.

        `pictures`, each uint8 (k h w 3), or `sounds`, each float32 (s,), where given, take the place of what would be
        decoded: one for each of the batch, or one for all.
        """
        rates = self.mel.config.frame_rate, self.mel.config.sample_rate
        frames = _for_each(pictures, len(video)) or self.decode_video(video)
        waveforms = (
            _for_each(sounds, len(video)) or self.vocoder(self.mel.decode(audio)).float().cpu().numpy()
        )
        return [Clip(*pair, *rates) for pair in zip(frames, waveforms, strict=True)]

    def decode_video(self, video: Tensor, vae: ImageVAE | None = None) -> np.ndarray:
        """Clean latents (b k c h w) -> frames uint8 (b k h w 3), by the pipeline's VAE or a copy of it."""
        frames = decode_latents(vae or self.vae, rearrange(video, "b k c h w -> (b k) c h w"))
        return rearrange(frames.cpu(), "(b k) h w c -> b k h w c", b=len(video)).numpy()

    def label_numbers(self, y: Label | Sequence[Label] | None, num_clips: int | None = None) -> Tensor | None:
        """Class names or numbers -> labels (b,) on the model's device; a single one is repeated for `num_clips`.

        Raises:
            ValueError: no class that the model has, or another number of labels than clips.
        """
        if num_clips is not None:
            num_clips = whole_number(num_clips, "num_clips")
        if y is None:
            return None
        numbers = class_numbers(y, self.config.class_names, self.transformer.config.num_classes)
        several = numbers if isinstance(numbers, list) else [numbers] * (num_clips or 1)
        if num_clips not in (None, len(several)):
            raise ValueError(
                f"y is a list of {len(several)} for num_clips={num_clips}: give as many, or one class by itself"
            )
        return torch.tensor(several, device=self.transformer.device)


def _check_gradients(transformer: RFLAVTransformer, condition_scale: float) -> None:
    if condition_scale and any(weight.is_inference() for weight in transformer.parameters()):
        raise ValueError(
            "this pipeline was opened inside of torch.inference_mode(), where weights take no gradients, and what is "
            "given guides by gradients: open it outside (calling it inside is fine), or give condition_scale=0"
        )


def _for_each(given: Sequence[np.ndarray] | None, count: int) -> list[np.ndarray]:
    """As many as there are clips, from as many or from one; nothing where nothing is given."""
    return list(given or ()) * (count if given and len(given) == 1 else 1)
