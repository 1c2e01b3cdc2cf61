"""`make html`: all notebooks as a static site, linked with each other and with the source they speak of.

    python tools/html_site.py                 # outputs/html/index.html

It is made of what the notebooks store; nothing is executed. It opens from disk, without a network, and appears
whole or not at all.
"""

import argparse
import html
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from offline_pages import markdown_to_html, offline_page
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from tqdm.auto import tqdm

from rflav_lib.files import refuse_other, whole_folder

ROOT = Path(__file__).resolve().parents[1]
BAR = (
    '<nav style="font: 14px sans-serif; padding: 8px 16px; border-bottom: 1px solid #ccc">'
    '<a href="{index}">RFLAV Lab: all notebooks</a></nav>'
)
INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>RFLAV Lab</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color-scheme: light dark }}
li {{ margin-bottom: 1em }} p {{ margin: 0 }} .solutions {{ font-size: 90% }}
</style></head><body><h1>RFLAV Lab</h1>
<p>Endless joint audio-video generation with rolling flow matching, step by step.</p><ul>{entries}</ul>
</body></html>
"""


class SiteError(Exception):
    """A notebook that cannot be shown, or a link that leads nowhere; says which."""


@dataclass(frozen=True)
class Page:
    """A notebook of the site: where it stands in the repository, and its content."""

    path: Path
    notebook: NotebookNode

    @property
    def title(self) -> str:
        """The text of its first heading."""
        return self.notebook.cells[0].source.splitlines()[0].lstrip("# ")

    def line(self, name: str) -> str:
        """The paragraph `**Name.** ...` of the first cell, as HTML; empty if there is none."""
        found = re.search(
            rf"\*\*{name}\.\*\* (.*?)(?=\n\n|\n\*\*|\Z)", self.notebook.cells[0].source, re.DOTALL
        )
        return markdown_to_html(found[1]) if found else ""


def read_pages(folder: Path) -> list[Page]:
    """Notebooks and solutions in reading order.

    Raises:
        SiteError: none there, or one that cannot be read.
    """
    paths = sorted(folder.glob("*.ipynb")) + sorted(folder.glob("solutions/*.ipynb"))
    if not paths:
        raise SiteError(f"{folder}: no notebooks here")
    pages = []
    for path in paths:
        try:
            pages.append(Page(path, nbformat.read(path, as_version=4)))
        except (OSError, ValueError) as error:
            raise SiteError(f"{path}: not readable as a notebook: {error}") from error
    return pages


def target_of(link: str, page: Path, root: Path) -> Path | None:
    """The file of the repository that a link in `page` points to; None if it leads elsewhere.

    Raises:
        SiteError: it points to nothing.
    """
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    target = (page.parent / unquote(parts.path)).resolve()
    if not target.is_file() or not target.is_relative_to(root):
        raise SiteError(f"{page}: links to {link}, which is no file of this repository")
    return target


def place(path: Path, root: Path) -> PurePosixPath:
    """Where a file of the repository stands in the site: notebooks at the top, other files under source/."""
    inside = PurePosixPath(path.relative_to(root).as_posix())
    if inside.suffix == ".ipynb":
        return inside.relative_to("notebooks").with_suffix(".html")
    return PurePosixPath("source") / f"{inside}.html"


def up(place_in_site: PurePosixPath) -> str:
    """The way from a page to the top of the site."""
    return "../" * (len(place_in_site.parts) - 1)


def linked(text: str, page: Page, root: Path) -> tuple[str, set[Path]]:
    """The page with its links led to the site, and the files that these links need."""
    here, needed = place(page.path, root), set()
    soup = BeautifulSoup(text, "html.parser")
    for anchor in soup.find_all("a", href=True):
        address = str(anchor["href"])
        target = target_of(address, page.path, root)
        if target is not None:
            needed.add(target)
            fragment = urlsplit(address).fragment
            anchor["href"] = f"{up(here)}{place(target, root)}" + (f"#{fragment}" if fragment else "")
    bar = BeautifulSoup(BAR.format(index=f"{up(here)}index.html"), "html.parser")
    assert soup.body is not None, "every page has one"
    soup.body.insert(0, bar)
    return str(soup), needed


def source_page(path: Path, root: Path) -> str:
    """A text file with colours and line numbers.

    Raises:
        SiteError: it is not text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SiteError(f"{path}: a notebook links to it, but it is no text") from error
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = TextLexer()
    name = path.relative_to(root).as_posix()
    return highlight(text, lexer, HtmlFormatter(full=True, linenos="table", title=name))


def index_page(pages: list[Page], root: Path) -> str:
    """The list of notebooks, each with its goal, its cost and its solutions."""
    solutions = {page.path.stem.removesuffix("_solutions"): page for page in pages if is_solution(page)}
    entries = []
    for page in pages:
        if is_solution(page):
            continue
        entry = f'<li><a href="{place(page.path, root)}"><b>{html.escape(page.title)}</b></a>'
        entry += f"{page.line('Goal')}{page.line('Cost')}"
        if solution := solutions.get(page.path.stem):
            entry += f'<a class="solutions" href="{place(solution.path, root)}">solutions</a>'
        entries.append(f"{entry}</li>")
    return INDEX.format(entries="\n".join(entries))


def is_solution(page: Page) -> bool:
    """Whether a page holds the solutions of another."""
    return page.path.parent.name == "solutions"


def build(root: Path, folder: Path) -> Path:
    """Write the site of the notebooks under `root` into `folder`, replacing one that was there. Returns its index.

    Raises:
        SiteError: a notebook that cannot be read or shown, or a link that leads nowhere.
        FileExistsError: the folder is there and holds something else than a site.
    """
    refuse_other(folder, "index.html")  # before the work
    pages = read_pages(root / "notebooks")
    files, needed = {PurePosixPath("index.html"): index_page(pages, root)}, set()
    for page in tqdm(pages, desc="pages", unit="notebook"):
        try:
            text = offline_page(page.notebook, page.title)
        except ValueError as error:
            raise SiteError(f"{page.path}: {error}") from error
        files[place(page.path, root)], wanted = linked(text, page, root)
        needed |= wanted
    for path in sorted(needed - {page.path for page in pages}):
        files[place(path, root)] = source_page(path, root)
    with whole_folder(folder, "index.html") as draft:
        for name, text in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(text, encoding="utf-8")
    return folder / "index.html"


def main() -> int:
    """Build the site for the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "html")
    try:
        print(build(ROOT, parser.parse_args().out))
    except (OSError, SiteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
