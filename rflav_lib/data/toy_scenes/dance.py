"""The scene of toy-dance: a stick figure that strikes a new pose on every beat of a looping choreography."""

import numpy as np

from rflav_lib.data.toy_scenes import synth
from rflav_lib.data.toy_scenes.canvas import SIZE, Array, Canvas, frame_times, hsv
from rflav_lib.data.toy_scenes.scene import NUM_HUES, Event, Scene, every, nearest_flash, stage, within

MOVE_SECONDS = 0.24
"""How long a change of pose takes; it is centred on its beat, so the body is fastest exactly on the beat."""

# Angles in degrees, 0 = down, positive = to the right of the picture:
# lean, left arm (upper, fore), right arm (upper, fore), left leg (thigh, shin), right leg (thigh, shin), hip
# shift in px.
POSES: Array = np.array(
    [
        (0, -35, -20, 35, 20, -14, -8, 14, 8, 0),  # rest
        (0, -150, -165, 150, 165, -26, -20, 26, 20, 0),  # both arms up, wide
        (8, -95, -95, 40, 120, -8, -8, 34, 16, -3),  # point left
        (-8, -40, -120, 95, 95, -34, -16, 8, 8, 3),  # point right
        (0, -80, -175, 80, 175, -38, 12, 38, -12, 0),  # squat, fists up
        (-12, -165, -150, 50, -30, -10, -10, 62, 4, -2),  # kick right
        (12, -50, 30, 165, 150, -62, -4, 10, 10, 2),  # kick left
        (0, -60, 40, 60, -40, -20, -6, 20, 6, 0),  # hands on hips
        (14, -120, -60, 150, 110, -30, -24, 16, 30, 4),  # lean right, wave
        (-14, -150, -110, 120, 60, -16, -30, 30, 24, -4),  # lean left, wave
    ],
    dtype=np.float64,
)
BPM = (90.0, 130.0)
"""Between these lie the tempos, each as likely."""
NOTES: tuple[float, ...] = (82.4, 98.0, 110.0, 123.5, 146.8)


def dance(rng: np.random.Generator, num_frames: int) -> Scene:
    """Kick and bass on the beat, hat between. Events: beat, value = place in the loop; hat (the ball above
    lights up).
    """
    canvas, horizon, track = stage(rng, num_frames)
    bpm, beats_in_loop, hue = rng.uniform(*BPM), int(rng.choice((4, 8))), int(rng.integers(NUM_HUES))
    beat = 60.0 / bpm
    poses = _choreography(rng, beats_in_loop)
    notes = rng.choice(NOTES, size=beats_in_loop)
    first = rng.integers(beats_in_loop)
    times = frame_times(num_frames)
    beats = every(beat, rng.uniform(0, beat), track.seconds)
    place = (np.round((beats - beats[0]) / beat).astype(int) + first) % beats_in_loop
    hats = beats + beat / 2

    body = _pose_at(times, beats, POSES[poses][place])
    lift = 1.0 - np.cos(2 * np.pi * (times - beats[0]) / beat)
    _lamp(canvas, nearest_flash(times, hats))
    _figure(canvas, body, rng.uniform(0.46, 0.54) * SIZE, horizon + 3.5, lift, hue / NUM_HUES)

    for time, slot in zip(beats, place, strict=True):
        track.add(float(time), 0.6, synth.kick)
        track.add(float(time), 1.2, synth.bass(float(notes[slot])))
    for time in hats:
        track.add(float(time), 0.2, synth.hat)
    events = [Event(float(t), "beat", value=float(p)) for t, p in zip(beats, place, strict=True)]
    events += [Event(float(t), "hat", 1) for t in hats]
    facts = {"objects": 1, "bpm": bpm, "beats_in_loop": beats_in_loop, "loop_seconds": beats_in_loop * beat,
             "hue": hue / NUM_HUES}  # fmt: skip
    return Scene(canvas.frames(), track.waveform, within(events, num_frames), facts)


def _choreography(rng: np.random.Generator, beats: int) -> np.ndarray:
    """Pose numbers (beats,): no pose twice in a row, around the loop's end too, and no loop inside the
    loop.
    """
    while True:
        poses = rng.integers(len(POSES), size=beats)
        if np.all(poses != np.roll(poses, 1)) and np.any(poses != np.roll(poses, beats // 2)):
            return poses


def _pose_at(times: Array, beats: Array, poses: Array) -> Array:
    """Joint angles (k, 10) at `times`: pose i from beat i on, reached by a smooth step about the beat."""
    after = np.searchsorted(beats, times + MOVE_SECONDS / 2, side="right") - 1
    u = np.clip((times - beats[after]) / MOVE_SECONDS + 0.5, 0, 1)[:, None]
    step = u * u * (3 - 2 * u)
    return poses[after - 1] * (1 - step) + poses[after] * step


def _lamp(canvas: Canvas, light: Array) -> None:
    """A mirror ball at the top that lights up with the hat."""
    x, y = np.full_like(light, SIZE / 2), np.full_like(light, 3.5)
    canvas.glow(x, y, 6.0, 4.0, np.array((255.0, 244.0, 214.0)), 0.8 * light)
    canvas.disc(x, y, np.full_like(light, 3.0), np.full_like(light, 3.0), np.array((150, 152, 162)))
    canvas.glow(x, y, 1.8, 1.8, np.array((255.0, 250.0, 235.0)), 0.9 * light)


def _figure(canvas: Canvas, body: Array, x: float, ground: float, lift: Array, hue: float) -> None:
    """Draw the figure: `body` (k, 10) as in POSES, `lift` (k,) how many px the hips rise between beats."""
    angles = np.deg2rad(body[:, :9])

    def reach(origin: tuple[Array, Array], angle: Array, length: float) -> tuple[Array, Array]:
        return origin[0] + length * np.sin(angle), origin[1] + length * np.cos(angle)

    zero = np.zeros(len(body))
    knees = [reach((zero, zero), angles[:, 5 + 2 * side], 9.5) for side in (0, 1)]
    feet = [reach(knee, angles[:, 6 + 2 * side], 9.5) for side, knee in enumerate(knees)]
    # the lower foot carries the weight
    hip = (x + body[:, 9], ground - 2.0 - np.maximum(feet[0][1], feet[1][1]) - lift)
    neck = reach(hip, np.pi - angles[:, 0], 14.0)
    head = reach(hip, np.pi - angles[:, 0], 20.5)

    shirt, skin, trousers = hsv(hue, 0.75, 0.98), np.array((255.0, 222.0, 190.0)), hsv(hue + 0.45, 0.5, 0.8)
    canvas.glow(hip[0], np.full(len(body), ground), 9.0, 1.8, np.zeros(3), np.full(len(body), 0.5))
    for side in (0, 1):
        knee = hip[0] + knees[side][0], hip[1] + knees[side][1]
        foot = hip[0] + feet[side][0], hip[1] + feet[side][1]
        canvas.limb(hip, knee, 2.3, trousers)
        canvas.limb(knee, foot, 2.0, trousers)
    canvas.limb(hip, neck, 3.2, shirt)
    for side in (0, 1):
        elbow = reach(neck, angles[:, 1 + 2 * side], 8.5)
        canvas.limb(neck, elbow, 2.1, 0.85 * shirt)
        canvas.limb(elbow, reach(elbow, angles[:, 2 + 2 * side], 8.5), 1.9, skin)
    canvas.disc(*head, np.full(len(body), 4.4), np.full(len(body), 4.4), skin)
