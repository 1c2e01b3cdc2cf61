"""The live player: picture and sound of an endless stream, in JupyterLab, while they are made.

    from rflav_lib.view.player import play
    play(pipe, y="rain")

**How it keeps together.** A canvas and WebAudio, and not an encoded stream in a `<video>` (MediaSource): a chunk of
sound is scheduled to the sample behind the one before, and the picture is chosen by what is heard at the moment, so
the two cannot drift apart; nothing is encoded, which would cost the kernel time, make every chunk wait for a key
frame, and shift the sound by the codec's priming (64 ms, over half a frame); and the browser needs no codec. The raw
frames are small: 12 KB of picture and 6 KB of sound for a frame of 64x64. Larger frames travel as JPEG.

**Who waits for whom.** The kernel makes clips in a thread (`player_feed.py`), at most `ahead` seconds beyond what the
browser says it has played. A machine too slow for live play stops picture and sound together until a second is there.
A message that was lost on the way, as when a laptop sleeps, is missed by the browser and sent once more.
Stop silences the browser at once, whatever the kernel is doing; JupyterLab from 4.4 on also reaches the kernel while
a cell runs, others do when it is done, and generation has long stopped for want of credit by then.
"""

import io
import itertools
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image

from rflav_lib import ROOT
from rflav_lib.arguments import Label
from rflav_lib.clip_stream import ClipStream
from rflav_lib.media import Clip
from rflav_lib.numbers_given import LARGEST_SEED, whole_number
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.sampler import check_guidance
from rflav_lib.schedule import check_steps
from rflav_lib.view.player_feed import Feed
from rflav_lib.view.player_options import check_options, check_seconds, one_class

RAW_PIXELS = 128 * 128  # of a frame; larger ones are sent as JPEG
JPEG_QUALITY = 92
CHUNK_SECONDS = 0.5
SAVED_PIXELS = 256  # small pictures are saved enlarged about to this side


class Refused(traitlets.TraitError, ValueError):
    """A setting that cannot be; as a TraitError it is taken back, wherever it came from."""


class Player(anywidget.AnyWidget):
    """The live player as a widget. Make one with `play`; Start is pressed in the browser.

    Attributes:
        y, steps_per_frame: set them while it plays, here or in the browser: `player.y = "siren"`.
        seed: of the noise, from the next Start on. The same seed, class and steps play the same again.
        running: whether it plays, or is about to.
        message: the last line it said: where it saved, or why it failed.
    """

    _esm = Path(__file__).with_name("player.js")
    _css = Path(__file__).with_name("player.css")
    y = traitlets.Any().tag(sync=True)
    steps_per_frame = traitlets.Int(2).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    running = traitlets.Bool(False).tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)  # what the browser has to know once
    _feed: Feed | None = None  # also where the constructor failed, for `close`

    def __init__(
        self,
        pipe: RFLAVPipeline,
        folder: Path,
        ahead: float,
        patience: float,
        options: dict[str, Any],
        **start: Any,
    ) -> None:
        mel, size = pipe.mel.config, pipe.frame_size
        self._pipe, self._folder, self._options = pipe, folder, options
        self._chunk = max(1, round(CHUNK_SECONDS * mel.frame_rate))
        self._ahead, self._patience = max(1, round(ahead * mel.frame_rate)), patience
        self._guidance = options.get("guidance_scale", 1.0)
        self._run = 0
        self.message = ""
        classes = list(pipe.config.class_names) or list(range(pipe.transformer.config.num_classes))
        facts = {
            "size": size,
            "frameRate": mel.frame_rate,
            "sampleRate": mel.sample_rate,
            "classes": classes,
            "any": check_guidance(self._guidance) == (1, 1),  # guidance is away from no class, towards one
            "enough": min(self._ahead, round(mel.frame_rate)),  # frames that must be there before it plays
            "most": self._ahead + self._chunk - 1,
        }
        super().__init__(facts=facts, **start)
        self.on_msg(self._received)

    @traitlets.validate("y")
    def _check_class(self, proposal: dict[str, Any]) -> Label | None:
        try:
            return one_class(self._pipe, proposal["value"], self._guidance)
        except ValueError as error:
            raise Refused(str(error)) from error

    @traitlets.validate("steps_per_frame")
    def _check_steps(self, proposal: dict[str, Any]) -> int:
        try:
            return check_steps(proposal["value"])
        except ValueError as error:
            raise Refused(str(error)) from error

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take settings from the browser. It is told of those that cannot be, and what holds instead."""
        try:
            super().set_state(sync_data)
        except traitlets.TraitError as error:
            self._say(str(error))
            self.send_state([name for name in sync_data if self.has_trait(name)])

    @traitlets.observe("y", "steps_per_frame")
    def _steer(self, change: dict[str, Any]) -> None:
        if self._feed is not None:
            self._feed.steer(change["name"], change["new"])

    @traitlets.observe("running")
    def _start_or_stop(self, change: dict[str, Any]) -> None:
        previous = self._feed
        if previous is not None:
            previous.end()
        if not change["new"]:
            return
        self._run += 1
        self.message = ""
        run = self._run
        self._feed = Feed(
            self._open_stream,
            lambda first, clip, speed: self._send_clip(run, first, clip, speed),
            lambda text: self._fail(run, text),
            self._ahead,
            self._patience,
            after=previous,
        )
        self._feed.begin()

    @property
    def seen(self) -> Clip | None:
        """What has been played since Start, at most the last ten minutes; None if nothing was."""
        return None if self._feed is None else self._feed.seen()

    def save(self, path: str | Path | None = None) -> Path:
        """Write what has been played since Start as .mp4; without a path, under a new name in the player's folder.

        Raises:
            ValueError: nothing has been played. MediaError, OSError: the file cannot be written.
        """
        clip = self.seen
        if clip is None:
            raise ValueError("nothing has been played yet: press Start first")
        scale = max(2, SAVED_PIXELS // clip.frames.shape[1])
        if path is not None:
            return clip.save(path, scale=scale)
        path = self._claimed_path()
        try:
            return clip.save(path, scale=scale)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Stop, and take the widget out of the page."""
        if self._feed is not None:
            self._feed.end()
        super().close()

    def _claimed_path(self) -> Path:
        """A new name in the player's folder, with an empty file under it: no other player can take it, too."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = self._folder / f"player-{number:03d}.mp4"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                continue
            return path
        raise AssertionError("there is always a next number")

    def _open_stream(self) -> ClipStream:
        return self._pipe.stream(
            steps_per_frame=self.steps_per_frame,
            chunk_frames=self._chunk,
            y=self.y,
            generator=torch.Generator().manual_seed(self.seed),
            **self._options,
        )

    def _received(self, _widget: object, content: dict[str, Any], _buffers: list[Any]) -> None:
        """A message of the browser: how far it has played, or the wish to save."""
        if content.get("kind") == "played" and self._feed is not None:
            run = content["run"]  # 0 while it waits for the first clip
            if run in (0, self._run):
                self._feed.acknowledge(content["frames"] if run else 0)
                if content.get("missing") is not None:
                    self._send_again(content["missing"])
        elif content.get("kind") == "save":
            try:
                path = self.save()
            except Exception as error:
                self._say(str(error))
            else:
                seen = self.seen
                assert seen is not None, "it has just been saved"
                self._say(f"saved {seen.duration:.1f} s as {_short(path)}")

    def _send_again(self, first: int) -> None:
        """Clips that were sent and have not arrived. The browser drops what it has already."""
        assert self._feed is not None, "only a feed's clips are missed"
        for start, clip in self._feed.clips_from(first):
            self._send_clip(self._run, start, clip, 0.0)

    def _send_clip(self, run: int, first: int, clip: Clip, speed: float) -> None:
        pictures, sizes = _packed(clip.frames)
        content = {
            "kind": "clip", "run": run, "first": first, "count": len(clip), "sizes": sizes, "speed": speed,
        }  # fmt: skip
        self.send(content, buffers=[pictures, clip.waveform.astype("<f4").tobytes()])

    def _say(self, text: str) -> None:
        self.message = text
        self.send({"kind": "said", "text": text})

    def _fail(self, run: int, text: str) -> None:
        if run == self._run:
            self._say(f"generation stopped: {text}")
            self.running = False

    def __repr__(self) -> str:
        facts = self.facts
        settings = f"y={self.y!r}, steps_per_frame={self.steps_per_frame}, seed={self.seed}"
        size = facts["size"]
        return f"Player({size}x{size} @ {facts['frameRate']:g} fps, {facts['sampleRate']} Hz, {settings})"


def play(
    pipe: RFLAVPipeline,
    y: Label | None = None,
    steps_per_frame: int = 2,
    seed: int = 0,
    ahead: float = 2.0,
    folder: str | Path = ROOT / "outputs",
    patience: float = 10.0,
    **options: Any,
) -> Player:
    """A live player of an endless stream, for JupyterLab: shows and plays what `pipe` makes while it makes it.

    Args:
        pipe: the pipeline that makes it.
        y: class to begin with, by name or number; None for no class.
        steps_per_frame: N, Euler steps between two finished frames. More is finer and slower.
        seed: of the noise.
        ahead: seconds that may be made beyond what was played: less follows a change of class sooner, more
            survives a machine that is busy in between.
        folder: where "save what I saw" writes.
        patience: seconds without an answer of the browser after which generation stops.
        options: for `pipe.stream`, such as `guidance_scale=2` or `dtype=torch.bfloat16`.

    Raises:
        ValueError: an unknown class, a number out of range, or guidance without a class.
        TypeError: what is no pipeline; an option that `pipe.stream` does not have, or that the player sets itself.
        RuntimeError: `compiled` without a compiler.
    """
    if not isinstance(pipe, RFLAVPipeline):
        raise TypeError(
            f"play takes a pipeline, not {pipe!r}: open one by RFLAVPipeline.from_pretrained(...)"
        )
    check_seconds(ahead, "ahead")
    check_seconds(patience, "patience")
    check_options(pipe, options)
    start = {
        "y": one_class(pipe, y, options.get("guidance_scale", 1.0)),
        "steps_per_frame": check_steps(steps_per_frame),
        "seed": whole_number(seed, "seed", least=0, most=LARGEST_SEED),
    }
    return Player(pipe, Path(folder), ahead, patience, options, **start)


def _packed(frames: np.ndarray) -> tuple[bytes, list[int]]:
    """Frames uint8 (k h w 3) -> their bytes, and the size of each if they are JPEG files, else nothing."""
    if frames.shape[1] * frames.shape[2] <= RAW_PIXELS:
        return frames.tobytes(), []
    files = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        files.append(buffer.getvalue())
    return b"".join(files), [len(file) for file in files]


def _short(path: Path) -> str:
    """Seen from the repository, where it lies in it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
