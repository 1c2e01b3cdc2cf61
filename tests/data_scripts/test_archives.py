import io
import os
import stat
import struct
import tarfile
import zipfile
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from data_scripts import archives
from data_scripts.archives import ArchiveError, unpack

NAMES = ['train/a b/it\'s "good".mp4', "train/größe/видео 1.mp4", "test/x.mp4"]


def make_zip(path, entries, kind=stat.S_IFREG):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, data)
    return path


def make_tar(path, entries, kind=tarfile.REGTYPE, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data) if kind == tarfile.REGTYPE else 0
            info.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
            file.addfile(info, io.BytesIO(data))
    return path


MAKERS = {"zip": make_zip, "tar.gz": make_tar}
both = pytest.mark.parametrize("kind", MAKERS)


def refused(archive, tmp_path, match):
    """The archive is refused and nothing of it is left, inside or outside of the folder."""
    before = sorted(tmp_path.parent.rglob("*"))
    with pytest.raises(ArchiveError, match=match) as caught:
        unpack(archive, tmp_path / "out")
    assert archive.name in str(caught.value)
    assert sorted(tmp_path.parent.rglob("*")) == before


@both
def test_unpacks_names_of_every_kind(kind, tmp_path):
    content = [(name, os.urandom(3000)) for name in NAMES]
    archive = MAKERS[kind](tmp_path / f"a.{kind}", content)
    unpack(archive, tmp_path / "out")
    assert {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.mp4")} == set(NAMES)
    assert all((tmp_path / "out" / name).read_bytes() == data for name, data in content)


@both
@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "a/../../evil", "a\\..\\..\\evil"])
def test_paths_out_of_the_folder_are_refused(kind, name, tmp_path):
    refused(
        MAKERS[kind](tmp_path / f"a.{kind}", [("ok", b"1"), (name, b"2")]), tmp_path, "does not stay inside"
    )


def test_links_are_refused(tmp_path):
    refused(make_zip(tmp_path / "a.zip", [("l", b"/etc/passwd")], stat.S_IFLNK), tmp_path, "is a link")
    refused(make_tar(tmp_path / "b.tar", [("l", b"")], tarfile.SYMTYPE), tmp_path, "is a link")
    refused(make_tar(tmp_path / "c.tar", [("l", b"")], tarfile.LNKTYPE), tmp_path, "is a link")


def test_devices_and_pipes_are_refused(tmp_path):
    refused(make_tar(tmp_path / "a.tar", [("d", b"")], tarfile.CHRTYPE), tmp_path, "no plain file")
    refused(make_tar(tmp_path / "b.tar", [("p", b"")], tarfile.FIFOTYPE), tmp_path, "no plain file")
    refused(make_zip(tmp_path / "c.zip", [("p", b"")], stat.S_IFIFO), tmp_path, "no plain file")


@both
def test_names_twice_are_refused(kind, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name") if kind == "zip" else nullcontext():
        archive = MAKERS[kind](tmp_path / f"a.{kind}", [("x", b"1"), ("x", b"2")])
    refused(archive, tmp_path, "twice")


@both
def test_a_file_that_is_a_folder_is_refused(kind, tmp_path):
    refused(
        MAKERS[kind](tmp_path / f"a.{kind}", [("x", b"1"), ("x/y", b"2")]), tmp_path, "a file and a folder"
    )


@both
def test_bombs_are_refused(kind, tmp_path):
    archive = MAKERS[kind](tmp_path / f"a.{kind}", [("zeros", bytes(archives.SMALL + 1))])
    assert archive.stat().st_size < 100_000
    refused(archive, tmp_path, "bomb")


def test_a_zip_whose_header_lies_about_the_size(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("zeros", bytes(1 << 20))])
    data = bytearray(archive.read_bytes())
    for signature, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # the uncompressed size, in both headers
        where = data.find(signature) + at
        assert struct.unpack_from("<I", data, where) == (1 << 20,)
        struct.pack_into("<I", data, where, 100)
    archive.write_bytes(data)
    refused(archive, tmp_path, "damaged|longer")


@both
def test_damaged_archives_are_refused(kind, tmp_path):
    archive = MAKERS[kind](tmp_path / f"a.{kind}", [("x", os.urandom(50_000)), ("y", os.urandom(50_000))])
    data = archive.read_bytes()
    archive.write_bytes(data[:20_000] + bytes([data[20_000] ^ 255]) + data[20_001:])
    refused(archive, tmp_path, "damaged")
    archive.write_bytes(data[: len(data) // 2])
    refused(archive, tmp_path, "damaged|neither")


def test_what_is_no_archive(tmp_path):
    (tmp_path / "a.rar").write_bytes(b"Rar!" + bytes(100))
    refused(tmp_path / "a.rar", tmp_path, "unpack it by hand")
    refused(tmp_path / "none.zip", tmp_path, "no such file")


def test_no_room(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip", [("x", b"12345")])
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=4))
    refused(archive, tmp_path, "make room")


def test_a_folder_that_is_there_stays(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("x", b"1")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    refused(archive, tmp_path, "is there already")


@pytest.mark.usefixtures("permissions_hold")
def test_read_only_folder(tmp_path):
    (tmp_path / "in").mkdir()
    archive = make_zip(tmp_path / "a.zip", [("x", b"1")])
    (tmp_path / "in").chmod(0o555)
    with pytest.raises(ArchiveError, match="Permission denied"):
        unpack(archive, tmp_path / "in" / "out")
