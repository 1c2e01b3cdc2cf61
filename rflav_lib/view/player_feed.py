"""Generation in a background thread, never further ahead of who watches than agreed.

The browser says how far it has played; that is the credit on which the next clips are made. So nothing floods the
kernel or the connection, a slow browser slows generation down, and when nobody answers any more, because the tab is
closed, the thread ends. It goes on where it was if somebody answers after all: a kernel that cannot listen while a
cell runs (no subshells) falls silent for a while, too.
"""

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from rflav_lib.media import Clip

if TYPE_CHECKING:
    from rflav_lib.clip_stream import ClipStream

KEPT_SECONDS = 600.0  # what was played longer ago is let go: 11 MB of 64x64 frames with sound
PATIENCE = 10.0  # s without an answer after which the thread ends


class Feed:
    """Clips of one stream, made in a thread on credit.

    Args:
        make: opens the stream; called in the thread, so that its errors are reported like all others.
        deliver: gets every clip, in the thread: (number of its first frame, clip, frames made a second).
        failed: gets one line of text, in the thread, when making or delivering raised; the feed has ended then.
        ahead: frames that may be made beyond what was played. The clip with which this is reached is finished.
        patience: seconds.
        after: a feed whose thread must have ended before this one begins.

    Attributes:
        made, played: frames, counted from the beginning.
    """

    def __init__(
        self,
        make: Callable[[], "ClipStream"],
        deliver: Callable[[int, Clip, float], None],
        failed: Callable[[str], None],
        ahead: int,
        patience: float = PATIENCE,
        after: "Feed | None" = None,
    ) -> None:
        self._make, self._deliver, self._failed = make, deliver, failed
        self._ahead, self._patience, self._after = ahead, patience, after
        self._lock = threading.Condition()
        self._stream: ClipStream | None = None
        self._changes: dict[str, Any] = {}
        self._kept: deque[tuple[int, Clip]] = deque()
        self._recent: deque[tuple[int, float]] = deque(maxlen=6)  # frames and seconds of the last clips
        self._thread: threading.Thread | None = None
        self._ended = False
        self._heard = 0.0
        self.made = self.played = 0
        atexit.register(self.end)

    @property
    def working(self) -> bool:
        """Whether the thread is there; it may be waiting for credit."""
        with self._lock:
            return self._thread is not None

    def begin(self) -> None:
        """Start making clips."""
        self.acknowledge(0)

    def acknowledge(self, frames: int) -> None:
        """So many frames have been played. Every call also says that somebody is there."""
        with self._lock:
            self.played = min(max(self.played, frames), self.made)
            self._heard = time.monotonic()
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._work, name="rflav player", daemon=True)
                self._thread.start()
            self._lock.notify_all()

    def clips_from(self, first: int) -> list[tuple[int, Clip]]:
        """The clips from frame `first` on that are still kept, with the numbers of their first frames."""
        with self._lock:
            return [(start, clip) for start, clip in self._kept if start >= first]

    def steer(self, name: str, value: Any) -> None:
        """Set an attribute of the stream, such as `y`, before its next clip: the thread alone touches it."""
        with self._lock:
            self._changes[name] = value

    def end(self) -> None:
        """Make no more clips; the one in work is finished and thrown away. What was played can still be had."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()
        atexit.unregister(self.end)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread is gone. Returns whether it is."""
        with self._lock:
            return self._lock.wait_for(lambda: self._thread is None, timeout)

    def seen(self) -> Clip | None:
        """What was played, at most the last `KEPT_SECONDS`; None if nothing was."""
        with self._lock:
            parts = [(clip, self.played - first) for first, clip in self._kept if first < self.played]
        if not parts:
            return None
        return Clip.concatenate([clip.part(0, min(frames, len(clip))) for clip, frames in parts])

    def _work(self) -> None:
        try:
            if self._after is not None:
                self._after.join()
                self._after = None
            with torch.no_grad():  # gradients are switched for each thread by itself
                self._stream = self._stream or self._make()
                while self._credit():
                    self._one_clip(self._stream)
        except Exception as error:
            self.end()
            text = str(error).strip().partition("\n")[0]
            self._failed(f"{type(error).__name__}: {text}" if text else type(error).__name__)
        finally:
            with self._lock:
                if self._thread is threading.current_thread():  # and not already another
                    self._thread = None
                self._lock.notify_all()

    def _credit(self) -> bool:
        """Wait until a clip may be made. False when the feed has ended, or nobody has answered for too long."""
        with self._lock:
            while not self._ended:
                left = self._heard + self._patience - time.monotonic()
                if left <= 0:
                    self._thread = None  # already here, so that an answer from now on starts another
                    return False
                if self.made - self.played < self._ahead:
                    return True
                self._lock.wait(left)
            return False

    def _one_clip(self, stream: "ClipStream") -> None:
        with self._lock:
            changes, self._changes = self._changes, {}
        for name, value in changes.items():
            setattr(stream, name, value)
        began = time.perf_counter()
        clip = next(stream)
        self._recent.append((len(clip), time.perf_counter() - began))
        frames, seconds = map(sum, zip(*self._recent, strict=True))
        with self._lock:
            if self._ended:
                return
            first, self.made = self.made, self.made + len(clip)
            self._kept.append((first, clip))
            oldest = self.played - KEPT_SECONDS * clip.frame_rate
            while self._kept[0][0] + len(self._kept[0][1]) <= oldest:
                self._kept.popleft()
        self._deliver(first, clip, frames / max(seconds, 1e-9))
