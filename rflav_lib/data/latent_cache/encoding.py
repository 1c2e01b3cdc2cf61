"""Clips to latents and mel segments, a piece at a time; the sound of a piece is heard in its surroundings."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rflav_lib.data.latent_cache.index import Span
from rflav_lib.data.latent_cache.sources import ClipSource
from rflav_lib.image_codec import DEFAULT_BATCH, ImageVAE, encode_images, letterbox, reduction
from rflav_lib.mel import MelCodec
from rflav_lib.provenance import checksum


class ClipEncoder:
    """Encodes any stretch of a clip as if the whole clip had been encoded at once.

    The STFT of a stretch reaches beyond its ends, so it hears its neighbours' samples; only at the ends of the
    clip there is nothing, and reflection. A codec with a `peak` scales a clip's sound once, by the loudest
    sample of the *whole* clip: what is quiet in a clip stays quieter than what is loud, and a frame has one
    loudness whatever window it is seen in. (The paper scales each training window by itself. Then the same
    frame is learned at many loudnesses, and an endless stream, which has no windows, could have no swell.)

    Args:
        source: the clips.
        vae: encodes pictures.
        mel: encodes sound.
        size: sides of the square into which pictures are letterboxed, in pixels.

    Raises:
        ValueError: a size that the VAE cannot halve often enough.
    """

    def __init__(self, source: ClipSource, vae: ImageVAE, mel: MelCodec, size: int) -> None:
        factor = reduction(vae)
        if size < factor or size % factor:
            raise ValueError(f"size must be a multiple of {factor} for this VAE, not {size}")
        self.source, self.vae, self.mel, self.size = source, vae, mel, size
        self.latent_shape = (vae.config.latent_channels, size // factor, size // factor)
        self.mel_shape = (mel.frames_per_segment, mel.config.n_mels)
        settings = {key: value for key, value in mel.config.items() if not key.startswith("_")}
        self._level_mel = MelCodec(**{**settings, "peak": None}).to(mel.device)
        self._frame_samples = mel.frames_per_segment * mel.config.hop_length
        self._context = -(-mel.config.n_fft // 2 // self._frame_samples)  # frames that the STFT reaches into
        self._gains: dict[int, float] = {}

    def encode(
        self, spans: Iterable[Span], progress: Callable[[int], object] = lambda frames: None
    ) -> tuple[Tensor, Tensor]:
        """Encode stretches of clips, one behind the other: latents (k c h w), mel segments (k f m), float32, CPU.

        Pictures are read and encoded a few at a time, in full batches across clips: memory holds the results and
        the sound of one stretch.

        Args:
            spans: which clip, from which frame on, how many.
            progress: is told how many frames are done since it was told last.

        Raises:
            MediaError: a file that cannot be read. ValueError: fewer frames than expected, or values too large.
        """
        latents: list[Tensor] = []
        segments: list[Tensor] = []
        for images in _rebatched(self._images(spans, segments), DEFAULT_BATCH):
            latents.append(encode_images(self.vae, images).cpu())
            progress(len(images))
        return torch.cat(latents), torch.cat(segments)

    def _images(self, spans: Iterable[Span], segments: list[Tensor]) -> Iterator[Tensor]:
        """Letterboxed pictures (k 3 size size) of the spans; their sound goes to `segments`, encoded."""
        for span in spans:
            clip = self.source.clips[span.clip]
            first = max(0, span.start - self._context)
            last = min(clip.frames, span.start + span.frames + self._context)
            waveforms, at = [], first
            for piece in self.source.pieces(span.clip, first, last - first):
                waveforms.append(torch.from_numpy(piece.waveform))
                inside = piece.frames[max(0, span.start - at) : max(0, span.start + span.frames - at)]
                at += len(piece)
                if len(inside):
                    yield letterbox(inside, self.size)
            if at != last:
                raise ValueError(f"{clip.name}: ends at frame {at} of {clip.frames}; has it changed?")
            audio = self._sound(span.clip, torch.cat(waveforms), last - first)
            segments.append(audio[span.start - first :][: span.frames])

    def _sound(self, clip: int, waveform: Tensor, frames: int) -> Tensor:
        samples = frames * self._frame_samples  # the sound may be a sample longer or shorter than the picture
        waveform = nn.functional.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
        return self._level_mel.encode(waveform * self._gain(clip))[0].cpu()

    def _gain(self, clip: int) -> float:
        """What the sound of a clip is multiplied by."""
        peak = self.mel.config.peak
        if peak is None:
            return 1.0
        if clip not in self._gains:
            loudest = self.source.loudest(clip)
            self._gains[clip] = peak / loudest if loudest else 1.0
        return self._gains[clip]


def _rebatched(pieces: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same rows in pieces of `size`, the last maybe shorter."""
    held, count = [], 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        while count >= size:
            rows, count = torch.cat(held), count - size
            yield rows[:size]
            # an empty tensor would decide how the next ones lie in memory
            held = [rows[size:]] if count else []
    if count:
        yield torch.cat(held)


def codec_facts(vae: ImageVAE, mel: MelCodec) -> dict[str, Any]:
    """What two pairs of codecs must have in common to give the same latents and segments, ready for JSON."""
    config = vae.config
    return {
        "vae": {
            "class": type(vae).__name__,
            "encoder": _encoder_fingerprint(vae),
            "scaling_factor": config.scaling_factor,
            "shift_factor": getattr(config, "shift_factor", None),
        },
        "mel": {key: value for key, value in mel.config.items() if not key.startswith("_")},
    }


def _encoder_fingerprint(vae: ImageVAE) -> str:
    """Of the encoder's weights alone: a decoder can be made better and still open the same latents."""
    weights = sorted(vae.state_dict().items())
    return checksum(
        (name, tensor) for name, tensor in weights if name.startswith(("encoder.", "quant_conv."))
    )
