"""What people do to a running session: cells twice, out of order, after an error; a laptop that sleeps."""

import matplotlib
import pytest

from rflav_lib.train_config import TrainConfig
from rflav_lib.view import player_feed
from tests.notebook_tools import code_cells
from tests.view.test_player_feed import SECONDS, Watch, until


def config_cells() -> list[str]:
    """The first cells of notebook 05, up to the one that makes its config."""
    cells = code_cells("05_training")
    last = next(number for number, cell in enumerate(cells) if "TrainConfig.from_notebook" in cell)
    return cells[: last + 1]


@pytest.fixture(autouse=True)
def figures_as_before():
    """Notebooks set matplotlib's style for their kernel; here the tests that follow would draw with it."""
    with matplotlib.rc_context():
        yield


def test_the_cells_of_training_again_in_one_kernel(tmp_path):
    """Twice from the top, and with a value changed in between: what the parameters say, never the defaults."""
    namespace = {"__name__": "__main__"}
    for steps in (None, None, 7):
        for number, cell in enumerate(config_cells()):
            if number == len(config_cells()) - 1:
                namespace["output_dir"] = str(tmp_path)
                namespace["max_steps"] = steps or namespace["max_steps"]
            exec(cell, namespace)  # noqa: S102 - our own notebook
        config = namespace["config"]
        assert config.max_steps == (steps or 100) != TrainConfig().max_steps
        assert config.output_dir == str(tmp_path)


def test_parameters_out_of_order_and_of_a_wrong_kind_are_refused():
    known = {"max_steps"}  # the cell that notes the names was run after the parameters
    assert TrainConfig.from_notebook({"max_steps": 5}, known).max_steps == 5
    for value in (None, {"a": 1}, (1, 2), b"5"):
        with pytest.raises(ValueError, match="notebook parameters: max_steps must be int"):
            TrainConfig.from_notebook({"max_steps": value}, set())
        with pytest.raises(ValueError, match="notebook parameters: unknown key 'steps'"):
            TrainConfig.from_notebook({"steps": value}, set())


def test_a_laptop_that_slept_goes_on_where_it_was(monkeypatch):
    """Eight hours pass at once, on a clock that counts them: generation rests, and nothing is lost or made twice."""
    clock, slept = player_feed.time.monotonic, [0.0]
    watch = Watch(ahead=5)
    monkeypatch.setattr(player_feed.time, "monotonic", lambda: clock() + slept[0])
    try:
        watch.feed.begin()
        until(lambda: watch.feed.made == 5)
        slept[0] = 8 * 3600.0

        def rests() -> bool:
            with watch.feed._lock:
                watch.feed._lock.notify_all()  # the timer of the waiting thread runs out, once it waits
            return not watch.feed.working

        until(rests)
        assert watch.feed.join(SECONDS)
        assert watch.feed.made == 5 and watch.errors == []
        watch.feed.acknowledge(5)
        until(lambda: watch.feed.made == 10)
        assert [first for first, _ in watch.delivered] == [0, 5]
    finally:
        watch.feed.end()
        assert watch.feed.join(SECONDS)
