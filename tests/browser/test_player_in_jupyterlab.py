"""The live player in a real JupyterLab, seen by a real Chromium. Screenshots stay in outputs/browser."""

import json
import time

import pytest

from rflav_lib.view import player as module

expect = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: make test-browser"
).expect

SECONDS = 120  # for what takes one or two on a machine with nothing else to do
ENGINE = "document.querySelector('.rflav-player').engine"
AHEAD = 2.0
"""Seconds that the kernel may be ahead."""

SOURCE = f"""
from tests.browser.flashes import flashing
player = flashing("state.json", ahead={AHEAD}, patience=3.0, y="bounce")
player
"""
BUSY = "import time; open('busy', 'w').close(); time.sleep(20); open('done', 'w').close()"


def engine(page, expression: str):
    """A value of the player's engine in the page."""
    return page.evaluate(f"() => {{ const engine = {ENGINE}; return {expression}; }}")


def wait(page, condition: str) -> None:
    """Until it holds for the engine."""
    page.wait_for_function(
        f"() => {{ const engine = {ENGINE}; return {condition}; }}", timeout=1000 * SECONDS
    )


class Kernel:
    """What the kernel's player says of itself."""

    def __init__(self, folder) -> None:
        self.file = folder / "state.json"

    def __call__(self) -> dict:
        return json.loads(self.file.read_text())

    def until(self, condition) -> dict:
        deadline = time.monotonic() + SECONDS
        while not condition(state := self()):
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        return state


@pytest.fixture(scope="module")
def page(lab):
    """A notebook with a flashing player, its cell executed."""
    page = lab.open(lab.notebook("player.ipynb", SOURCE, BUSY))
    run(page)
    page.wait_for_selector(".rflav-player")
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def kernel(lab, page):
    """The kernel behind it."""
    return Kernel(lab.folder)


@pytest.fixture
def playing(page):
    """The page, with the player started anew from the class bounce."""
    if page.locator(".rflav-start").text_content() == "Stop":
        page.click(".rflav-start")
    page.select_option(".rflav-class select", label="bounce")
    page.click(".rflav-start")
    wait(page, "engine.position() > 1")
    return page


def run(page, cell: int = 0) -> None:
    """Execute a cell. Does not wait for it."""
    page.evaluate(
        """(cell) => {
            window.jupyterapp.shell.currentWidget.content.activeCellIndex = cell;
            window.jupyterapp.commands.execute("notebook:run-cell");
        }""",
        cell,
    )


def test_the_sound_of_clips_joins_without_a_changed_sample(lab):
    """The engine on an offline clock: chunks of many lengths come out as one signal, moved by the start."""
    page = lab.page()
    difference = page.evaluate(
        """async (source) => {
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            const { Engine } = await import(url);
            const engine = new Engine({ frameRate: 10, sampleRate: 16000, enough: 10 });
            const frames = 60, samples = Float32Array.from({ length: frames * 1600 }, (_, i) => Math.sin(i * i / 9e5));
            class Offline extends OfflineAudioContext {
                constructor() { super(1, 8 * 16000, 16000); }
                resume() { return Promise.resolve(); }
                suspend() { return Promise.resolve(); }
            }
            engine.open(Offline);
            engine.start();
            let first = 0;
            for (const count of [10, 1, 7, 13, 5, 5, 19]) {
                const pictures = Array(count).fill(new ImageData(1, 1));
                engine.add(1, first, pictures, samples.subarray(1600 * first, 1600 * (first += count)));
            }
            const start = Math.round(engine.anchor.time * 16000);
            const heard = (await engine.context.startRendering()).getChannelData(0);
            let most = 0;
            for (let i = 0; i < heard.length; i++) {
                most = Math.max(most, Math.abs(heard[i] - (samples[i - start] ?? 0)));
            }
            return first === frames ? most : Infinity;
        }""",
        str(module.Player._esm),
    )
    page.context.close()
    assert difference < 1e-6


def test_ten_seconds_advance_with_the_clock_and_the_kernel_keeps_its_distance(playing, kernel, shot):
    shot(playing, "player-light")
    now = "[engine.context.currentTime, engine.position(), engine.received, engine.scheduled, engine.pauses]"
    before = engine(playing, now)
    most = 0
    while True:
        clock, position, received, scheduled, pauses = engine(playing, now)
        assert position <= scheduled <= received
        most = max(most, received - position)
        if position > before[1] + 100:
            break
        playing.wait_for_timeout(200)
    if pauses == before[4]:  # without a pause, frames follow the sound card's clock
        assert position - before[1] == pytest.approx(10 * (clock - before[0]), abs=1.5)
    assert most <= 10 * AHEAD + 4 + 10, "what the browser has played and not yet reported comes on top"
    state = kernel()
    assert state["working"] and state["made"] - state["played"] <= 10 * AHEAD + 4
    assert playing.errors == []


def test_sound_and_picture_are_together(playing):
    """Flashes on the canvas against beeps in the sound, both measured in the page on the audio clock."""
    offsets = playing.evaluate(
        f"""() => new Promise((resolve) => {{
            const engine = {ENGINE}, canvas = document.querySelector(".rflav-player canvas").getContext("2d");
            const tap = engine.context.createAnalyser();
            tap.fftSize = 2048;
            engine.loudness.connect(tap);
            const wave = new Float32Array(tap.fftSize), flashes = [], beeps = [];
            let lit = true, loud = true;
            const until = performance.now() + 60_000;
            requestAnimationFrame(function look() {{
                const clock = engine.context.currentTime;
                const pixel = canvas.getImageData(32, 32, 1, 1).data;
                const flash = pixel[0] + pixel[1] + pixel[2] > 200;
                if (flash && !lit) flashes.push(engine.heard());
                lit = flash;
                tap.getFloatTimeDomainData(wave);
                const onset = wave.findIndex((x) => Math.abs(x) > 0.1);
                if (onset > 0 && !loud) beeps.push(clock - (wave.length - onset) / engine.sampleRate);
                loud = onset >= 0;
                const enough = Math.min(flashes.length, beeps.length) >= 8;
                if (!enough && performance.now() < until) return requestAnimationFrame(look);
                engine.loudness.disconnect(tap);
                resolve(beeps.map((beep) => flashes.map((f) => f - beep).sort((a, b) => Math.abs(a) - Math.abs(b))[0]));
            }});
        }})"""
    )
    print("picture after sound, ms:", [round(1000 * offset) for offset in offsets])
    assert len(offsets) >= 5, offsets
    assert abs(sorted(offsets)[len(offsets) // 2]) < 0.04


def test_the_class_changes_while_it_plays(playing, kernel):
    playing.select_option(".rflav-class select", label="rain")
    kernel.until(lambda state: state["y"] == "rain")
    playing.wait_for_function(
        """() => {
            const canvas = document.querySelector(".rflav-player canvas").getContext("2d");
            const [r, g, b] = canvas.getImageData(32, 32, 1, 1).data;
            return r < 50 && g < 50 && b > 200;
        }""",
        timeout=1000 * SECONDS,
        polling="raf",
    )


def test_stop_while_a_cell_is_running(playing, lab, kernel, shot):
    run(playing, cell=1)
    deadline = time.monotonic() + SECONDS
    while not (lab.folder / "busy").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    position = engine(playing, "engine.position()")
    playing.click(".rflav-start")
    assert engine(playing, "engine.state()") == "stopped", "silent at once"
    state = kernel.until(lambda state: not state["running"] and not state["working"])
    assert not (lab.folder / "done").exists(), "the cell was still running when the kernel stopped making"
    assert state["played"] >= int(position)
    expect(playing.locator(".rflav-start")).to_have_text("Start")
    shot(playing, "player-stopped")


def test_start_again_begins_again(playing, kernel):
    wait(playing, "engine.position() > 25")
    playing.click(".rflav-start")
    kernel.until(lambda state: not state["working"])
    playing.click(".rflav-start")
    wait(playing, "engine.position() > 1")
    assert engine(playing, "engine.position()") < 25, "from the beginning"
    assert kernel.until(lambda state: state["working"])["made"] <= 10 * AHEAD + 4 + 30


def test_save_what_i_saw(playing, lab):
    wait(playing, "engine.position() > 15")
    playing.click(".rflav-save")
    expect(playing.locator(".rflav-message")).to_contain_text("saved", timeout=1000 * SECONDS)
    assert list(lab.folder.glob("player-*.mp4"))


def test_an_error_is_one_clear_line_and_start_works_again(playing, kernel, shot):
    playing.select_option(".rflav-class select", label="siren")
    message = playing.locator(".rflav-message")
    expect(message).to_have_text(
        "generation stopped: RuntimeError: the decoder broke", timeout=1000 * SECONDS
    )
    expect(playing.locator(".rflav-start")).to_have_text("Start", timeout=1000 * SECONDS)
    shot(playing, "player-error")
    playing.select_option(".rflav-class select", label="rain")
    playing.click(".rflav-start")
    wait(playing, "engine.position() > 1")
    assert message.text_content() == ""


def test_a_slow_machine_pauses_and_does_not_drift(lab, shot):
    source = SOURCE.replace("state.json", "slow.json").replace("patience=3.0", "seconds=0.15")
    page = lab.open(lab.notebook("slow.ipynb", source), theme="dark")
    run(page)
    page.click(".rflav-start")
    wait(page, "engine.pauses >= 2 && !engine.starving")
    shot(page, "player-dark")
    lateness = sorted(engine(page, "engine.lateness"))
    assert abs(lateness[len(lateness) // 2]) < 0.04
    assert engine(page, "engine.position() <= engine.received")
    page.context.close()


def test_a_message_that_is_lost_is_asked_for_again(playing):
    """Clips fall away on their way, as when a connection breaks and comes back: it waits, asks, and goes on."""
    lost = engine(
        playing,
        """(() => {
            const add = engine.add.bind(engine);
            let dropped = 0;
            engine.add = () => { if (++dropped === 3) engine.add = add; };
            return engine.received;
        })()""",
    )
    wait(playing, f"engine.received === {lost} && engine.starving")
    wait(playing, f"engine.position() > {lost} + 20")


def test_a_closed_tab_ends_generation(lab):
    page = lab.open(lab.notebook("closed.ipynb", SOURCE.replace("state.json", "closed.json")))
    run(page)
    page.click(".rflav-start")
    wait(page, "engine.position() > 1")
    page.context.close()
    kernel = Kernel(lab.folder)
    kernel.file = lab.folder / "closed.json"
    state = kernel.until(lambda state: not state["working"])
    assert state["made"] - state["played"] <= 10 * AHEAD + 4
    time.sleep(1)
    assert kernel()["made"] == state["made"]
