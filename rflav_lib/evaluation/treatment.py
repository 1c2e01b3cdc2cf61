"""The one path that real and generated clips take before they are measured: codec, then size."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from rflav_lib.image_codec import letterbox, to_uint8
from rflav_lib.media import Clip


@dataclass(frozen=True)
class Treatment:
    """What every clip goes through.

    Shrinking and coding move a Fréchet distance as much as a change of content does, so a figure names both.

    Attributes:
        source_size: pixels of the side that clips come with.
        size: pixels they are measured at.
        codec: "none", or "h264": an mp4 file as `Clip.save` writes it, and read again.
        crf: quality of the H.264.
    """

    source_size: int = 64
    size: int = 64
    codec: str = "none"
    crf: int = 23

    @property
    def resize_name(self) -> str:
        """For the origin of a figure."""
        if self.size == self.source_size:
            return f"{self.size}x{self.size}, as it came"
        return f"{self.source_size}x{self.source_size} to {self.size}x{self.size}, bicubic, antialias"

    @property
    def codec_name(self) -> str:
        """For the origin of a figure."""
        return "none" if self.codec == "none" else f"H.264 CRF {self.crf} + AAC"

    def __call__(self, clip: Clip) -> Clip:
        """The clip as it is measured.

        Raises:
            ValueError: a clip of another size than `source_size`, or one that the codec gave back with other frames.
        """
        if clip.frames.shape[1:3] != (self.source_size, self.source_size):
            height, width = clip.frames.shape[1:3]
            raise ValueError(
                f"clips are {width}x{height}, but source_size is {self.source_size}: real and generated clips must "
                "come with one size; set source_size to that of the model"
            )
        if self.codec != "none":
            clip = self._coded(clip)
        if self.size == self.source_size:
            return clip
        frames = to_uint8(letterbox(clip.frames, self.size)).permute(0, 2, 3, 1).contiguous().numpy()
        return Clip(frames, clip.waveform, clip.frame_rate, clip.sample_rate)

    def _coded(self, clip: Clip) -> Clip:
        with tempfile.TemporaryDirectory() as folder:
            path = clip.save(Path(folder) / "clip.mp4", crf=self.crf)
            read = Clip.read(path, clip.frame_rate, clip.sample_rate)
        if len(read) != len(clip):
            raise ValueError(f"{len(clip)} frames came back from {self.codec_name} as {len(read)}")
        return read
