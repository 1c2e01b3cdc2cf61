"""Reading events back from the toy worlds: from pixels alone, or from mel alone.

So sync, class, pitch and hue of *generated* clips are measured against known truth, without any trained
network. The trackers never invent: where there is nothing to follow they return an empty list, None, or NaN.

Frames are uint8 (k 64 64 3) at 10 fps. A log-mel is (m n), natural logarithm, 100 columns a second, n = 10
k, slaney bins from 0 to 8000 Hz, an array or a tensor on the CPU: what `MelCodec.decode` returns for one
clip. Its biases are measured for `MelCodec(n_mels=64)`. `label` is an index into CLASSES["toy-landscape"];
None means toy-dance. toy-pillar has a tracker of its own: `toy_tracking.hiding`.

On 100 unseen real clips a class the median A/V offset is within 3 ms of zero
(tests/data/test_toy_trackers.py holds it to 20 ms), and both classifiers name every clip.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rflav_lib.data.toy import CLASSES
from rflav_lib.data.toy_scenes.canvas import FRAME_RATE, SIZE, frame_times
from rflav_lib.data.toy_scenes.scene import Event
from rflav_lib.data.toy_tracking import agreeing, classing, counting, hearing, seeing
from rflav_lib.data.toy_tracking.fits import Array
from rflav_lib.data.toy_tracking.tally import Tally, pair
from rflav_lib.data.toy_tracking.tempo import Tempo, tempo

__all__ = [
    "AVOffset", "Event", "Tally", "Tempo", "audible_class", "audible_events", "av_offset", "events_offset",
    "pitch_agreement", "right_objects", "tempo", "visual_class", "visual_events",
]  # fmt: skip

BOUNCE, PENDULUM, RAIN, FIREWORKS, SIREN = range(len(CLASSES["toy-landscape"]))
SHARE_SECONDS = 0.1
"""A sight with a sound this near counts as in sync in `AVOffset.share`."""
LAG_STEP = 0.01
"""Seconds between the lags at which a siren's picture and sound are compared; a parabola refines the best."""
EDGE_SECONDS = 0.15
"""Sights this near to an end of the clip need no sound: their sound, or the tracker's view of it, may be cut
off.
"""


@dataclass(frozen=True)
class AVOffset:
    """How sound and picture of a clip lie to each other.

    Attributes: seconds: median of sound minus picture, positive when the sound is late; NaN when nothing
    matched. matched: pairs of a sight and a sound within 0.2 s (siren: sights covered by the common track).
    close: of the sights, away from the clip's ends, those that have a sound within 100 ms.
    """

    seconds: float
    matched: int
    close: Tally

    @property
    def share(self) -> float:
        """Share of the sights that have a sound within 100 ms; NaN without sights."""
        return self.close.share


NOTHING = AVOffset(math.nan, 0, Tally())


def visual_events(frames: NDArray[np.uint8], label: int | None) -> list[Event]:
    """Events seen, in order of time.

    Kinds by label: impact, turn (value -1 left, +1 right), hit (value x in px), burst, peak (the beam points
    up; value turns per second); beat and hat (object 1) for a dance.

    Raises:
        ValueError: frames of another shape or dtype, unknown label.
    """
    _check_frames(frames)
    watch = (seeing.bounces, seeing.swings, seeing.splashes, seeing.bursts, seeing.beam_peaks)
    return seeing.steps(frames) if label is None else watch[_check_label(label)](frames)


def audible_events(log_mel: ArrayLike, label: int | None) -> list[Event]:
    """Events heard, in order of time; kinds as in `visual_events`.

    Raises:
        ValueError: not (m n) with at least 32 bins, NaN, unknown label.
    """
    mel = _as_mel(log_mel)
    if label is None:
        found = hearing.sudden(mel, "beat", 0, 200) + hearing.sudden(mel, "hat", 4_000, 8_000, object_id=1)
        return sorted(found, key=lambda e: e.time)
    bands = {
        BOUNCE: ("impact", 200, 8_000),
        PENDULUM: ("turn", 1_500, 8_000),
        RAIN: ("hit", 900, 4_500),
        FIREWORKS: ("burst", 2_600, 8_000),  # above the whistle
    }
    if _check_label(label) == SIREN:
        return hearing.pitch_peaks(mel)
    return hearing.sudden(mel, *bands[label])


def visual_class(frames: NDArray[np.uint8]) -> int | None:
    """Label of toy-landscape that the moving picture shows; None when nothing stands out or nothing moves.

    Some label is always found when something moves: a share of one in five is what chance gives.
    """
    _check_frames(frames)
    features = classing.picture_features(frames)
    return None if features is None else classing.picture_model()(features)


def audible_class(log_mel: ArrayLike) -> int | None:
    """Label of toy-landscape that the sound tells; None in silence. Chance gives one in five."""
    mel = _as_mel(log_mel)
    features = classing.sound_features(mel)
    return None if features is None else classing.sound_model(len(mel))(features)


def av_offset(frames: NDArray[np.uint8], log_mel: ArrayLike, label: int | None) -> AVOffset:
    """How late the sound is: sights are paired with the nearest sound of their kind, the siren by its whole
    course.
    """
    mel = _as_mel(log_mel)
    if label == SIREN:
        _check_frames(frames)
        return _siren_offset(frames, mel)
    return events_offset(visual_events(frames, label), audible_events(mel, label), len(frames) / FRAME_RATE)


def events_offset(seen: list[Event], heard: list[Event], seconds: float) -> AVOffset:
    """How late the sound is in a clip of `seconds`, by events seen and heard: each kind is paired with its own."""
    offsets, inside, in_sync = [], 0, 0
    for kind in sorted({e.kind for e in seen}):
        sights = np.array([e.time for e in seen if e.kind == kind])
        sounds = np.array([e.time for e in heard if e.kind == kind])
        late = {i: float(sounds[j] - sights[i]) for i, j in pair(sights, sounds).items()}
        offsets += list(late.values())
        for i, time in enumerate(sights):
            if EDGE_SECONDS <= time <= seconds - EDGE_SECONDS:
                inside += 1
                in_sync += abs(late.get(i, math.inf)) <= SHARE_SECONDS
    late_by = float(np.median(offsets)) if offsets else math.nan
    return AVOffset(late_by, len(offsets), Tally(in_sync, inside))


def _siren_offset(frames: NDArray[np.uint8], mel: Array) -> AVOffset:
    """Lag at which the siren's pitch best follows the height of its beam."""
    angles, pitch = seeing.beam_angles(frames), hearing.siren_pitch(mel)
    if angles is None or pitch is None or np.ptp(angles) < 1.0:
        return NOTHING
    times, columns = frame_times(len(frames)), hearing.column_times(len(pitch))
    lags = np.arange(-0.45, 0.4501, LAG_STEP)
    fit = np.empty(len(lags))
    for i, lag in enumerate(lags):
        at = columns - lag
        common = (at >= times[0]) & (at <= times[-1]) & (columns > 0.04) & (columns < columns[-1] - 0.04)
        height = np.sin(np.interp(at[common], times, angles))
        fit[i] = np.corrcoef(height, pitch[common])[0, 1] if common.sum() > 30 else -1.0
    best = int(np.argmax(fit))
    turns = max(1, len(seeing.upward_moments(angles)))
    if fit[best] < 0.6 or best in (0, len(lags) - 1):
        return AVOffset(math.nan, 0, Tally(0, turns))
    below, at, above = fit[best - 1 : best + 2]
    lag = float(lags[best] + LAG_STEP * 0.5 * (below - above) / min(below - 2 * at + above, -1e-12))
    return AVOffset(lag, turns, Tally(turns if abs(lag) <= SHARE_SECONDS else 0, turns))


def right_objects(frames: NDArray[np.uint8], label: int | None) -> Tally:
    """Moments of the clip that show the right number of objects, from pixels alone.

    By label: frames with one ball, bob or beacon; falling drops that land and landings that had a drop; frames about
    a burst with one rocket or one bloom; for a dance, frames with one figure. See `toy_tracking.counting`.

    Raises:
        ValueError: frames of another shape or dtype, unknown label.
    """
    _check_frames(frames)
    if label is None:
        return counting.single_figures(frames)
    count = (counting.single_blobs, counting.single_blobs, counting.landing_drops, counting.single_rockets)
    return (*count, counting.single_beacons)[_check_label(label)](frames)


def pitch_agreement(frames: NDArray[np.uint8], log_mel: ArrayLike, label: int | None) -> Tally:
    """Events, or frames for a siren and a whistle, heard at the pitch that the picture asks for.

    By label: a ball's hue, a drop's place, a rocket's height, the height of a siren's beam; see
    `toy_tracking.agreeing` for the laws and tolerances. Nothing to compare for a pendulum and a dance.

    Raises:
        ValueError: bad frames or log-mel, unknown label.
    """
    _check_frames(frames)
    mel = _as_mel(log_mel)
    if label is None or _check_label(label) == PENDULUM:
        return Tally()
    if label == BOUNCE:
        return agreeing.ball_pitch(frames, mel, audible_events(mel, BOUNCE))
    if label == RAIN:
        return agreeing.drop_pitch(frames, mel, audible_events(mel, RAIN))
    return (agreeing.rocket_pitch if label == FIREWORKS else agreeing.beam_pitch)(frames, mel)


def _check_frames(frames: NDArray[np.uint8]) -> None:
    shape: tuple[int, ...] = getattr(frames, "shape", ())
    if len(shape) != 4 or tuple(shape[1:]) != (SIZE, SIZE, 3) or shape[0] == 0 or frames.dtype != np.uint8:
        found = f"{shape} {getattr(frames, 'dtype', type(frames).__name__)}"
        raise ValueError(f"frames must be uint8 (k 64 64 3) with at least one frame, got {found}")


def _check_label(label: int) -> int:
    if not 0 <= label < len(CLASSES["toy-landscape"]):
        highest = len(CLASSES["toy-landscape"]) - 1
        raise ValueError(f"unknown label {label}: give 0..{highest}, or None for toy-dance")
    return int(label)


def _as_mel(log_mel: ArrayLike) -> Array:
    mel = np.asarray(log_mel, dtype=np.float32)
    if mel.ndim != 2 or mel.shape[0] < 32 or mel.shape[1] == 0:
        raise ValueError(f"log_mel must be (m n) with at least 32 bins, one clip, got shape {mel.shape}")
    if not np.isfinite(mel).all():
        raise ValueError("log_mel contains NaN or infinite values")
    return mel
