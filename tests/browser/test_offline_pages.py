"""The exported pages in a Chromium without a network: what plays there plays, with sound, and nothing is fetched."""

from pathlib import Path

import pytest
from html_site import build

from tests.browser.conftest import ROOT, new_page

PLAY = """async (node) => {
    node.muted = false;
    node.volume = 0.1;
    await node.play();
    const until = performance.now() + 60_000;
    const enough = Math.min(0.4, node.duration / 2);
    while (node.currentTime < enough && performance.now() < until) await new Promise((done) => setTimeout(done, 50));
    node.pause();
    return {
        tag: node.tagName, played: node.currentTime >= enough, error: node.error?.message ?? null,
        pictures: node.tagName === "AUDIO" || node.webkitDecodedFrameCount > 0,
        sound: node.webkitAudioDecodedByteCount > 0,
    };
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebooks as `make html` writes them."""
    return build(ROOT, tmp_path_factory.mktemp("site") / "html").parent


@pytest.fixture
def offline(chromium):
    """A page without a network, which keeps in `asked` what it would fetch from elsewhere."""
    page = new_page(chromium, offline=True)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    page.context.close()


def played(page, file: Path) -> list[dict]:
    """What became of each player of a page, played one after the other."""
    page.goto(file.as_uri())
    return [page.evaluate(PLAY, node) for node in page.query_selector_all("video, audio")]


def foreign(page) -> list[str]:
    """Requests that left the folder of the page."""
    return [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")))
def test_a_page_plays_and_fetches_nothing(site, offline, name):
    players = played(offline, site / f"{name}.html")
    assert all(each["played"] and each["pictures"] and each["sound"] for each in players), players
    assert foreign(offline) == [] and offline.errors == [] and offline.console == []
    if name.startswith(("00", "01", "06")):
        assert players, "these lessons have something to hear"


def test_a_request_would_be_noticed(offline, tmp_path):
    (tmp_path / "page.html").write_text('<img src="http://127.0.0.1:9/picture.png">')
    assert played(offline, tmp_path / "page.html") == [] and len(foreign(offline)) == 1 and offline.console


def test_the_index_leads_to_every_page_and_back(site, offline):
    offline.goto((site / "index.html").as_uri())
    names = offline.eval_on_selector_all(
        "li > a", "(links) => links.map((link) => link.getAttribute('href'))"
    )
    notebooks = ROOT / "notebooks"
    assert len(names) == len([*notebooks.glob("*.ipynb"), *notebooks.glob("solutions/*.ipynb")])
    for name in names:
        offline.goto((site / name).as_uri())
        offline.click("nav a")
        assert offline.url.endswith("/index.html")
    assert foreign(offline) == []
