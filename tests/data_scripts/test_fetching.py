import errno
import json
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from data_scripts import fetching
from data_scripts.fetching import fetch
from data_scripts.published import FetchError, Remote, git_blob_of, sha256_of
from rflav_lib import ROOT


def get(server, folder, **options):
    published = {key: options.pop(key) for key in ("size", "sha256", "git_blob") if key in options}
    return fetch(
        Remote("file.bin", server.url, **published), folder, **{"timeout": 0.3, "wait": 0.01} | options
    )


def test_file_arrives_and_is_recorded_and_not_fetched_twice(server, tmp_path):
    path = get(server, tmp_path)
    assert path.read_bytes() == server.body
    entry = json.loads((tmp_path / "fetch.lock.json").read_text())["file.bin"]
    assert entry == {"url": server.url, "size": len(server.body), "sha256": sha256_of(path)}
    get(server, tmp_path)
    assert len(server.seen) == 1


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_goes_on_where_it_stopped(server, tmp_path, fault):
    server.plan = [fault]
    assert get(server, tmp_path).read_bytes() == server.body
    assert server.seen == [None, f"bytes={len(server.body) // 2}-"]


def test_server_that_ignores_ranges_starts_again(server, tmp_path):
    server.plan, server.ranges = ["cut"], False
    assert get(server, tmp_path).read_bytes() == server.body


def test_gives_up_on_a_server_that_cuts_off_and_ignores_ranges(server, tmp_path):
    server.plan, server.ranges = [0.2, 0.5] * 20, False
    with pytest.raises(FetchError, match="gave up after 3 tries"):
        get(server, tmp_path, attempts=3)


def test_file_that_changes_between_tries_is_never_mixed(server, tmp_path):
    server.plan = ["cut"]
    with pytest.raises(FetchError, match="run the same command again"):
        get(server, tmp_path, attempts=1)
    server.body, server.etag = server.body[::-1], '"two"'
    assert get(server, tmp_path).read_bytes() == server.body


def test_waits_as_long_as_the_server_says(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(fetching.time, "sleep", pauses.append)
    server.plan = [(429, {"Retry-After": "7"}), (500, {}), (500, {})]
    get(server, tmp_path, wait=1)
    assert pauses == [7, 2, 4]


def test_a_dead_link_fails_at_once(server, tmp_path):
    server.plan = [(404, {})]
    with pytest.raises(FetchError, match="404"):
        get(server, tmp_path)
    assert len(server.seen) == 1


def test_no_such_server_is_said_in_short(tmp_path):
    with pytest.raises(FetchError, match="gave up after 1 tries") as caught:
        fetch(Remote("x", "http://127.0.0.1:9/x"), tmp_path, attempts=1)
    assert "Pool" not in str(caught.value) and "http://127.0.0.1:9/x" in str(caught.value)


def test_gives_up_on_a_server_that_keeps_failing(server, tmp_path):
    server.plan = [(500, {})] * 9
    with pytest.raises(FetchError, match="gave up after 3 tries"):
        get(server, tmp_path, attempts=3)
    assert len(server.seen) == 3


def test_wrong_byte_is_refused(server, tmp_path):
    good = sha256_of(get(server, tmp_path))
    (tmp_path / "file.bin").unlink()
    server.body = server.body[:100] + b"!" + server.body[101:]
    with pytest.raises(FetchError, match="SHA-256"):
        get(server, tmp_path)
    assert not list(tmp_path.glob("file.bin*"))
    with pytest.raises(FetchError, match="SHA-256"):
        get(server, tmp_path / "other", sha256=good)
    with pytest.raises(FetchError, match="git blob"):
        get(server, tmp_path / "third", git_blob="0" * 40)


def test_a_damaged_file_is_reported_not_overwritten(server, tmp_path):
    path = get(server, tmp_path)
    path.write_bytes(b"!" + server.body[1:])
    with pytest.raises(FetchError, match="delete it"):
        get(server, tmp_path)
    assert path.read_bytes()[:1] == b"!"


def test_full_disk(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(FetchError, match="make room"):
        get(server, tmp_path)
    assert not (tmp_path / "file.bin").exists()


def test_folder_that_cannot_be_written(server, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(fetching, "_check_room", refuse)
    with pytest.raises(FetchError, match="Read-only file system"):
        get(server, tmp_path)


def test_several_at_once_fetch_it_once(server, tmp_path):
    threads = [threading.Thread(target=get, args=(server, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file.bin").read_bytes() == server.body and len(server.seen) == 1


@pytest.mark.parametrize("name", ["/etc/file", "../file"])
def test_names_stay_inside(name, tmp_path):
    with pytest.raises(FetchError, match="must lie inside"):
        fetch(Remote(name, "http://127.0.0.1:9/x"), tmp_path)


def test_git_blob_of_a_known_file(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")
    assert git_blob_of(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_good_file_in_a_read_only_folder_is_enough(server, tmp_path):
    get(server, tmp_path)
    for path in (*tmp_path.iterdir(), tmp_path):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(path.stat().st_mtime_ns for path in (*tmp_path.iterdir(), tmp_path))
    get(server, tmp_path)
    assert before == sorted(path.stat().st_mtime_ns for path in (*tmp_path.iterdir(), tmp_path))


@pytest.mark.usefixtures("permissions_hold")
def test_a_folder_that_may_not_be_written(server, tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(FetchError, match="Permission denied"):
        get(server, tmp_path)


FULL_DISK = """
import resource, sys
from data_scripts.fetching import fetch
from data_scripts.published import FetchError, Remote
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # writes beyond fail, as on a full disk
try:
    fetch(Remote("file.bin", sys.argv[1]), sys.argv[2])
except FetchError as error:
    print(error)
"""


def test_a_disk_that_fills_up_while_writing(server, tmp_path):
    command = [sys.executable, "-c", FULL_DISK, server.url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd=ROOT)
    assert "file.bin: cannot be written: File too large" in done.stdout
    assert not (tmp_path / "file.bin").exists()
    assert get(server, tmp_path).read_bytes() == server.body  # there is room again: it goes on
    assert server.seen[-1].startswith("bytes=")


def test_a_web_page_instead_of_the_file(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="a web page instead of the file"):
        get(server, tmp_path)
    assert not (tmp_path / "file.bin").exists() and len(server.seen) == 1


def test_a_file_of_unknown_length_needs_something_published(server, tmp_path):
    server.length = False
    with pytest.raises(FetchError, match="does not say how long"):
        get(server, tmp_path)
    assert get(server, tmp_path, size=len(server.body)).read_bytes() == server.body
    (tmp_path / "file.bin").unlink()
    server.plan = ["cut"]
    with pytest.raises(FetchError, match="bytes instead of"):
        get(server, tmp_path, size=len(server.body))


@pytest.mark.parametrize("ranges", [True, False])
def test_progress_adds_up_to_the_file(server, tmp_path, ranges):
    counts = []
    server.plan, server.ranges = ["cut"], ranges
    get(server, tmp_path, progress=counts.append)
    assert sum(counts) == len(server.body)


def test_progress_may_stop_it(server, tmp_path):
    def stop(count):
        if count > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path, progress=stop)
    assert (tmp_path / "file.bin.part").stat().st_size > 0
    assert get(server, tmp_path).read_bytes() == server.body
    assert server.seen[-1].startswith("bytes=")
