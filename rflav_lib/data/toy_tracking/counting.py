"""Is the right number of things there? Counted from pixels alone.

What counts as an object, and when: one ball, one bob, one beacon in every frame; in the rain every drop that
falls lands, and every landing had a drop; one rocket just before each burst, and one bloom in it; one figure in
every frame of a dance. A drop, a rocket and a bloom are spots of light, the others saturated or different from
their background.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rflav_lib.data.toy_scenes.canvas import frame_times
from rflav_lib.data.toy_tracking import seeing
from rflav_lib.data.toy_tracking.fits import Array
from rflav_lib.data.toy_tracking.tally import Tally

LEAST_LIGHT = 12.0
"""Brightness above the background from which on a smoothed spot of light is a thing: a rocket has above 40."""
DROP_LIGHT = 18.0
"""The same for a falling drop, which is smaller; real ones are above 30."""
DROP_PLACE = 4.0
"""A drop lands within this many px of where it fell: the trackers are good to 2.5 px."""
FIGURE_CONTRAST = 40.0
"""Difference of a colour channel from its row's usual value from which on a pixel belongs to a dancer."""
FIGURE_AREA = (200, 1_000)
"""Pixels of a dancer: real ones have 390 to 520, and up to 640 when blurred."""
STAYS = 11
"""Frames of which a beacon must fill more than half: the slowest beam has left a pixel after five."""
LAMP = slice(0, 14), slice(20, 44)
"""Rows and columns of the mirror ball above the dancer and of its glow: not looked at."""
SPECK = 30
"""Pixels from which on something beside the dancer is a second thing."""


def single_blobs(frames: NDArray[np.uint8]) -> Tally:
    """Frames (k h w 3) with exactly one saturated object: a ball, a bob."""
    blob = seeing.find_blob(frames)
    return Tally(0 if blob is None else int(np.sum(blob.count == 1)), len(frames))


def single_beacons(frames: NDArray[np.uint8]) -> Tally:
    """Frames with exactly one saturated object that stays: a beam, which may be as saturated, moves on."""
    steady = ndimage.median_filter(seeing.chroma(frames), size=(STAYS, 1, 1), mode="nearest")
    blob = seeing.find_blob(frames, steady)
    return Tally(0 if blob is None else int(np.sum(blob.count == 1)), len(frames))


def landing_drops(frames: NDArray[np.uint8]) -> Tally:
    """Drops seen falling that land, and landings that had a falling drop; what the clip's ends cut off is left out."""
    end = frame_times(len(frames))[-1]
    hits = np.array([(e.time, e.value) for e in seeing.splashes(frames)]).reshape(-1, 2)
    falling = falling_drops(frames)
    time, x, y = falling.T
    right = of = 0
    for hit, place in hits[hits[:, 0] > 0.45]:
        before = (time > hit - 0.35) & (time < hit - 0.05) & (y > 20)
        of += 1
        right += bool(np.any(before & (np.abs(x - place) <= DROP_PLACE)))
    for seen, place, _ in falling[(y > 24) & (y < 42) & (time < end - 0.6)]:
        after = (hits[:, 0] > seen + 0.05) & (hits[:, 0] < seen + 0.6)
        of += 1
        right += bool(np.any(after & (np.abs(hits[:, 1] - place) <= DROP_PLACE)))
    return Tally(right, of)


def falling_drops(frames: NDArray[np.uint8]) -> Array:
    """Drops in the air, (n, 3): time in s, x and y in px of each drop in each frame."""
    light = ndimage.gaussian_filter(seeing.excess(frames)[:, :50], (0, 2.0, 1.0))
    top = ndimage.maximum_filter(light, size=(1, 9, 5))
    k, row, column = np.nonzero((light == top) & (light > DROP_LIGHT))
    return np.stack((frame_times(len(frames))[k], column + 0.5, row + 0.5), axis=1)


def single_rockets(frames: NDArray[np.uint8]) -> Tally:
    """Frames just before a burst with one rocket in the sky, and the two frames of its bloom with one bloom."""
    light = ndimage.gaussian_filter(seeing.excess(frames)[:, :50], (0, 1.0, 1.0))
    right = of = 0
    for burst in seeing.bursts(frames):
        first = int(burst.time * 10)
        for k in range(max(0, first - 1), min(len(frames), first + 2)):
            level = max(LEAST_LIGHT, 0.4 * float(light[k].max()))
            of += 1
            right += len(_sizes(light[k] > level, 4)) == 1
    return Tally(right, of)


def single_figures(frames: NDArray[np.uint8]) -> Tally:
    """Frames with one dancer: one connected thing of a body's size, and nothing else."""
    colours = frames.astype(np.float32)
    usual = np.median(colours, axis=(0, 2))[None, :, None]
    body = np.abs(colours - usual).max(axis=-1) > FIGURE_CONTRAST
    body[:, *LAMP] = False
    right = 0
    for mask in body:
        sizes = _sizes(mask, SPECK)
        right += len(sizes) == 1 and FIGURE_AREA[0] <= sizes[0] <= FIGURE_AREA[1]
    return Tally(int(right), len(frames))


def _sizes(mask: NDArray[np.bool_], least: int) -> list[int]:
    """Pixels of each connected thing of at least `least`, diagonals included."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    return [int(size) for size in np.bincount(labels.ravel())[1:] if size >= least]
