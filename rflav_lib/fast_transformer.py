"""An `RFLAVTransformer` for sampling: what depends on times and labels alone is taken out and kept.

What conditions alone modulate takes 5.3 of the 26.6 million weights of a block of FLAV-B/1, a fifth (with joint
attention two fifths), and the times of the steps repeat with every frame. So shift, scale and gate of these layers are
computed once for a set of times and labels, not at each step. The rest is laid out for speed: see `fast_network`.
Nothing here changes a number beyond rounding, but for `dtype`.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from rflav_lib.attention import Modulation
from rflav_lib.compiling import CompiledNetwork, check_compiler
from rflav_lib.fast_fusion import FastFeedForwards, fast_form, triples
from rflav_lib.fast_layers import FastLinear
from rflav_lib.fast_network import FastNetwork, blocks_of
from rflav_lib.transfer import to_device
from rflav_lib.transformer import RFLAVTransformer


@dataclass(frozen=True)
class Known:
    """What the network knows before it sees a frame: (shift, 1 + scale, gate) of each modulated layer, in float32.

    Attributes:
        video: (depth layers 3 k rows 1 d); spatial and temporal attention, then what the fusion has of its own.
        audio: (depth layers 3 rows k 1 d); attention, then what the fusion has of its own.
        conditions: time and label embedding of both branches (2 rows k d), for fusions that add it.
        video_head, audio_head: of the outputs, (2 k rows 1 d) and (2 rows k 1 d).
    """

    AXES: ClassVar = {"video": 3, "audio": 4, "conditions": 2, "video_head": 1, "audio_head": 2}  # of frames

    video: Tensor
    audio: Tensor
    conditions: Tensor
    video_head: Tensor
    audio_head: Tensor

    def at(self, frames: Tensor) -> "Known":
        """The same for a window whose frames are these ones (j,) of the k."""
        return Known(**{n: getattr(self, n).index_select(axis, frames) for n, axis in self.AXES.items()})


class FastTransformer:
    """The velocity of a model, for times that all samples share and labels from a small set.

    Args:
        model: its weights are used as they are when this is made.
        dtype: of the blocks' matrix products; None is the model's own, and exact.
        compiled: run windows of two frames and more through `torch.compile`. The first one then takes minutes, later
            ones are faster.

    Raises:
        RuntimeError: `compiled`, and there is no compiler.
    """

    EXPECTED = 256  # times of which vectors are computed in one go: it bounds their memory
    KEPT = 64  # sets of known vectors that are kept: one for each step between two frames and class

    def __init__(
        self, model: RFLAVTransformer, dtype: torch.dtype | None = None, compiled: bool = False
    ) -> None:
        if compiled:
            check_compiler(model.device)
        self.model = model
        self.dtype = dtype or model.dtype
        self.network = FastNetwork(model, self.dtype)
        self._compiled = None
        if compiled:
            axes, frames = (1, 1, *Known.AXES.values()), model.memory_layout.frames + model.config.window
            self._compiled = CompiledNetwork(self._unpacked, axes, frames)
        self._kept: OrderedDict[tuple, Known] = OrderedDict()
        self._expected: tuple[tuple[int, ...] | None, dict[float, int], Known] | None = None

    @torch.inference_mode(False)  # what is kept may be used with gradients later
    @torch.no_grad()
    def expect(self, times: Tensor, labels: tuple[int, ...] | None) -> None:
        """Compute what is known at `times` (j,) in one go, for calls with times among them and these labels.

        The steps of pre-rolling have many times in common: T N of them fill T N windows.
        """
        labels = _row_labels(labels)
        distinct = times.unique()
        if self._expected is not None:
            theirs, rows, _ = self._expected
            if theirs == labels and rows.keys() == set(distinct.tolist()):
                return
        if len(distinct) <= self.EXPECTED:
            rows = {time: row for row, time in enumerate(distinct.tolist())}
            self._expected = labels, rows, self._compute(distinct, labels)

    def __call__(
        self, video: Tensor, audio: Tensor, t: Tensor, labels: tuple[int, ...] | None, keep: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Velocities of video (b k c h w) and audio (b k f m), at times t (k,) that all samples share.

        `keep` says that these times will come again. Gradients go back to video and audio where these ask for them.
        """
        known = self._known(t, labels, keep)
        network: Callable[..., tuple[Tensor, ...]] = self.network
        if torch.is_grad_enabled() and (video.requires_grad or audio.requires_grad):
            network = self._unpacked
        elif self._compiled and len(t) > 1:
            network = self._compiled
        video, audio = network(
            video, audio, known.video, known.audio, known.conditions, known.video_head, known.audio_head
        )
        return video, audio

    @cached_property
    @torch.inference_mode(False)
    def _unpacked(self) -> FastNetwork:
        """For gradients, which packed products do not have, and for the compiler, which packs by itself."""
        if not any(isinstance(part, FastLinear) and part.packed for part in self.network.modules()):
            return self.network
        return FastNetwork(self.model, self.dtype, packed=False)

    def release_model(self) -> None:
        """Take the weights away from the model's blocks that this network has of its own: the model ends here.

        For processes that do nothing but sample: bf16 products then do not hold a float32 copy that nothing reads.

        Raises:
            RuntimeError: packed weights, whose gradients and compiled form are made from the model's.
        """
        if self._unpacked is not self.network:
            raise RuntimeError("on this device weights are packed, and the model's own are still needed")
        for block in blocks_of(self.model):
            parts: list[nn.Module] = [
                block.video_spatial_attention, block.video_temporal_attention, block.audio_attention
            ]  # fmt: skip
            form = fast_form(block.fusion)
            if issubclass(form, FastFeedForwards):  # else it runs as it is written, with these weights
                parts += [
                    part
                    for part in block.fusion.children()
                    if not (form.KNOWN_BY_MODULATIONS and isinstance(part, Modulation))
                ]
            for parameter in nn.ModuleList(parts).parameters():
                parameter.data = parameter.data.new_empty(0)

    @torch.inference_mode(False)  # as above
    @torch.no_grad()
    def _known(self, t: Tensor, labels: tuple[int, ...] | None, keep: bool) -> Known:
        labels = _row_labels(labels)
        times = tuple(t.tolist())
        key = (times, labels)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        known = self._from_expected(times, labels) or self._compute(t, labels)
        if keep:
            self._kept[key] = known
            if len(self._kept) > self.KEPT:
                self._kept.popitem(last=False)
        return known

    def _from_expected(self, times: tuple[float, ...], labels: tuple[int, ...] | None) -> Known | None:
        if self._expected is None or self._expected[0] != labels:
            return None
        _, rows, known = self._expected
        if not all(time in rows for time in times):
            return None
        return known.at(to_device(torch.tensor([rows[time] for time in times]), self.model.device))

    def _compute(self, t: Tensor, labels: tuple[int, ...] | None) -> Known:
        model = self.model
        rows = to_device(t, model.device).expand(1 if labels is None else len(labels), -1)
        y = None if labels is None else to_device(torch.tensor(labels), model.device)
        video, audio = model.condition(rows, y)
        video_layers, audio_layers = [], []
        for block in blocks_of(model):
            spatial_and_temporal = triples(block.video_modulation, video)
            attention = triples(block.audio_modulation, audio)
            for_video, for_audio = fast_form(block.fusion).known(block.fusion, video, audio)
            video_layers.append(torch.stack(spatial_and_temporal + for_video))
            audio_layers.append(torch.stack(attention + for_audio))
        (video_head,) = triples(model.video_head.modulation, video)
        (audio_head,) = triples(model.audio_head.modulation, audio)
        return Known(
            video=_frames_first(torch.stack(video_layers)),
            audio=torch.stack(audio_layers),
            conditions=torch.stack([video, audio]).float(),
            video_head=_frames_first(video_head),
            audio_head=audio_head,
        )


def _frames_first(vectors: Tensor) -> Tensor:
    """(... rows k 1 d) -> (... k rows 1 d).

    Cloned, as `contiguous` leaves the stride of a single row what it was, which is another graph to the compiler.
    """
    return vectors.transpose(-4, -3).clone(memory_format=torch.contiguous_format)


def _row_labels(labels: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Labels of the rows that are computed: one row serves a whole batch of the same class."""
    return labels[:1] if labels is not None and len(set(labels)) == 1 else labels
