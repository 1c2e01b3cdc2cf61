"""What does a cache of latents save? Training steps from the cache against the same steps from clips, in one run.

    python benchmarks/latents.py                                          # a toy world's clips as files, 64 pixels
    python benchmarks/latents.py --videos /my/videos --size 256 --vae stabilityai/sd-vae-ft-ema --device cuda
    python benchmarks/latents.py --steps 10 --out results/latents.json

Both draw the same windows. "From clips" opens the video file, decodes and letterboxes the window, encodes its picture
and its sound, and trains; "from the cache" reads latents and segments, and trains. The two take turns. The model is
small (a million parameters), so that the step shows what the data cost. Beside them: how many clips a second the toy
worlds draw, which no cache is needed for.
"""

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from rflav_lib.data.clips import ClipFolder
from rflav_lib.data.latent_cache.encoding import ClipEncoder
from rflav_lib.data.latent_cache.sources import FolderSource
from rflav_lib.data.latent_cache.writing import write_cache
from rflav_lib.data.latents import LatentCache, LiveClips
from rflav_lib.data.toy import CLASSES, WORLDS, make_clip
from rflav_lib.data.windows import TrainingClips
from rflav_lib.files import output_file, write_json
from rflav_lib.image_codec import load_vae
from rflav_lib.mel import MelCodec
from rflav_lib.provenance import provenance
from rflav_lib.train_batches import Samples
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_plan import loss_of
from rflav_lib.transformer import RFLAVTransformer

TOY_CLIPS, TOY_FRAMES = 12, 40
DRAWN_CLIPS, DRAWN_FRAMES = 200, 16  # of each toy world, to see how fast it draws
TINY = {"hidden_size": 96, "depth": 2, "num_heads": 4}


def write_toy_videos(root: Path) -> None:
    """Clips of toy-landscape as mp4 files in class folders."""
    for number in range(TOY_CLIPS):
        made = make_clip("toy-landscape", 0, number, TOY_FRAMES)
        folder = root / "train" / CLASSES["toy-landscape"][made.label or 0]
        folder.mkdir(parents=True, exist_ok=True)
        made.clip.save(folder / f"{number}.mp4")


def model_of(config: TrainConfig, data: TrainingClips) -> RFLAVTransformer:
    """The model of a config for the given data."""
    channels, size, _ = data.latent_shape
    return RFLAVTransformer(
        latent_size=size, in_channels=channels, patch_size=config.patch_size, window=config.window,
        n_mels=config.n_mels, num_classes=len(data.class_names), **TINY,
    )  # fmt: skip


def measure(
    config: TrainConfig, sources: dict[str, TrainingClips], steps: int, device: str
) -> dict[str, dict[str, float]]:
    """Median seconds of a step and of drawing its batch, for each source; the first step warms up."""
    torch.manual_seed(0)
    model = model_of(config, next(iter(sources.values()))).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    samples = {name: Samples(config, data, model.drop_labels) for name, data in sources.items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
    for step in range(steps + 1):
        for name, drawer in samples.items():  # in turns: a slow moment hits both
            start = time.perf_counter()
            batch = drawer.draw(step, range(config.batch_size)).to(torch.device(device))
            drawn = time.perf_counter()
            loss_of(model, batch, config.window).backward()
            optimizer.step()
            optimizer.zero_grad()
            if device != "cpu":
                torch.cuda.synchronize()
            if step:
                seconds[name].append((drawn - start, time.perf_counter() - start))
    return {
        name: {
            "data (s)": statistics.median(data for data, _ in taken),
            "step (s)": statistics.median(step for _, step in taken),
        }
        for name, taken in seconds.items()
    }


def toy_speed() -> dict[str, float]:
    """How many clips of 16 frames each toy world draws in a second of one core: of CPU time, of all threads together.

    Clips are drawn with picture and sound, in memory; the classes come as they are drawn.
    """
    speed = {}
    for world in WORLDS:
        make_clip(world, 0, 0, DRAWN_FRAMES)
        start = time.process_time()
        for number in range(DRAWN_CLIPS):
            make_clip(world, 0, number, DRAWN_FRAMES)
        speed[world] = DRAWN_CLIPS / (time.process_time() - start)
    return speed


def figures(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write the cache, and measure both, and the toy worlds."""
    videos = options.videos
    if videos is None:
        videos = folder / "videos"
        write_toy_videos(videos)
    vae = load_vae(options.vae).to(options.device)
    mel = MelCodec(n_mels=options.n_mels, audio_scale=2.5, peak=0.95)
    encoder = ClipEncoder(FolderSource(ClipFolder(videos, size=options.size)), vae, mel, options.size)
    start = time.perf_counter()
    index = write_cache(folder / "cache", encoder)
    written = time.perf_counter() - start
    config = TrainConfig(n_mels=options.n_mels, batch_size=options.batch, tracker="none")
    sources: dict[str, TrainingClips] = {
        "from clips": LiveClips(encoder),
        "from the cache": LatentCache(folder / "cache", vae, mel),
    }
    return {
        "frames": index.num_frames,
        "bytes": index.num_bytes,
        "frames encoded a second": index.num_frames / written,
        "steps": measure(config, sources, options.steps, options.device),
        "toy clips a second": toy_speed(),
    }


def table(found: dict[str, Any]) -> str:
    """Milliseconds, and how many times as fast as from clips."""
    slow = found["steps"]["from clips"]
    lines = [f"{'':16}" + "".join(f"{key.removesuffix(' (s)'):>14}{'times as fast':>15}" for key in slow)]
    for name, row in found["steps"].items():
        cells = (f"{1000 * row[key]:>11.1f} ms{slow[key] / row[key]:>15.1f}" for key in slow)
        lines.append(f"{name:16}" + "".join(cells))
    lines.append(
        f"\ncache: {found['frames']} frames, {found['bytes'] / 1e6:.1f} MB, "
        f"written at {found['frames encoded a second']:.0f} frames/s"
    )
    speed = (f"{world} {rate:.0f}" for world, rate in found["toy clips a second"].items())
    lines.append(f"clips of {DRAWN_FRAMES} frames that one core draws a second: {', '.join(speed)}")
    return "\n".join(lines)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options of the command line; exits with one clear line if they do not make sense."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=Path, help="folder with train/[class/]*; default: toy clips as mp4")
    parser.add_argument("--vae", default="checkpoints/toy-vae", help="default: %(default)s")
    parser.add_argument("--size", type=int, default=64, help="pixels along a side (default: %(default)s)")
    parser.add_argument("--n-mels", type=int, default=64, help="mel bins (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="windows a step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="steps measured (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument(
        "--out", type=output_file, help="write figures, settings and machine to this JSON file"
    )
    options = parser.parse_args(arguments)
    for name in ("size", "n_mels", "batch", "steps", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here")
    options.command = shlex.join(["python", "benchmarks/latents.py", *arguments])
    return options


def main(arguments: list[str]) -> int:
    """Measure, print, and write if asked to."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = figures(options, Path(folder))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(found))
    if options.out:
        report = {"command": options.command, "provenance": provenance(options.device), **found}
        write_json(options.out, report)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
