import os
import threading
import time
from types import SimpleNamespace

import pytest

from data_scripts import fetch_many
from data_scripts.fetch_many import DEAD, fetch_all
from data_scripts.published import FetchError, LockFile, Remote


def remotes(server, count, **facts):
    server.files = {f"/{number}": os.urandom(10_000) for number in range(count)}
    return [Remote(f"videos/{number}.mp4", f"{server.site}/{number}", **facts) for number in range(count)]


def get(wanted, folder, **options):
    return fetch_all(wanted, folder, **{"timeout": 5, "wait": 0.01} | options)


def test_all_arrive_and_are_locked_with_few_connections(server, tmp_path):
    wanted = remotes(server, 12)
    server.plan = ["slow"] * 12
    paths = get(wanted, tmp_path, connections=3)
    assert [path.read_bytes() for path in paths] == [server.files[f"/{number}"] for number in range(12)]
    assert set(LockFile(tmp_path).read()) == {remote.name for remote in wanted}
    assert 1 < server.most_busy <= 3


def test_only_what_is_missing_is_fetched_again(server, tmp_path):
    wanted = remotes(server, 4)
    paths = get(wanted, tmp_path)
    paths[2].unlink()
    server.paths.clear()
    get(wanted, tmp_path)
    assert server.paths == ["/2"]


def test_one_dead_link_costs_only_itself_and_is_named(server, tmp_path):
    wanted = remotes(server, 6)
    server.plans = {"/3": [(404, {})]}
    with pytest.raises(FetchError, match="1 of 6 files(.|\n)*/3: the server answered 404"):
        get(wanted, tmp_path)
    assert len(list(tmp_path.glob("videos/*.mp4"))) == 5
    server.plans = {}
    assert len(get(wanted, tmp_path)) == 6


def test_many_dead_links_do_not_stop_the_rest(server, tmp_path):
    wanted = remotes(server, 3 * DEAD)
    server.plans = {f"/{number}": [(404, {})] for number in range(2 * DEAD)}
    with pytest.raises(FetchError, match=f"{2 * DEAD} of {3 * DEAD} files"):
        get(wanted, tmp_path)
    assert len(list(tmp_path.glob("videos/*.mp4"))) == DEAD


def test_a_dead_server_is_not_asked_for_every_file(server, tmp_path):
    wanted = remotes(server, 5 * DEAD)
    server.plan = [(500, {})] * 1000
    with pytest.raises(FetchError, match="not asked for|gave up"):
        get(wanted, tmp_path, wait=0.001)
    assert len(set(server.paths)) <= DEAD + 4


def test_when_a_server_asks_to_wait_everybody_waits(server, tmp_path):
    wanted = remotes(server, 6)
    server.plans = {"/0": [(429, {"Retry-After": "0.5"})]}
    begin = time.monotonic()
    get(wanted, tmp_path, connections=1)
    assert time.monotonic() - begin >= 0.5
    gate = fetch_many._Gate(threading.Event())
    other = threading.Thread(target=gate.sleep, args=(0.5,))
    begin = time.monotonic()
    other.start()
    time.sleep(0.05)
    gate.wait()
    assert time.monotonic() - begin >= 0.5
    other.join()


def test_no_room_for_all_of_them(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_many.shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
    with pytest.raises(FetchError, match="still to come"):
        get(remotes(server, 10), tmp_path, about=10_000)
    with pytest.raises(FetchError, match="still to come"):
        get(remotes(server, 10, size=10_000), tmp_path)
    assert server.paths == []
    assert len(get(remotes(server, 4, size=10_000), tmp_path)) == 4


def test_ctrl_c_leaves_what_came(server, tmp_path, monkeypatch):
    wanted = remotes(server, 4)
    calls = []

    def interrupted(self, remote):
        calls.append(remote)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return one(self, remote)

    one = fetch_many._Run.one
    monkeypatch.setattr(fetch_many._Run, "one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(wanted, tmp_path, connections=1)
    assert len(list(tmp_path.glob("videos/*.mp4"))) == 2
    monkeypatch.undo()
    assert len(get(wanted, tmp_path)) == 4
