"""The page of the user study: two videos with sound, two questions, blind, for the mouse and for the keyboard alone.

    from rflav_lib.view.user_study import user_study
    user_study("outputs/ours", "outputs/theirs", answers="outputs/answers.csv")

**Why not ipywidgets' own Video and Button.** They have no access keys, cannot start a video or say that it was played,
and JupyterLab would take every key press for a command. So the page is an anywidget, as the live player is: an
ipywidgets widget with a browser half of its own (user_study.js).

**What makes it blind.** Order and sides are drawn for each rater. Both files are read and written anew in the same way
(rates, codec, length), so neither name, bytes nor bit rate tell which is which; the browser gets nothing but the two
videos. Different picture sizes are shown in boxes of one size: sharpness can still tell, and is part of the quality.
"""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anywidget
import traitlets

from rflav_lib.media import Clip, MediaError
from rflav_lib.view.study_answers import QUESTIONS, Answers, Study, Trial, make_study

LEAST_HEIGHT = 256  # pixels to which small pictures are enlarged


class StudyPage(anywidget.AnyWidget):
    """One rater's page. Make one with `user_study`.

    Attributes:
        state: what the browser shows: the phase ("welcome", "trial" or "done"), number and total, a message.
        answers: the file of answers. study: what is asked.
    """

    _esm = Path(__file__).with_name("user_study.js")
    _css = Path(__file__).with_name("user_study.css")
    state = traitlets.Dict().tag(sync=True)
    questions: traitlets.List[list[str]] = traitlets.List().tag(sync=True)

    def __init__(self, study: Study, answers: Answers, frame_rate: float, sample_rate: int) -> None:
        self.study, self.answers = study, answers
        self._rates = frame_rate, sample_rate
        self._rater = ""
        self._left: list[Trial] = []
        self._encoded = lru_cache(maxsize=4)(self._encode)
        super().__init__(questions=[[name, text] for name, text in QUESTIONS.items()])
        self._show("welcome")
        self.on_msg(self._received)

    @property
    def trial(self) -> Trial | None:
        """What is asked now. It says which side is which: not for raters."""
        return self._left[0] if self._left else None

    def start(self, rater: str) -> None:
        """Begin, or go on where this rater stopped.

        Raises:
            ValueError: no name.
        """
        rater = rater.strip()
        if not rater:
            raise ValueError("give a name, or any word that stands for it")
        done = self.answers.answered(self.study, rater)
        self._rater = rater
        self._left = [trial for trial in self.study.trials(rater) if trial.pair.name not in done]
        self._next(f"welcome back: {len(done)} answered before" if done and self._left else "")

    def answer(self, plays: tuple[int, int] = (0, 0), **chosen: str) -> None:
        """Store the answer to the present trial, `quality="left", alignment="right"`, and go on to the next.

        Raises:
            ValueError: nothing is asked, or an answer that is none; nothing is stored then.
        """
        if not self._left:
            raise ValueError("nothing is asked now")
        stored = self.answers.append(self.study, self._left[0], self._rater, chosen, plays)
        done = self.answers.answered(self.study, self._rater)
        self._left = [trial for trial in self._left if trial.pair.name not in done]
        self._next("" if stored else "that pair was answered in another tab already; the first answer counts")

    def _next(self, message: str) -> None:
        self._show("trial" if self._left else "done", message)
        if self._left:
            self._send_videos()

    def _show(self, phase: str, message: str = "") -> None:
        total = len(self.study.pairs)
        number = self._left[0].number if self._left else 0
        done = total - len(self._left) if phase != "welcome" else 0
        self.state = {"phase": phase, "number": number, "done": done, "total": total, "message": message}

    def _send_videos(self) -> None:
        trial = self._left[0]
        videos = self._encoded(trial.pair.files)
        self.send(
            {"kind": "videos", "number": trial.number}, buffers=[videos[trial.left], videos[trial.right]]
        )

    def _encode(self, files: tuple[Path, Path]) -> tuple[bytes, bytes]:
        """Both files, cut to the shorter one's length, encoded in the same way."""
        clips = [Clip.read(file, *self._rates) for file in files]
        length = min(map(len, clips))
        made = []
        with TemporaryDirectory() as folder:
            for clip in clips:
                cut = clip.part(0, length)
                made.append(cut.save(Path(folder) / "video.mp4", scale=_scale(cut)).read_bytes())
        return made[0], made[1]

    def _received(self, _widget: object, content: dict[str, Any], _buffers: list[Any]) -> None:
        """A message of the browser: a name, an answer, or the wish to see the videos (a page drawn anew)."""
        try:
            kind = content.get("kind")
            if kind == "start":
                self.start(str(content.get("rater", "")))
            elif kind == "videos" and self._left:
                self._send_videos()
            elif kind == "answer":
                if not self._left or content.get("number") != self._left[0].number:
                    return  # a second view of this page has answered it in the meantime
                left, right = content.get("plays", (0, 0))
                self.answer((int(left), int(right)), **{name: content.get(name, "") for name in QUESTIONS})
        except (MediaError, OSError, ValueError) as error:
            self.state = {**self.state, "message": f"{error}"}

    def __repr__(self) -> str:
        state = self.state
        return f"StudyPage({len(self.study.pairs)} pairs, {len(QUESTIONS)} questions, {state['phase']})"


def user_study(
    first: str | Path,
    second: str | Path,
    answers: str | Path,
    pairs: int = 10,
    seed: int = 0,
    names: tuple[str, str] | None = None,
    frame_rate: float = 10,
    sample_rate: int = 16000,
) -> StudyPage:
    """A page on which one rater after the other compares videos of two folders.

    Args:
        first: folder of one kind.
        second: folder of the other.
        answers: CSV file that answers are appended to; it may have several pages and several readers.
        pairs: how many each rater sees.
        seed: of the choice of pairs, their order, and their sides.
        names: of the two kinds, for the result; the folders' names, unless told.
        frame_rate: at which both are shown.
        sample_rate: at which both are heard.

    Raises:
        FileNotFoundError: no such folder. ValueError: too few videos.
    """
    study = make_study(first, second, pairs, seed, names)
    return StudyPage(study, Answers(answers), frame_rate, sample_rate)


def _scale(clip: Clip) -> int:
    """Whole factor that brings small pictures to a size at which they can be judged, with even sides."""
    _, h, w, _ = clip.frames.shape
    factor = max(1, -(-LEAST_HEIGHT // h))
    return factor + 1 if h * factor % 2 or w * factor % 2 else factor
