"""A notebook as one HTML page that a browser shows without a network: no scripts, formulas as MathML."""

import html.parser
from pathlib import Path

from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

WIDGET = "application/vnd.jupyter.widget-view+json"
HINT = "*Controls to play with: open this notebook with `make lab`.*"


class MathMLRenderer(IPythonRenderer):
    """Markdown with formulas that browsers set themselves, where nbconvert leaves TeX to a script."""

    def block_math(self, body: str) -> str:
        """A formula on a line of its own."""
        return mathml(body, "block")

    def inline_math(self, body: str) -> str:
        """A formula in a line of text."""
        return mathml(body, "inline")


def mathml(tex: str, display: str) -> str:
    """TeX -> MathML.

    Raises:
        ValueError: TeX that is broken.
    """
    try:
        return convert(tex, display=display)
    except Exception as error:  # the library's errors have no base of their own
        raise ValueError(f"the formula {tex!r} cannot be set: {type(error).__name__}") from error


def markdown_to_html(source: str) -> str:
    """Markdown -> HTML, formulas included."""
    return MarkdownWithMath(renderer=MathMLRenderer(escape=False)).render(source)


def offline_page(notebook: NotebookNode, title: str) -> str:
    """The page of a notebook. Widgets, which need a kernel, become a line that says where they live.

    Raises:
        ValueError: the page would still fetch something, or a formula cannot be set; names it.
    """
    still_life(notebook)
    exporter = HTMLExporter(
        template_name="offline_report",
        extra_template_basedirs=[str(Path(__file__).parent)],
        embed_images=True,
    )
    exporter.register_filter("markdown2html", markdown_to_html)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    if fetched := external_references(page):
        raise ValueError(f"{title}: the page would fetch {', '.join(fetched)}")
    return page


def still_life(notebook: NotebookNode) -> None:
    """Replace widgets by a hint; drop the run settings of this machine."""
    notebook.metadata.pop("widgets", None)
    notebook.cells = [
        cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", ())
    ]
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if WIDGET in output.get("data", {}):
                output["data"] = {"text/markdown": HINT}


class _References(html.parser.HTMLParser):
    """Collects what a browser would load by itself; links that a reader may follow are none of it."""

    LOADING = {"script", "link", "img", "video", "audio", "source", "iframe", "object", "embed"}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses that `tag` loads."""
        if tag in self.LOADING:
            for name, value in attrs:
                if name in ("src", "href", "data", "poster") and not (value or "").startswith(("data:", "#")):
                    self.found.append(value or "")


def external_references(page: str) -> list[str]:
    """Addresses that a browser would fetch while it shows the page."""
    parser = _References()
    parser.feed(page)
    return parser.found
