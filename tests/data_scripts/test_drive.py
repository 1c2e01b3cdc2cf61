"""Pages in the form that Google Drive embeds, served from here; the real Drive is out of reach."""

import pytest

from data_scripts import drive
from data_scripts.drive import fetch_folder, list_folder
from data_scripts.published import FetchError


def page(*entries):
    """Entries are (id, name, is_folder)."""
    rows = []
    for entry_id, name, is_folder in entries:
        kind = f"drive/folders/{entry_id}" if is_folder else f"file/d/{entry_id}/view?usp=drive_web"
        rows.append(
            f'<div class="flip-entry" id="entry-{entry_id}" tabindex="0" role="link"><div class="flip-entry-info">'
            f'<a href="https://drive.google.com/{kind}" target="_blank"><div class="flip-entry-visual"></div>'
            f'<div class="flip-entry-title">{name}</div></a></div></div>'
        )
    return f"<html><body><div>{''.join(rows)}</div></body></html>".encode()


@pytest.fixture
def site(server, monkeypatch):
    monkeypatch.setattr(drive, "FOLDER_PAGE", server.site + "/folder/{}")
    monkeypatch.setattr(drive, "FILE", server.site + "/download/{}")
    server.files = {
        "/folder/top": page(("a1", "AIST++_crop.zip", False), ("sub", "landscape &amp; more", True)),
        "/folder/sub": page(("b1", "train.zip", False), ("b2", "größe 1.zip", False)),
        "/download/a1": b"aist",
        "/download/b1": b"train",
        "/download/b2": b"other",
    }
    return server


def test_lists_folders_in_folders(site):
    assert {str(file.path): file.file_id for file in list_folder("top")} == {
        "AIST++_crop.zip": "a1", "landscape & more/train.zip": "b1", "landscape & more/größe 1.zip": "b2",
    }  # fmt: skip


def test_fetches_what_is_wanted(site, tmp_path):
    paths = fetch_folder("top", "landscape", tmp_path)
    assert {path.name: path.read_bytes() for path in paths} == {
        "train.zip": b"train",
        "größe 1.zip": b"other",
    }
    assert not any("a1" in path for path in site.paths)


@pytest.mark.parametrize("name", ["../evil.zip", "..", "/etc/passwd"])
def test_names_that_lead_out_are_refused(site, tmp_path, name):
    site.files["/folder/top"] = page(("a1", name, False))
    with pytest.raises(FetchError, match="names a file"):
        fetch_folder("top", ".", tmp_path)


@pytest.mark.parametrize("fault", [(404, {}), (429, {}), (500, {})])
def test_a_refusal_says_what_to_do_by_hand(site, tmp_path, fault):
    site.plan = [fault]
    with pytest.raises(FetchError, match="drive/folders/top in a browser(.|\n)*--from PATH"):
        fetch_folder("top", ".", tmp_path)


def test_a_quota_page_instead_of_a_file(site, tmp_path, monkeypatch):
    listed = list_folder("top")
    monkeypatch.setattr(drive, "list_folder", lambda folder_id: listed)
    site.kind = "text/html"
    with pytest.raises(FetchError, match="a web page instead(.|\n)*--from PATH"):
        fetch_folder("top", "aist", tmp_path)
    assert not list(tmp_path.rglob("*.zip"))


def test_pages_that_show_nothing_or_something_else(site):
    site.files["/folder/top"] = b"<html>Sign in</html>"
    with pytest.raises(FetchError, match="shows no files"):
        list_folder("top")
    site.files["/folder/top"] = b'<div class="flip-entry"><b>new design</b></div>'
    with pytest.raises(FetchError, match="page has changed"):
        list_folder("top")


def test_folders_that_hold_themselves(site):
    site.files["/folder/top"] = page(("top", "again", True))
    with pytest.raises(FetchError, match="folders in folders"):
        list_folder("top")
