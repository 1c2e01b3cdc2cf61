"""A small network that tells sound in time with its picture from sound that is not: trained here, in seconds.

It sees exactly 16 frames and their 16 segments of mel, what the model itself sees. It learns to prefer the sound of the
window to sound of the same clip from another moment, so what is heard cannot help it, only when (the idea of ASVA's
AVSync classifier). Then a threshold on its score is set on clips that it has not been trained on.

    classifier = train_classifier("toy-landscape")
    classifier.accuracy(clips)   # aligned, shifted and shuffled pairs, and own sounds preferred, each with its interval

The threshold belongs to the clips that it was set on: clips that look or sound otherwise score lower, in time or not.
To compare clips of different origin, read "preferred", which has no threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from rflav_lib.data.seeds import SYNC_SEED, SYNC_THRESHOLD_SEED
from rflav_lib.data.toy import make_clip
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.metrics.intervals import share_with_interval
from rflav_lib.metrics.longform import WINDOW

SIDE = 16  # frames are shrunk to this before the network sees them
N_MELS = 64  # bands it hears
WIDTH = 64  # channels of both encoders, d
TRIES = 4  # sounds that each window learns from: its own and shifted ones
LEAST_SHIFT = 2  # frames: what counts as out of time; people notice about that
TRAIN_FRAMES = 40


class SyncNetwork(nn.Module):
    """One score for a window: how well motion and sound, frame by frame, go together.

    Args:
        mel_frames: of a segment, f.
    """

    def __init__(self, mel_frames: int = 10) -> None:
        super().__init__()
        self.see = _encoder(2 * SIDE * SIDE)
        self.hear = _encoder(2 * mel_frames * N_MELS // 4)
        self.judge = nn.Sequential(
            nn.Conv1d(3 * WIDTH, WIDTH, 3, padding=1), nn.GELU(), nn.Conv1d(WIDTH, 1, 1)
        )

    def seen(self, grey: Tensor) -> Tensor:
        """Shrunken grey frames (b k side*side) -> (b d k): brightness and its change, in each place."""
        return self.see(_with_change(grey))

    def heard(self, segments: Tensor) -> Tensor:
        """Scaled mel segments (b k f m) -> (b d k)."""
        coarse = reduce(segments, "b k f (m four) -> b k (f m)", "mean", four=4)
        return self.hear(_with_change(coarse))

    def forward(self, seen: Tensor, heard: Tensor) -> Tensor:
        """(b d k), (b d k) -> score (b,)."""
        together = torch.cat([seen, heard, seen * heard], dim=1)
        return self.judge(together).mean(dim=(1, 2))


def _encoder(inputs: int) -> nn.Sequential:
    """(b inputs k) -> (b d k); each frame sees one neighbour on either side."""
    return nn.Sequential(nn.Conv1d(inputs, WIDTH, 1), nn.GELU(), nn.Conv1d(WIDTH, WIDTH, 3, padding=1))


def _with_change(values: Tensor) -> Tensor:
    """(b k n) -> (b 2n k): values without the window's mean, and their change from the frame before."""
    change = values.diff(dim=1, prepend=values[:, :1])
    return rearrange(
        torch.cat([values - values.mean(dim=1, keepdim=True), 4 * change], dim=2), "b k n -> b n k"
    )


@dataclass(frozen=True, eq=False)
class SyncClassifier:
    """A trained network, its threshold, and the mel settings it hears with.

    Attributes:
        network: in eval mode.
        mel: the codec of its segments.
        threshold: scores above it are called in time.
    """

    network: SyncNetwork
    mel: MelCodec
    threshold: float

    @torch.no_grad()
    def scores(self, grey: Tensor, segments: Tensor) -> NDArray[np.float64]:
        """Score of windows: shrunken frames (b 16 side*side), segments (b 16 f m) -> (b,)."""
        return self.network(self.network.seen(grey), self.network.heard(segments)).double().numpy()

    def window_scores(self, clips: Sequence[Clip], shift: int = 0) -> NDArray[np.float64]:
        """One window in the middle of each clip, with the sound of `shift` frames later.

        Raises:
            ValueError: a clip that is too short for the shift.
        """
        return self._middle_scores(*_material(clips, self.mel), shift)

    def _middle_scores(self, grey: Tensor, segments: Tensor, shift: int = 0) -> NDArray[np.float64]:
        length = grey.shape[1]
        start = (length - WINDOW) // 2
        if not 0 <= start + shift <= length - WINDOW:
            raise ValueError(f"clips of {length} frames allow no shift of {shift} frames")
        late = slice(start + shift, start + shift + WINDOW)
        return self.scores(grey[:, start : start + WINDOW], segments[:, late])

    def accuracy(
        self, clips: Sequence[Clip], shifts: Sequence[int] = (-6, -4, -2, 2, 4, 6)
    ) -> dict[str, dict[str, float]]:
        """Shares judged rightly, with Wilson intervals.

        Args:
            clips: at least two of one length, size and rate.
            shifts: in frames.

        Returns:
            By the threshold: "aligned" (each clip as it is), "shifted" (each clip by one shift in turn), "shuffled"
            (each clip with the sound of the one before). Without it: "preferred", clips whose own sound scores above
            the same sound by each of the shifts, which is what the network was trained for; a guess is right in one
            of len(shifts) + 1. A steady rhythm is the same again a beat later, in real clips too.

        Raises:
            ValueError: fewer than two clips, clips that are not alike, or too short for the shifts.
        """
        grey, segments = _material(clips, self.mel)
        if len(clips) < 2:
            raise ValueError("one clip has no other's sound to be shuffled with: give at least two clips")
        own = self._middle_scores(grey, segments)
        all_shifted = np.stack([self._middle_scores(grey, segments, shift) for shift in shifts])
        number = np.arange(len(clips))
        one_shifted = all_shifted[number % len(shifts), number]
        shuffled = self._middle_scores(grey, segments.roll(1, dims=0))
        return {
            "aligned": share_with_interval(own > self.threshold),
            "shifted": share_with_interval(one_shifted <= self.threshold),
            "shuffled": share_with_interval(shuffled <= self.threshold),
            "preferred": share_with_interval(own > all_shifted.max(axis=0)),
        }


def train_classifier(
    world: str, clips: int = 300, steps: int = 300, progress: bool = False
) -> SyncClassifier:
    """Train on clips of a toy world; the threshold is set on others, where both kinds of error are equally frequent."""
    train = [make_clip(world, SYNC_SEED, index, TRAIN_FRAMES).clip for index in range(clips)]
    check = [make_clip(world, SYNC_THRESHOLD_SEED, index, TRAIN_FRAMES).clip for index in range(clips // 3)]
    return train_on(train, check, steps, progress=progress)


def train_on(
    train: Sequence[Clip],
    check: Sequence[Clip],
    steps: int,
    batch: int = 32,
    progress: bool = False,
) -> SyncClassifier:
    """The same on any clips of one length (at least 30 frames), one size and one rate.

    Args:
        train: what the network learns from.
        check: what the threshold is set on; neither set may serve for `SyncClassifier.accuracy`.
        steps: of training, each on `batch` windows.
        batch: windows, each with its own sound and three shifted ones.
        progress: show a bar.

    Raises:
        ValueError: clips that are too short.
    """
    mel = MelCodec(train[0].sample_rate, train[0].frame_rate, n_mels=N_MELS)
    grey, segments = _material(train, mel)
    if grey.shape[1] < WINDOW + 7 * LEAST_SHIFT:
        raise ValueError(
            f"clips of {grey.shape[1]} frames are too short: {WINDOW + 7 * LEAST_SHIFT} are needed"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SyncNetwork(mel_frames=mel.frames_per_segment)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in tqdm(range(steps), desc="sync classifier", unit="step", disable=not progress):
        which, starts = rng.integers(len(grey), size=batch), _starts(rng, grey.shape[1], batch)
        seen = network.seen(
            torch.stack([grey[i, s[0] : s[0] + WINDOW] for i, s in zip(which, starts, strict=True)])
        )
        heard = network.heard(
            torch.stack(
                [
                    segments[i, start : start + WINDOW]
                    for i, s in zip(which, starts, strict=True)
                    for start in s
                ]
            )
        )
        scores = rearrange(network(seen.repeat_interleave(TRIES, 0), heard), "(b n) -> b n", n=TRIES)
        # which of these sounds is the window's own, and is each on the right side of zero
        side = torch.full_like(scores, -1.0)
        side[:, 0] = 1.0
        loss = (
            F.cross_entropy(scores, torch.zeros(batch, dtype=torch.long)) + F.softplus(-side * scores).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = SyncClassifier(network.eval(), mel, 0.0)
    return SyncClassifier(found.network, mel, _equal_errors(found, check))


def _starts(rng: np.random.Generator, length: int, batch: int) -> NDArray[np.int64]:
    """First frames (batch TRIES): the window's own, then others at least LEAST_SHIFT away."""
    places = np.arange(length - WINDOW + 1)
    rows = []
    for own in rng.integers(len(places), size=batch):
        rows.append([own, *rng.choice(places[np.abs(places - own) >= LEAST_SHIFT], TRIES - 1, replace=False)])
    return np.array(rows)


def _equal_errors(classifier: SyncClassifier, clips: Sequence[Clip]) -> float:
    """The threshold at which as large a share of aligned pairs is refused as of shifted ones is accepted."""
    aligned = np.sort(classifier.window_scores(clips))
    shifted = np.sort(np.concatenate([classifier.window_scores(clips, s) for s in (-6, -4, -2, 2, 4, 6)]))
    levels = np.sort(np.concatenate([aligned, shifted]))
    refused = np.searchsorted(aligned, levels) / len(aligned)
    accepted = 1 - np.searchsorted(shifted, levels) / len(shifted)
    return float(levels[int(np.argmin(np.abs(refused - accepted)))])


def _material(clips: Sequence[Clip], mel: MelCodec) -> tuple[Tensor, Tensor]:
    """Shrunken grey frames (b k side*side) in 0..1 and mel segments (b k f m) of clips of one length.

    Raises:
        ValueError: no clips, clips of different lengths, sizes or rates, or a side that does not divide by 16.
    """
    if not clips:
        raise ValueError("there are no clips")
    for number, clip in enumerate(clips):
        if clip.frames.shape != clips[0].frames.shape or clip.frame_rate != mel.config.frame_rate:
            raise ValueError(
                f"clip {number} is {clip!r}, clip 0 {clips[0]!r}: give clips of one length, size and rate"
            )
    if clips[0].frames.shape[1] % SIDE or clips[0].frames.shape[2] % SIDE:
        raise ValueError(f"height and width must be multiples of {SIDE}, got {clips[0].frames.shape[1:3]}")
    grey = [
        reduce(
            torch.from_numpy(clip.frames).float() / 255, "k (y h) (x w) c -> k (y x)", "mean", y=SIDE, x=SIDE
        )
        for clip in clips
    ]
    segments = [mel.encode(torch.from_numpy(clip.waveform), clip.sample_rate)[0] for clip in clips]
    return torch.stack(grey), torch.stack(segments)
