"""The commands of landscape and aist from fetch to clips that ClipFolder reads, with a server on this machine."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from data_scripts import aist, drive, landscape
from data_scripts.bundle import DRIVE_FOLDER
from data_scripts.published import FetchError, sha256_of
from rflav_lib.data.clips import ClipFolder
from rflav_lib.media import probe
from tests.media_files import clicks, regular, write_media

SPLITS = Path(os.environ.get("RFLAV_ASSETS", "")) / "splits"
needs_lists = pytest.mark.skipif(not SPLITS.is_dir(), reason="RFLAV_ASSETS with splits/ is not set")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A clip of 1.2 s, 96x64."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_media(path, regular(25, 1.2), 1.2, clicks((0.3,), 1.2, 44100, 2), rate=44100, size=(96, 64))
    return path.read_bytes()


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def run(script, root, *words):
    step, *rest = words
    if step == "prepare":
        rest += ["--size", "64", "--workers", "1"]
    return script.main([step, "--root", str(root), *map(str, rest)])


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.mp4"))


def test_landscape_from_archives_in_an_archive(tmp_path, video, capsys):
    root = tmp_path / "land"
    inner = zipped(
        tmp_path / "inner.zip",
        {
            "landscape/train/wind noise/a b.mp4": video,
            "landscape/train/rain/c.avi.mp4": video,
            "landscape/test/rain/d.mp4": video,
            "landscape/readme.txt": b"hello",
        },
    ).read_bytes()
    archive = zipped(
        tmp_path / "drive-001.zip", {"bundle/landscape.zip": inner, "bundle/AIST++_crop/train/x.mp4": video}
    )
    assert run(landscape, root, "fetch", "--from", archive) == 0
    assert run(landscape, root, "prepare") == 0
    said = capsys.readouterr().out
    assert "left out, .txt: no media: 1 files" in said and "left out, another dataset: 1 files" in said
    assert names(root / "train") == ["rain/c.avi.mp4", "wind noise/a b.mp4"]
    folder = ClipFolder(root, "train", frames=10, size=64, strict=True)
    assert folder.class_names == ("rain", "wind noise") and len(folder) == 2 * 3
    assert ClipFolder(root, "test", frames=10, size=64, strict=True).class_names == folder.class_names
    assert run(landscape, root, "check", "--workers", "1") == 0
    assert run(landscape, root, "fetch", "--from", archive) == 0  # done: nothing is unpacked again
    assert "is there already" in capsys.readouterr().out


def test_landscape_from_a_folder_that_the_user_has(tmp_path, video):
    mine = tmp_path / "my data"
    for name in ("train/rain/a.mp4", "test/rain/b.mp4"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(video)
    assert run(landscape, tmp_path / "land", "fetch", "--from", mine) == 0
    assert run(landscape, tmp_path / "land", "prepare", "--from", mine) == 0
    assert names(tmp_path / "land") == ["test/rain/b.mp4", "train/rain/a.mp4"]
    assert names(mine) == ["test/rain/b.mp4", "train/rain/a.mp4"]
    assert run(landscape, mine, "prepare", "--from", mine) == 1  # it would write over what it reads


def test_landscape_from_drive(server, tmp_path, video, monkeypatch):
    monkeypatch.setattr(drive, "FOLDER_PAGE", server.site + "/folder/{}")
    monkeypatch.setattr(drive, "FILE", server.site + "/file/{}")
    entry = (
        '<div class="flip-entry" id="entry-{0}"><a href="https://drive.google.com/file/d/{0}/view">'
        '<div class="flip-entry-title">{1}</div></a></div>'
    )
    archive = zipped(
        tmp_path / "landscape.zip", {"landscape/train/rain/a.mp4": video, "landscape/test/rain/b.mp4": video}
    )
    page = entry.format("A", "landscape.zip") + entry.format("B", "AIST++_crop.zip")
    server.files = {f"/folder/{DRIVE_FOLDER}": page.encode(), "/file/A": archive.read_bytes()}
    assert (
        run(landscape, tmp_path / "land", "fetch") == 0 and run(landscape, tmp_path / "land", "prepare") == 0
    )
    assert names(tmp_path / "land" / "train") == ["rain/a.mp4"]
    assert "/file/B" not in server.paths
    assert (tmp_path / "land" / "raw" / "bundle" / "fetch.lock.json").is_file()


def test_landscape_when_drive_refuses(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(drive, "FOLDER_PAGE", server.site + "/folder/{}")
    server.plan = [(403, {})]
    assert run(landscape, tmp_path / "land", "fetch") == 1
    assert "in a browser" in (said := capsys.readouterr().err) and "--from PATH" in said


def test_landscape_from_the_sources(server, tmp_path, monkeypatch, capsys):
    twice = "-a_b,1,wind noise,train"
    rows = ("ytid,start_time,class,set", twice, twice, "xyz,0,rain,test", "gone,5,rain,train", "")
    listed = "\r\n".join(rows)
    server.files = {"/list.csv": listed.encode()}
    monkeypatch.setattr(
        landscape,
        "LIST",
        replace(landscape.LIST, url=f"{server.site}/list.csv", size=len(listed), sha256=None),
    )
    root = tmp_path / "land"
    assert run(landscape, root, "prepare", "--original") == 1
    assert "run fetch --original first" in capsys.readouterr().err
    assert run(landscape, root, "fetch", "--original") == 0
    links = (root / "raw" / "youtube.txt").read_text().split()
    assert links == [f"https://www.youtube.com/watch?v={name}" for name in ("-a_b", "gone", "xyz")]
    assert run(landscape, root, "prepare", "--original") == 1
    videos = root / "raw" / "videos"
    videos.mkdir()
    sound = clicks((1.4,), 12, 16000, 1)
    for name in ("-a_b.mp4", "A title [with] brackets [xyz].mkv"):
        write_media(videos / name, regular(5, 12), 12, sound, rate=16000, layout="mono")
    assert run(landscape, root, "prepare", "--original") == 0
    assert names(root / "train") == ["wind noise/-a_b_1.mp4"] and names(root / "test") == ["rain/xyz_0.mp4"]
    assert (root / "missing.txt").read_text() == "gone\n"
    assert probe(root / "train" / "wind noise" / "-a_b_1.mp4").frames_at(10) == 100


@pytest.mark.parametrize(
    "row",
    ["../x,1,rain,train", "x,one,rain,train", "x,1,../rain,train", "x,1,rain,valid", ",1,rain,train", "x,1"],
)
def test_a_list_that_is_none(tmp_path, row):
    (tmp_path / "list.csv").write_text(f"ytid,start_time,class,set\nok,1,rain,train\n{row}\n")
    with pytest.raises(RuntimeError, match="line 3"):
        landscape.read_list(tmp_path / "list.csv")


@needs_lists
def test_the_published_lists():
    path = SPLITS / "landscape_tempotokens.csv"
    assert (path.stat().st_size, sha256_of(path)) == (landscape.LIST.size, landscape.LIST.sha256)
    rows = landscape.read_list(path)
    assert (
        len(rows) == 1171
        and len({row.label for row in rows}) == 9
        and len({row.target for row in rows}) == 1171
    )
    for remote in aist.LISTS:
        path = SPLITS / f"aistpp_{remote.name}"
        assert (path.stat().st_size, sha256_of(path)) == (remote.size, remote.sha256)


@needs_lists
def test_the_published_split_of_aist(tmp_path):
    for remote in aist.LISTS:
        (tmp_path / remote.name).write_bytes((SPLITS / f"aistpp_{remote.name}").read_bytes())
    train, test = (aist.sequences(tmp_path, split, 1, False) for split in ("train", "test"))
    assert (len(train), len(test)) == (980, 20) and not set(train) & set(test)
    assert all("_c01_" in name for name in train + test)
    assert len(aist.sequences(tmp_path, "train", 1, True)) == 980 - 28


@pytest.fixture
def database(server, monkeypatch, video):
    """The database and its lists: three dances to train on, one to test."""
    lists = {
        "crossmodal_train.txt": "gA_sBM_cAll_d1_mA0_ch01\ngA_sBM_cAll_d2_mA0_ch02\ngA_sBM_cAll_d3_mA0_ch03\n",
        "crossmodal_test.txt": "gB_sBM_cAll_d1_mB0_ch01\n",
        "ignore_list.txt": "gA_sBM_cAll_d3_mA0_ch03\n",
    }
    server.files = {f"/lists/{name}": text.encode() for name, text in lists.items()}
    server.body = video
    remotes = tuple(
        replace(remote, url=f"{server.site}/lists/{remote.name}", size=None, sha256=None)
        for remote in aist.LISTS
    )
    monkeypatch.setattr(aist, "LISTS", remotes)
    monkeypatch.setattr(aist, "VIDEOS", f"{server.site}/video/")
    monkeypatch.setattr(aist, "BYTES_EACH", len(video))
    return server


def test_aist_fetches_nothing_before_the_terms_are_accepted(database, tmp_path, monkeypatch, capsys):
    assert run(aist, tmp_path, "fetch", "--original") == 1
    said = capsys.readouterr()
    assert aist.TERMS in said.out and "--accept-terms" in said.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in ("", "y", "no"):
        monkeypatch.setattr("builtins.input", lambda prompt, answer=answer: answer)
        assert run(aist, tmp_path, "fetch", "--original") == 1
    assert database.paths == []
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    assert run(aist, tmp_path, "fetch", "--original", "--first", 1) == 0
    assert len(database.paths) == 4


def test_aist_from_the_sources(database, tmp_path, capsys):
    fetch = ("fetch", "--original", "--accept-terms")
    database.plans = {"/video/gA_sBM_c01_d2_mA0_ch02.mp4": [(404, {})]}
    assert run(aist, tmp_path, *fetch) == 1
    assert "1 of 4 files" in (said := capsys.readouterr()).err and aist.TERMS in said.out
    assert run(aist, tmp_path, "prepare", "--original") == 0
    assert (tmp_path / "missing.txt").read_text() == "gA_sBM_c01_d2_mA0_ch02\n"
    database.paths.clear()
    assert run(aist, tmp_path, *fetch) == 0 and database.paths == ["/video/gA_sBM_c01_d2_mA0_ch02.mp4"]
    assert run(aist, tmp_path, "prepare", "--original") == 0
    assert len(names(tmp_path / "train")) == 3 and not (tmp_path / "missing.txt").exists()
    assert len(ClipFolder(tmp_path, "test", frames=10, size=64, strict=True).files) == 1
    assert run(aist, tmp_path, "fetch", "--original", "--accept-terms", "--camera", 10) == 1


def test_aist_leaves_out_the_ignore_list_only_when_asked(database, tmp_path):
    words = ("--original", "--without-ignored")
    assert run(aist, tmp_path, "fetch", *words, "--accept-terms") == 0
    assert run(aist, tmp_path, "prepare", *words) == 0
    assert len(names(tmp_path / "train")) == 2


def test_aist_from_the_bundle(tmp_path, video):
    archive = zipped(
        tmp_path / "AIST++_crop.zip",
        {"AIST++_crop/AIST++_crop/train/gA_c01.mp4": video, "AIST++_crop/AIST++_crop/test/gB_c01.mp4": video},
    )
    assert run(aist, tmp_path / "a", "fetch", "--from", archive, "--accept-terms") == 0
    assert run(aist, tmp_path / "a", "prepare") == 0
    assert names(tmp_path / "a" / "train") == ["gA_c01.mp4"] and names(tmp_path / "a" / "test") == [
        "gB_c01.mp4"
    ]


def test_two_files_for_one_clip_are_told(tmp_path, video, capsys):
    archive = zipped(tmp_path / "x.zip", {"train/rain/a.mp4": video, "train/rain/a.avi": video})
    assert run(landscape, tmp_path / "a", "fetch", "--from", archive) == 0
    assert run(landscape, tmp_path / "a", "prepare") == 1
    assert "would both become" in capsys.readouterr().err


def test_what_is_given_has_to_be_there(tmp_path, video, capsys):
    clip = tmp_path / "a.mp4"
    clip.write_bytes(video)
    root = tmp_path / "land"
    assert run(landscape, root, "fetch", "--from", clip, tmp_path / "nope.mp4") == 1
    assert "nope.mp4: no such file or folder" in capsys.readouterr().err
    assert run(landscape, root, "fetch", "--from", clip) == 1
    assert "a.mp4: lies neither below train/ nor below test/" in capsys.readouterr().err
    assert not root.exists()


def test_clips_beside_an_archive_keep_their_split_and_class(tmp_path, video, capsys):
    archive, root = zipped(tmp_path / "x.zip", {"train/rain/0.mp4": video}), tmp_path / "land"
    clips = [tmp_path / place for place in ("train/rain/1.mp4", "test/rain/1.mp4", "other/train/rain/1.mp4")]
    for clip in clips:
        clip.parent.mkdir(parents=True, exist_ok=True)
        clip.write_bytes(video)
    assert run(landscape, root, "fetch", "--from", archive, *clips) == 1
    assert "would both become train/rain/1.mp4: rename one" in capsys.readouterr().err
    assert run(landscape, root, "fetch", "--from", archive, *clips[:2]) == 0
    assert run(landscape, root, "prepare") == 0
    assert names(root / "train") == ["rain/0.mp4", "rain/1.mp4"] and names(root / "test") == ["rain/1.mp4"]
    assert run(landscape, tmp_path / "alone", "fetch", "--from", clips[0]) == 0, "and without an archive"
    assert names(tmp_path / "alone" / "source") == ["clips/train/rain/1.mp4"]


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        (
            landscape,
            ("fetch", "--original", "--from", "."),
            "--from is the bundle and --original are the sources",
        ),
        (landscape, ("prepare", "--original", "--from", "."), "leave one out"),
        (landscape, ("prepare", "--videos", "/nope"), "--videos is of no use without --original"),
        (landscape, ("prepare", "--original", "--videos", "/nope"), "--videos /nope: no such folder"),
        (aist, ("fetch", "--camera", "1"), "--camera is of no use without --original"),
        (aist, ("fetch", "--first", "1"), "--first is of no use without"),
        (aist, ("fetch", "--connections", "1"), "--connections is of no use without"),
        (aist, ("prepare", "--without-ignored"), "--without-ignored is of no use without"),
    ],
)
def test_options_that_would_be_ignored_are_refused(tmp_path, script, words, message, capsys):
    assert run(script, tmp_path / "root", *words) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (aist, ("fetch", "--original", "--first", "-3")),
        (aist, ("fetch", "--original", "--first", "0")),
        (aist, ("fetch", "--original", "--connections", "0")),
        (landscape, ("check", "--workers", "-3")),
    ],
)
def test_counts_below_one_are_refused(tmp_path, script, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(script, tmp_path, *words)
    assert f"{words[-2]}: must be at least 1, not {words[-1]}" in capsys.readouterr().err


def test_two_videos_of_one_id_are_told(tmp_path):
    for name in ("abc.mp4", "Title [abc].webm", "spare.mp4", "spare.webm"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FetchError, match=r"Title \[abc\].webm and .*abc.mp4 are both of the video abc"):
        landscape.original_pieces([landscape.Row("abc", 0.0, "rain", "train")], tmp_path, tmp_path)
    assert landscape.original_pieces([landscape.Row("x", 0.0, "rain", "train")], tmp_path, tmp_path)[1] == [
        "x"
    ]


@pytest.mark.parametrize("script", [landscape, aist])
def test_help_reads_well(script, capsys):
    for words in ([], ["fetch"], ["check"], ["prepare"]):
        with pytest.raises(SystemExit, match="0"):
            script.main([*words, "--help"])
    assert "--root" in capsys.readouterr().out
