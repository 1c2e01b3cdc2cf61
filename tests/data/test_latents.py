"""Cached latents: the same as encoding on the spot, finished after any interruption, refused when they do not fit."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rflav_lib.data import latents
from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.latent_cache import writing
from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.data.latent_cache.encoding import ClipEncoder
from rflav_lib.data.latent_cache.index import Span
from rflav_lib.data.latent_cache.sources import FolderSource, ToySource
from rflav_lib.data.latent_cache.writing import write_cache
from rflav_lib.data.latents import LatentCache, LiveClips, encode_toy_clips, main
from rflav_lib.data.toy import make_clip
from rflav_lib.image_codec import encode_frames
from rflav_lib.media import Clip
from rflav_lib.mel import MelCodec
from rflav_lib.train import train
from rflav_lib.train_run import TrainRun
from tests.tiny import tiny_config, tiny_vae


@pytest.fixture(scope="module")
def vae():
    return tiny_vae()


@pytest.fixture(scope="module")
def mel():
    return MelCodec(n_mels=32, peak=None)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three clips of 23, 12 and 31 frames in two classes, of which two are not square."""
    root = tmp_path_factory.mktemp("videos of all kinds")
    for number, (place, frames) in enumerate(
        [("bell/a.mp4", 23), ("bell/b.mp4", 12), ("wind/ü 'x'.mp4", 31)]
    ):
        made = make_clip("toy-landscape", 5, number, frames).clip
        (root / "train" / place).parent.mkdir(parents=True, exist_ok=True)
        cut = made.frames[:, :48] if number else made.frames
        Clip(cut, 0.3 * made.waveform / np.abs(made.waveform).max()).save(root / "train" / place)
    return root


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def toy_cache(folder, vae, mel, count=4, frames=7, shard_frames=8):
    write_cache(folder, ClipEncoder(ToySource("toy-landscape", 3, count, frames), vae, mel, 64), shard_frames)
    return LatentCache(folder, vae, mel)


def test_windows_are_those_of_the_clips_encoded_whole(tmp_path, vae, mel):
    """Clips of 7 frames in shards of 8: most windows lie in two of them."""
    cache = toy_cache(tmp_path / "cache", vae, mel)
    assert len(cache) == 4 and cache.latent_shape == (4, 8, 8) and cache.index.num_shards == 4
    for number in range(4):
        made = make_clip("toy-landscape", 3, number, 7)
        whole_video = encode_frames(vae, torch.from_numpy(made.clip.frames))
        whole_audio = mel.encode(torch.from_numpy(made.clip.waveform))[0]
        for start in range(3):
            video, audio = cache.window(number, start, 5)
            assert video.dtype == audio.dtype == torch.float32
            torch.testing.assert_close(video, whole_video[start : start + 5], rtol=1e-3, atol=1e-3)
            torch.testing.assert_close(audio, whole_audio[start : start + 5], rtol=1e-3, atol=1e-3)
        assert cache.labels[number] == made.label
    for clip, start, frames in ((0, -1, 3), (0, 3, 5), (0, 0, 0), (-1, 0, 3), (4, 0, 3)):
        with pytest.raises(IndexError):
            cache.window(clip, start, frames)


def test_drawn_windows_carry_the_label_of_their_clip(tmp_path, vae, mel):
    cache, generator = toy_cache(tmp_path / "cache", vae, mel), torch.Generator().manual_seed(0)
    labels = set()
    for _ in range(20):
        video, _, label = cache.draw_window(generator, 5)
        places = [(c, s) for c in range(4) for s in range(3) if torch.equal(cache.window(c, s, 5)[0], video)]
        assert len(places) == 1 and cache.labels[places[0][0]] == label
        labels.add(label)
    assert len(labels) > 1


def test_a_world_without_classes_has_no_labels(tmp_path, vae, mel):
    cache = encode_toy_clips("toy-dance", 3, 2, 4, vae, mel, tmp_path)
    assert cache.class_names == () and cache.draw_window(torch.Generator(), 4)[2] is None


@pytest.mark.parametrize("peak", [None, 0.95])
def test_the_sound_of_a_piece_is_that_of_the_whole_clip(videos, vae, peak):
    """No seam where a piece begins, and one loudness for the whole clip."""
    mel = MelCodec(n_mels=32, peak=peak)
    folder = ClipFolder(videos)
    encoder = ClipEncoder(FolderSource(folder), vae, mel, 64)
    for number, file in enumerate(folder.files):
        whole = folder.read(file)
        video, audio = encode_frames(vae, whole.frames), mel.encode(torch.from_numpy(whole.waveform))[0]
        pieces = [
            encoder.encode([Span(number, start, min(5, len(whole) - start))])
            for start in range(0, len(whole), 5)
        ]
        torch.testing.assert_close(torch.cat([v for v, _ in pieces]), video, rtol=1e-4, atol=1e-4)
        # a gain that is rounded otherwise shows in bins that are nearly silent
        torch.testing.assert_close(torch.cat([a for _, a in pieces]), audio, rtol=0, atol=5e-4)


def test_many_spans_are_encoded_like_each_alone(vae, mel):
    encoder = ClipEncoder(ToySource("toy-landscape", 3, 6, 9), vae, mel, 64)
    spans = [Span(clip, 1, 8) for clip in range(6)]
    told = []
    video, audio = encoder.encode(spans, told.append)
    alone = [encoder.encode([span]) for span in spans]
    torch.testing.assert_close(video, torch.cat([v for v, _ in alone]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(audio, torch.cat([a for _, a in alone]), rtol=1e-5, atol=1e-5)
    assert sum(told) == 48


def test_a_toy_world_is_encoded_once_and_anew_for_another_codec_or_seed(tmp_path, vae, mel, monkeypatch):
    first = encode_toy_clips("toy-landscape", 3, 3, 4, vae, mel, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ClipEncoder, "encode", None)  # a second encoding would fail
        second = encode_toy_clips("toy-landscape", 3, 3, 4, vae, mel, tmp_path)
    assert torch.equal(first.window(2, 0, 4)[0], second.window(2, 0, 4)[0])
    encode_toy_clips("toy-landscape", 4, 3, 4, vae, mel, tmp_path)
    louder = MelCodec(n_mels=32, peak=None, audio_scale=2.0)
    encode_toy_clips("toy-landscape", 3, 3, 4, vae, louder, tmp_path)
    other = tiny_vae()
    torch.nn.init.zeros_(other.quant_conv.weight)
    encode_toy_clips("toy-landscape", 3, 3, 4, other, mel, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_other_codecs_are_refused_with_what_differs(tmp_path, vae, mel):
    toy_cache(tmp_path / "cache", vae, mel)
    with pytest.raises(ValueError, match=r"other codecs.*mel.audio_scale 1.0 -> 2.0, mel.peak None -> 0.95"):
        LatentCache(tmp_path / "cache", vae, MelCodec(n_mels=32, audio_scale=2.0))
    other = tiny_vae()
    torch.nn.init.zeros_(other.encoder.conv_in.weight)
    with pytest.raises(ValueError, match=r"vae.encoder '\w+' -> '\w+'"):
        LatentCache(tmp_path / "cache", other, mel)
    decoder = tiny_vae()
    torch.nn.init.zeros_(decoder.decoder.conv_in.weight)  # another decoder opens the same latents
    assert len(LatentCache(tmp_path / "cache", decoder, mel)) == 4


def test_a_folder_of_other_settings_is_not_overwritten(tmp_path, vae, mel):
    toy_cache(tmp_path / "cache", vae, mel)
    before = contents(tmp_path / "cache")
    with pytest.raises(ValueError, match=r"holds a cache of other settings \(shard_frames 8 -> 9\)"):
        toy_cache(tmp_path / "cache", vae, mel, shard_frames=9)
    assert contents(tmp_path / "cache") == before


def test_an_interrupted_cache_is_refused_and_then_finished_to_the_same_bytes(tmp_path, vae, mel, monkeypatch):
    toy_cache(tmp_path / "whole", vae, mel)
    encode, calls = ClipEncoder.encode, []

    def stops(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ClipEncoder, "encode", stops)
        with pytest.raises(KeyboardInterrupt):
            toy_cache(tmp_path / "cache", vae, mel)
    with pytest.raises(ValueError, match="not finished"):
        LatentCache(tmp_path / "cache", vae, mel)
    (tmp_path / "cache" / ".shard-00002-deadbeef.safetensors").write_bytes(b"what kill -9 leaves")
    kept = {name: data for name, data in contents(tmp_path / "cache").items() if name.startswith("shard")}
    assert len(kept) == 2
    times = {name: (tmp_path / "cache" / name).stat().st_mtime_ns for name in kept}
    toy_cache(tmp_path / "cache", vae, mel)
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")
    assert all((tmp_path / "cache" / name).stat().st_mtime_ns == time for name, time in times.items())


def test_what_lies_before_the_first_change_is_kept(tmp_path, videos, vae, mel):
    root = tmp_path / "videos"
    shutil.copytree(videos, root)

    def cache(folder):
        write_cache(folder, ClipEncoder(FolderSource(ClipFolder(root)), vae, mel, 64), 10)
        return LatentCache(folder, vae, mel)

    cache(tmp_path / "cache")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("shard-*")}
    made = make_clip("toy-landscape", 5, 9, 14).clip
    made.save(root / "train" / "bell" / "c.mp4")  # between the second and the third
    assert len(cache(tmp_path / "cache")) == 4
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("shard-*")}
    assert [after[name] == before.get(name) for name in sorted(after)] == [True] * 3 + [False] * 5
    cache(tmp_path / "anew")
    assert contents(tmp_path / "cache") == contents(tmp_path / "anew")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "index.json").unlink(), "no cache of latents here"),
        (lambda folder: (folder / "index.json").write_text("{"), "index.json: damaged"),
        (lambda folder: (folder / "index.json").write_text("[]"), "index.json: damaged"),
        (lambda folder: change_index(folder, shard_frames=0), "index.json: damaged"),
        (lambda folder: change_index(folder, format=2), "index.json: damaged .written by another version"),
        (lambda folder: change_index(folder, class_names=[]), "has the unknown class"),
        (lambda folder: (folder / "shard-00001.safetensors").unlink(), "shard-00001.safetensors: is missing"),
        (lambda folder: cut(folder / "shard-00001.safetensors"), "shard-00001.safetensors: damaged"),
        (lambda folder: reshape(folder / "shard-00001.safetensors"), r"holds .*\(rows|\('F16', 8, 4, 4, 16\)"),
    ],
    ids=["no index", "half", "list", "no frames", "format", "classes", "no shard", "cut", "shape"],
)  # fmt: skip
def test_damage_is_named(tmp_path, vae, mel, damage, message):
    toy_cache(tmp_path / "cache", vae, mel)
    damage(tmp_path / "cache")
    with pytest.raises(ValueError, match=message):
        LatentCache(tmp_path / "cache", vae, mel)


def change_index(folder, **changes):
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def reshape(path):
    tensors = load_file(path)
    save_file({**tensors, "video": tensors["video"].reshape(8, 4, 4, 16)}, path)


def test_damaged_shards_are_encoded_anew(tmp_path, vae, mel):
    toy_cache(tmp_path / "cache", vae, mel)
    before = contents(tmp_path / "cache")
    cut(tmp_path / "cache" / "shard-00001.safetensors")
    toy_cache(tmp_path / "cache", vae, mel)
    assert contents(tmp_path / "cache") == before


def test_a_clip_shorter_than_the_window_is_named(tmp_path, videos, vae, mel):
    write_cache(tmp_path / "cache", ClipEncoder(FolderSource(ClipFolder(videos)), vae, mel, 64))
    cache = LatentCache(tmp_path / "cache", vae, mel)
    with pytest.raises(ValueError, match=r"train/bell/b.mp4 has 12 frames, the window 15; .*min_frames=15"):
        cache.draw_window(torch.Generator(), 15)


def test_short_clips_are_left_out_and_listed(tmp_path, videos, vae, mel):
    source = FolderSource(ClipFolder(videos, frames=15))
    write_cache(tmp_path / "cache", ClipEncoder(source, vae, mel, 64))
    index = LatentCache(tmp_path / "cache", vae, mel).index
    assert [clip.name for clip in index.clips] == ["train/bell/a.mp4", "train/wind/ü 'x'.mp4"]
    assert "12 frames" in index.left_out["train/bell/b.mp4"]


def test_no_clips_are_refused(tmp_path, vae, mel):
    with pytest.raises(ValueError, match="there are no clips to encode"):
        write_cache(tmp_path, ClipEncoder(ToySource("toy-dance", 0, 0, 4), vae, mel, 64))


def test_worlds_and_numbers_that_cannot_be_are_named(tmp_path, vae, mel):
    for values, message in (
        (("toy-landscap", 0, 2, 6), "unknown world 'toy-landscap': did you mean 'toy-landscape'"),
        (("moon", 0, 2, 6), "unknown world 'moon': choose one of toy-landscape"),
        (("toy-dance", -1, 2, 6), "seed must be a whole number, at least 0, not -1"),
        (("toy-dance", 0, -2, 6), "count must be a whole number, at least 0, not -2"),
        (("toy-dance", 0, 2, 0), "clip_frames must be a whole number, at least 1, not 0"),
    ):
        with pytest.raises(ValueError, match=message):
            encode_toy_clips(*values, vae, mel, tmp_path)
    with pytest.raises(ValueError, match="shard_frames must be a whole number, at least 1, not 0"):
        toy_cache(tmp_path / "cache", vae, mel, shard_frames=0)
    assert not list(tmp_path.iterdir())


def test_a_size_that_the_vae_cannot_take_is_named(vae, mel):
    with pytest.raises(ValueError, match="size must be a multiple of 8 for this VAE, not 60"):
        ClipEncoder(ToySource("toy-dance", 0, 1, 4), vae, mel, 60)


def test_a_full_disk_is_one_error_and_the_same_call_goes_on(tmp_path, vae, mel, monkeypatch):
    saved, write_bytes = [], Path.write_bytes

    def fills(path, data):
        if len(saved) == 2:
            write_bytes(path, b"half a sha")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        saved.append(path)
        return write_bytes(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fills)
        with pytest.raises(OSError, match="cache: cannot be written: No space left"):
            toy_cache(tmp_path / "cache", vae, mel)
    assert sorted(path.name for path in (tmp_path / "cache").glob("*shard*")) == [
        "shard-00000.safetensors", "shard-00001.safetensors",
    ]  # fmt: skip
    assert len(toy_cache(tmp_path / "cache", vae, mel)) == 4


def test_too_little_room_is_noticed_before_anything_is_encoded(tmp_path, vae, mel, monkeypatch):
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))
    monkeypatch.setattr(ClipEncoder, "encode", None)
    with pytest.raises(OSError, match="cannot be written: .* GB are needed, .* GB are free"):
        toy_cache(tmp_path / "cache", vae, mel)


@pytest.mark.usefixtures("permissions_hold")
def test_a_folder_that_cannot_be_written_is_named(tmp_path, vae, mel):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cache: cannot be written: Not a directory"):
        toy_cache(tmp_path / "file" / "cache", vae, mel)
    (tmp_path / "folder").mkdir(mode=0o500)
    with pytest.raises(OSError, match="cache: cannot be written: Permission denied"):
        toy_cache(tmp_path / "folder" / "cache", vae, mel)


def test_training_from_the_cache_equals_training_from_clips(tmp_path, videos, monkeypatch):
    settings = {"latents": str(tmp_path / "cache"), "audio_peak": 0.95, "batch_size": 4}
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    config = tiny_config(tmp_path / "a", **settings)
    vae, mel = tiny_vae(), MelCodec(n_mels=32, audio_scale=2.5, peak=0.95)
    encoder = ClipEncoder(FolderSource(ClipFolder(videos)), vae, mel, 64)
    write_cache(tmp_path / "cache", encoder, 16)
    from_cache = [state.loss for state in train(config)]
    monkeypatch.setattr(TrainRun, "data", LiveClips(encoder))
    from_clips = [state.loss for state in train(tiny_config(tmp_path / "b", **settings))]
    assert from_cache == pytest.approx(from_clips, abs=1e-3)
    assert from_cache != from_clips, "the cache rounds to float16: equal losses come from the cache twice"


def test_training_with_other_codecs_than_the_cache_is_refused(tmp_path, videos):
    write_cache(
        tmp_path / "cache",
        ClipEncoder(FolderSource(ClipFolder(videos)), tiny_vae(), MelCodec(n_mels=32, audio_scale=2.5), 64),
    )
    with pytest.raises(ValueError, match="other codecs than those in use: mel.peak 0.95 -> None"):
        TrainRun(tiny_config(tmp_path, latents=str(tmp_path / "cache")))


def test_the_command_writes_reports_and_says_what_is_wrong(tmp_path, videos, vae, capsys):
    vae.save_pretrained(tmp_path / "vae")
    (tmp_path / "cache.yaml").write_text(
        f"videos: {videos}\nvae: {tmp_path / 'vae'}\nsize: 64\nn_mels: 32\nmin_frames: 15\n", encoding="utf-8"
    )
    command = [str(tmp_path / "cache.yaml"), f"latents={tmp_path / 'cache'}"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "2 clips, 54 frames" in printed and "left out: train/bell/b.mp4: has 12 frames" in printed
    assert len(LatentCache(tmp_path / "cache", vae, MelCodec(n_mels=32, audio_scale=3.0))) == 2
    for change, message in (
        ("n_mels=64", "holds a cache of other settings"),
        ("strict=true", "left out: train/bell/b.mp4"),
        ("videos=/nowhere", "no such folder"),
        ("vae=/nowhere", "no image VAE here"),
        ("min_frames=1000", "no clip that can be used"),
        ("sizes=64", "did you mean 'size'"),
    ):
        assert main([*command, change]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("world", "moon"),
        ("audio_scale", 0.0),
        ("audio_peak", 2.0),
        ("seed", -1),
        ("latents", ""),
        ("size", 0),
    ],
)
def test_bad_settings_are_named(key, value):
    with pytest.raises(ValueError, match=f"config: {key} must be"):
        LatentsConfig.from_mapping({key: value})


@pytest.mark.parametrize(
    "path", sorted((latents.ROOT / "configs" / "latents").glob("*.yaml")), ids=lambda p: p.stem
)
def test_shipped_configs_are_complete(path):
    import yaml

    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(stored) == set(LatentsConfig.__dataclass_fields__)
    LatentsConfig.from_yaml(path)
