"""The static site: complete, linked without a loose end, and whole or not at all."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import html_site
import nbformat
import pytest
from bs4 import BeautifulSoup, SoupStrainer
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from offline_pages import external_references

HEAD = "# 00 · First\n\n**Goal.** See $x$,\nand more.\n**Cost.** About a minute and 1 GB.\n\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a notebook, its solutions, and a module that it links to."""
    root = tmp_path / "a repository"
    (root / "notebooks" / "solutions").mkdir(parents=True)
    (root / "lib").mkdir()
    (root / "lib" / "mel.py").write_text("def mel() -> None: ...\n")
    write(root / "notebooks" / "00_first.ipynb", HEAD + LINKS)
    write(
        root / "notebooks" / "solutions" / "00_first_solutions.ipynb",
        "# Answers\n\n[back](../00_first.ipynb)",
    )
    return root


LINKS = "[answers](solutions/00_first_solutions.ipynb#1) [code](../lib/mel.py) [paper](https://example.org/a.ipynb)"


def write(path: Path, text: str) -> None:
    """A notebook of one markdown cell and one of code."""
    nbformat.write(new_notebook(cells=[new_markdown_cell(text), new_code_cell("print(2 + 2)")]), path)


def loose_ends(site: Path) -> list[str]:
    """Links between pages of the site that lead nowhere."""
    found = []
    for page in site.rglob("*.html"):
        anchors = SoupStrainer("a", href=True)
        for anchor in BeautifulSoup(page.read_text(), "html.parser", parse_only=anchors).find_all("a"):
            parts = urlsplit(anchor["href"])
            if parts.path and not parts.scheme and not (page.parent / unquote(parts.path)).is_file():
                found.append(f"{page.name}: {anchor['href']}")
    return found


def test_notebooks_solutions_and_sources_are_linked(root, tmp_path):
    index = html_site.build(root, tmp_path / "site")
    names = {path.relative_to(index.parent).as_posix() for path in index.parent.rglob("*.html")}
    assert names == {
        "index.html",
        "00_first.html",
        "solutions/00_first_solutions.html",
        "source/lib/mel.py.html",
    }
    assert loose_ends(index.parent) == []
    page = (index.parent / "00_first.html").read_text()
    assert (
        'href="solutions/00_first_solutions.html#1"' in page and 'href="https://example.org/a.ipynb"' in page
    )
    assert 'href="../00_first.html"' in (index.parent / "solutions" / "00_first_solutions.html").read_text()
    text = index.read_text()
    assert (
        "00 · First" in text
        and "and more." in text
        and "About a minute" in text
        and "<math" in text
        and ">solutions</a>" in text
    )


@pytest.mark.parametrize("link", ["../lib/gone.py", "01_gone.ipynb", "../../outside.txt"])
def test_a_link_that_leads_nowhere_stops_it_and_leaves_the_old_site(root, tmp_path, link):
    (tmp_path / "outside.txt").write_text("not ours")
    site = tmp_path / "site"
    html_site.build(root, site)
    before = (site / "index.html").read_text()
    write(root / "notebooks" / "01_next.ipynb", f"# 01\n\n[x]({link})")
    with pytest.raises(html_site.SiteError, match=f"01_next.ipynb: links to {link}"):
        html_site.build(root, site)
    assert (site / "index.html").read_text() == before


def test_broken_and_missing_notebooks_are_named(root, tmp_path):
    (root / "notebooks" / "01_next.ipynb").write_text("{")
    with pytest.raises(html_site.SiteError, match="01_next.ipynb: not readable"):
        html_site.build(root, tmp_path / "site")
    with pytest.raises(html_site.SiteError, match="no notebooks here"):
        html_site.build(tmp_path, tmp_path / "site")


@pytest.mark.slow
def test_the_site_of_this_repository(tmp_path, monkeypatch):
    """Every link, formula and output. Code alone is left out: it holds none of them, and colouring it takes longest."""
    read_pages = html_site.read_pages

    def without_code(folder):
        pages = read_pages(folder)
        for cell in (cell for page in pages for cell in page.notebook.cells):
            cell.source = "" if cell.cell_type == "code" else cell.source
        return pages

    monkeypatch.setattr(html_site, "read_pages", without_code)
    index = html_site.build(html_site.ROOT, tmp_path / "site")
    assert loose_ends(index.parent) == []
    pages = list(index.parent.glob("*.html"))
    assert len(pages) == 1 + len(list((html_site.ROOT / "notebooks").glob("*.ipynb")))
    for page in pages:
        assert external_references(page.read_text()) == []
