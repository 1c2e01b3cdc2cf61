"""Writing a cache: shard by shard, each whole or not at all, by one process or several, to go on with at any time."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import save
from tqdm.auto import tqdm

from rflav_lib.data.latent_cache.encoding import ClipEncoder, codec_facts
from rflav_lib.data.latent_cache.index import CacheIndex
from rflav_lib.files import whole
from rflav_lib.locks import held
from rflav_lib.numbers_given import whole_number

SHARD_FRAMES = 1024  # 13 MB at 256 pixels and 256 mel bins; what an interruption loses at most
LETTERBOX = "whole picture, bicubic with antialias, black around"
ROOM_BESIDE = 1 << 20  # bytes for the index and the shards' headers


def write_cache(folder: Path, encoder: ClipEncoder, shard_frames: int = SHARD_FRAMES) -> CacheIndex:
    """Encode all clips of the encoder's source into `folder`, or what is missing there of them.

    Under `accelerate launch` the processes share the shards. Whatever stops it, the same call goes on; the
    finished folder is the same, byte for byte. Where clips changed since, what lies before the first change
    is kept. Another process that writes here is waited for.

    Raises:
        ValueError: no clips, or shards without frames; or the folder holds a cache of other settings, which are named.
        MediaError: a file that cannot be read.
        OSError: the folder cannot be written, or the disk is full; names the folder.
    """
    index = _plan(encoder, whole_number(shard_frames, "shard_frames"))
    if _is_done(folder, index):
        return index
    state = PartialState()
    with _only_writer(folder) if state.is_main_process else nullcontext():
        if state.is_main_process:
            with _writing_errors(folder):
                _prepare(folder, index)
        state.wait_for_everyone()
        shards = range(state.process_index, index.num_shards, state.num_processes)
        _write_shards(folder, encoder, index, shards, state)
        state.wait_for_everyone()
        if state.is_main_process:
            with _writing_errors(folder):
                index.write(folder)
    state.wait_for_everyone()
    return index


def _plan(encoder: ClipEncoder, shard_frames: int) -> CacheIndex:
    source = encoder.source
    if not source.clips:
        reasons = "".join(f"; {name}: {reason}" for name, reason in list(source.left_out.items())[:3])
        raise ValueError(f"there are no clips to encode{reasons}")
    return CacheIndex(
        codecs=codec_facts(encoder.vae, encoder.mel),
        preprocessing={"size": encoder.size, "letterbox": LETTERBOX},
        source=source.facts,
        class_names=source.class_names,
        clips=source.clips,
        left_out=source.left_out,
        latent_shape=encoder.latent_shape,
        mel_shape=encoder.mel_shape,
        shard_frames=shard_frames,
        complete=True,
    )


def _is_done(folder: Path, index: CacheIndex) -> bool:
    if not (folder / "index.json").is_file():
        return False
    stored = CacheIndex.read(folder)
    return stored == index and all(_is_whole(folder, index, shard) for shard in range(index.num_shards))


def _is_whole(folder: Path, index: CacheIndex, shard: int) -> bool:
    try:
        index.open_shard(folder, shard)
    except ValueError:
        return False
    return True


def _prepare(folder: Path, index: CacheIndex) -> None:
    """Leave in the folder an unfinished index, and only shards that fit it."""
    for pattern in (".shard-*", ".index-*"):  # what a killed writer left; nobody else writes here now
        for draft in folder.glob(pattern):
            draft.unlink()
    kept = 0
    if (folder / "index.json").is_file():
        stored = CacheIndex.read(folder)
        if found := stored.differences(index):
            raise ValueError(
                f"{folder}: holds a cache of other settings ({', '.join(found)}); choose another folder, or "
                "delete this one"
            )
        pairs = enumerate(zip(stored.clips, index.clips, strict=False))
        same = next((n for n, (old, new) in pairs if old != new), min(len(stored.clips), len(index.clips)))
        everything = same == len(stored.clips) == len(index.clips)
        kept = index.num_shards if everything else int(index.offsets[same]) // index.shard_frames
        if not everything:
            tqdm.write(f"{folder}: clips changed; {kept} of {index.num_shards} shards stay as they are")
    for path in folder.glob("shard-*.safetensors"):
        number = int(path.stem.removeprefix("shard-"))
        if number >= kept or not _is_whole(folder, index, number):
            tqdm.write(f"{path}: does not fit, is encoded anew")
            path.unlink()
    missing = sum(not index.shard_path(folder, n).is_file() for n in range(index.num_shards))
    needed = ROOM_BESIDE + index.num_bytes * missing // index.num_shards
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(f"{needed / 1e9:.3g} GB are needed, {free / 1e9:.3g} GB are free")
    replace(index, complete=False).write(folder)


def _write_shards(
    folder: Path, encoder: ClipEncoder, index: CacheIndex, shards: range, state: PartialState
) -> None:
    missing = [shard for shard in shards if not index.shard_path(folder, shard).is_file()]
    share = (
        f" (process {state.process_index + 1} of {state.num_processes})" if state.num_processes > 1 else ""
    )
    with tqdm(
        total=sum(index.rows(shard) for shard in missing), desc=f"encoding {folder.name}{share}", unit="frame",
        disable=not state.is_main_process,
        delay=5,  # what is done sooner needs no bar; so a notebook shows the same with a cache and without
    ) as progress:  # fmt: skip
        for shard in missing:
            _write_shard(folder, encoder, index, shard, progress)


def _write_shard(folder: Path, encoder: ClipEncoder, index: CacheIndex, shard: int, progress: tqdm) -> None:
    encoded = encoder.encode(index.spans(shard), progress.update)
    video, audio = (tensor.half().contiguous() for tensor in encoded)
    if not (torch.isfinite(video).all() and torch.isfinite(audio).all()):
        names = sorted({index.clips[span.clip].name for span in index.spans(shard)})
        raise ValueError(f"a clip among {names[0]} to {names[-1]} encodes to values beyond float16's range")
    with _writing_errors(folder), whole(index.shard_path(folder, shard)) as draft:
        # not save_file, which writes to a name of its own choice first, and leaves that behind when it is killed
        draft.write_bytes(save({"video": video, "audio": audio}))


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Wait until no other run writes to this folder."""
    with _writing_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        acquired = ExitStack()
        acquired.enter_context(held(folder / ".lock"))
    with acquired:
        yield


@contextmanager
def _writing_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"{folder}: cannot be written: {getattr(error, 'strerror', None) or error}; whole shards stay, the "
            "same command goes on"
        ) from error
