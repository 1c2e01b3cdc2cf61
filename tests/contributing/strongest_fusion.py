"""The worked example of a fusion; CONTRIBUTING.md shows the class."""

from einops import reduce
from torch import Tensor

from rflav_lib.fusion import AverageFusion


class StrongestFusion(AverageFusion):
    """As (c), with the largest value of each channel over the other branch's tokens in place of their mean."""

    def exchange(
        self, video: Tensor, audio: Tensor, video_condition: Tensor, audio_condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The other branch's strongest values plus the own condition."""
        for_video = self.audio_average(reduce(audio, "b k f d -> b k d", "max"))
        for_audio = self.video_average(reduce(video, "b k n d -> b k d", "max"))
        return video, audio, for_video + video_condition, for_audio + audio_condition
