"""Public Google Drive folders without an account: the page that lists one, and the files it names.

Drive has no interface for this that needs no key. The page read here is the one that web sites embed; it may change,
and Drive refuses popular files for a day. So every failure says what to do by hand.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import requests
from bs4 import BeautifulSoup

from data_scripts.fetch_many import fetch_all
from data_scripts.published import FetchError, Remote, in_short

FOLDER_PAGE = "https://drive.google.com/embeddedfolderview?id={}"
FILE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"
BROWSER = "https://drive.google.com/drive/folders/{}"
DEEPEST = 4  # folders in folders


@dataclass(frozen=True)
class DriveFile:
    """A file of a folder: its path below that folder, and Drive's name for it."""

    path: PurePosixPath
    file_id: str


def list_folder(folder_id: str) -> list[DriveFile]:
    """All files of a public folder and of the folders in it.

    Raises:
        FetchError: the page cannot be had or shows no files; says what to do by hand.
    """
    try:
        files = _list(folder_id, PurePosixPath(), 0)
    except requests.RequestException as error:
        raise FetchError(
            f"Google Drive does not answer ({in_short(error)}); {_by_hand(folder_id)}"
        ) from error
    if not files:
        raise FetchError(f"Google Drive shows no files in this folder; {_by_hand(folder_id)}")
    return files


def fetch_folder(folder_id: str, wanted: str, into: str | Path) -> list[Path]:
    """Fetch the files of a public folder whose path matches the pattern `wanted` (upper and lower case are one).

    Args:
        folder_id: the last part of the folder's address.
        wanted: a regular expression, searched for in the path.
        into: where to; `fetch.lock.json` there remembers the SHA-256 of each file from its first download on.

    Raises:
        FetchError: see `list_folder` and `fetch_all`.
    """
    files = [file for file in list_folder(folder_id) if re.search(wanted, str(file.path), re.IGNORECASE)]
    if not files:
        raise FetchError(f"no file of this Google Drive folder matches {wanted!r}; {_by_hand(folder_id)}")
    remotes = [Remote(str(file.path), FILE.format(file.file_id)) for file in files]
    try:
        return fetch_all(remotes, into, connections=2, description="Google Drive")
    except FetchError as error:
        raise FetchError(f"{error}\nIf Google Drive keeps refusing: {_by_hand(folder_id)}") from error


def _by_hand(folder_id: str) -> str:
    return (
        f"open {BROWSER.format(folder_id)} in a browser, download what you need, "
        "and give the archives or the unpacked folder with --from PATH"
    )


def _list(folder_id: str, below: PurePosixPath, depth: int) -> list[DriveFile]:
    if depth > DEEPEST:
        raise FetchError(f"over {DEEPEST} folders in folders; {_by_hand(folder_id)}")
    response = requests.get(FOLDER_PAGE.format(folder_id), timeout=30.0, headers={"User-Agent": "rflav-lab"})
    response.raise_for_status()
    files = []
    for entry in BeautifulSoup(response.text, "html.parser").select("div.flip-entry"):
        title, link = entry.select_one(".flip-entry-title"), entry.find("a", href=True)
        entry_id = str(entry.get("id", "")).removeprefix("entry-")
        if title is None or link is None or not entry_id:
            raise FetchError(f"Google Drive's page has changed; {_by_hand(folder_id)}")
        name = title.get_text().strip()
        if not name or "/" in name or name in (".", ".."):
            raise FetchError(f"Google Drive names a file {name!r}; {_by_hand(folder_id)}")
        if "/folders/" in str(link["href"]):
            files += _list(entry_id, below / name, depth + 1)
        else:
            files.append(DriveFile(below / name, entry_id))
    return files
