"""A pipeline that flashes and beeps: what the live player shows and plays can be measured in the page."""

import json
import threading
import time
from pathlib import Path

import numpy as np

from rflav_lib.media import Clip
from rflav_lib.view.player import Player, play
from tests.tiny import tiny_pipeline

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))
PERIOD = 10  # frames between two flashes
BEEP = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(1600) / 16000)  # a frame long


class Flashes:
    """A stream in whose every tenth frame the picture flashes in the colour of the class and the sound beeps.

    Between flashes a pixel in the corner counts frames. `siren` breaks the decoder. A frame takes `seconds`.
    """

    def __init__(self, chunk_frames: int, y: str | None, seconds: float, names: list[str]) -> None:
        self.chunk_frames, self.y, self.seconds, self.names = chunk_frames, y, seconds, names
        self.frame = self.steps_per_frame = 0

    def __next__(self) -> Clip:
        if self.y == "siren":
            raise RuntimeError("the decoder broke")
        time.sleep(self.seconds * self.chunk_frames)
        frames = np.zeros((self.chunk_frames, 64, 64, 3), np.uint8)
        sound = np.zeros((self.chunk_frames, 1600), np.float32)
        for place in range(self.chunk_frames):
            if self.frame % PERIOD == 0 and self.frame:
                frames[place] = COLOURS[0 if self.y is None else self.names.index(self.y)]
                sound[place] = BEEP
            frames[place, 0, 0] = self.frame % 256
            self.frame += 1
        return Clip(frames, sound.ravel())


def flashing(report: str, seconds: float = 0.005, **options) -> Player:
    """A player of `Flashes`. Its state is written to the file `report` ten times a second, whatever the kernel does."""
    pipe = tiny_pipeline()
    names = list(pipe.config.class_names)
    pipe.stream = lambda chunk_frames, y, **_: Flashes(chunk_frames, y, seconds, names)
    player = play(pipe, folder=Path(report).parent, **options)

    def watch() -> None:
        while True:
            feed = player._feed
            state = {"running": player.running, "message": player.message, "y": player.y}
            if feed is not None:
                state |= {"made": feed.made, "played": feed.played, "working": feed.working}
            draft = Path(f"{report}.new")
            draft.write_text(json.dumps(state))
            draft.replace(report)
            time.sleep(0.1)

    threading.Thread(target=watch, daemon=True).start()
    return player
