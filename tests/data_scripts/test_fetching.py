import errno
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from data_scripts import fetching
from data_scripts.fetching import FetchError, Remote, fetch, git_blob_of, sha256_of

BODY = bytes(range(256)) * 4096


@pytest.fixture
def server():
    """A server whose next answers are in `plan`; an empty plan means: serve the file as a good one would."""
    state = SimpleNamespace(plan=[], seen=[], body=BODY, etag='"one"', ranges=True)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            state.seen.append(self.headers.get("Range"))
            fault = state.plan.pop(0) if state.plan else None
            if isinstance(fault, tuple):
                self.send_response(fault[0])
                for name, value in fault[1].items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            wanted = self.headers.get("Range")
            same = self.headers.get("If-Range") == state.etag
            start = int(wanted[6:-1]) if wanted and same and state.ranges else 0
            rest = state.body[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.body) - 1}/{len(state.body)}")
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("ETag", state.etag)
            self.end_headers()
            half = len(rest) // 2
            if fault == "cut":
                self.wfile.write(rest[:half])
            elif fault == "stall":
                self.wfile.write(rest[:half])
                self.wfile.flush()
                time.sleep(1)
            else:
                self.wfile.write(rest)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{http.server_port}/file.bin"
    yield state
    http.shutdown()
    http.server_close()


def get(server, folder, **options):
    published = {key: options.pop(key) for key in ("size", "sha256", "git_blob") if key in options}
    return fetch(
        Remote("file.bin", server.url, **published), folder, **{"timeout": 0.3, "wait": 0.01} | options
    )


def test_file_arrives_and_is_recorded_and_not_fetched_twice(server, tmp_path):
    path = get(server, tmp_path)
    assert path.read_bytes() == BODY
    entry = json.loads((tmp_path / "fetch.lock.json").read_text())["file.bin"]
    assert entry == {"url": server.url, "size": len(BODY), "sha256": sha256_of(path)}
    get(server, tmp_path)
    assert len(server.seen) == 1


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_goes_on_where_it_stopped(server, tmp_path, fault):
    server.plan = [fault]
    assert get(server, tmp_path).read_bytes() == BODY
    assert server.seen == [None, f"bytes={len(BODY) // 2}-"]


def test_server_that_ignores_ranges_starts_again(server, tmp_path):
    server.plan, server.ranges = ["cut"], False
    assert get(server, tmp_path).read_bytes() == BODY


def test_file_that_changes_between_tries_is_never_mixed(server, tmp_path):
    server.plan = ["cut"]
    with pytest.raises(FetchError, match="run the same command again"):
        get(server, tmp_path, attempts=1)
    server.body, server.etag = BODY[::-1], '"two"'
    assert get(server, tmp_path).read_bytes() == BODY[::-1]


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


def test_gives_up_on_a_server_that_keeps_failing(server, tmp_path):
    server.plan = [(500, {})] * 9
    with pytest.raises(FetchError, match="gave up after 3 tries"):
        get(server, tmp_path, attempts=3)
    assert len(server.seen) == 3


def test_wrong_byte_is_refused(server, tmp_path):
    good = sha256_of(get(server, tmp_path))
    (tmp_path / "file.bin").unlink()
    server.body = BODY[:100] + b"!" + BODY[101:]
    with pytest.raises(FetchError, match="SHA-256"):
        get(server, tmp_path)
    assert not list(tmp_path.glob("file.bin*"))
    with pytest.raises(FetchError, match="SHA-256"):
        get(server, tmp_path / "other", sha256=good)
    with pytest.raises(FetchError, match="git blob"):
        get(server, tmp_path / "third", git_blob="0" * 40)


def test_a_damaged_file_is_reported_not_overwritten(server, tmp_path):
    path = get(server, tmp_path)
    path.write_bytes(b"!" + BODY[1:])
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
    assert (tmp_path / "file.bin").read_bytes() == BODY and len(server.seen) == 1


@pytest.mark.parametrize("name", ["/etc/file", "../file"])
def test_names_stay_inside(name, tmp_path):
    with pytest.raises(FetchError, match="must lie inside"):
        fetch(Remote(name, "http://127.0.0.1:9/x"), tmp_path)


def test_git_blob_of_a_known_file(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")
    assert git_blob_of(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"
