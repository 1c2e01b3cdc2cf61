"""What a run will take, before it begins: parameters, FLOPs, memory, steps, hours (`--dry-run`).

For the plan nothing is loaded and no data are made. The model stands on the meta device, where only shapes are
computed, so a laptop can plan what only a cluster can run. `missing` says what the run would lack on this machine.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from accelerate import PartialState
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from rflav_lib import ROOT
from rflav_lib.data.latent_cache.index import CacheIndex
from rflav_lib.data.latents import TOY_SIZE
from rflav_lib.data.toy import CLASSES
from rflav_lib.image_codec import find_vae, latent_layout
from rflav_lib.mel import MelCodec
from rflav_lib.precision import AUTOCAST, BF16, chosen, told
from rflav_lib.profiling import peak_flops
from rflav_lib.provenance import processor_name
from rflav_lib.train_batches import Batch
from rflav_lib.train_checks import check_cache, check_data, check_output, check_start
from rflav_lib.train_config import TrainConfig
from rflav_lib.train_run import MODEL_KEYS, fast_attention, prepared_for_speed, weighted_errors
from rflav_lib.transformer import RFLAVTransformer

BYTES_A_PARAMETER = 4 * 5  # float32: weight, gradient, two moments of Adam, average
ASSUMED_SHARE = 0.4  # of a measured matmul's speed, where no real step can be timed
LONGEST_STEP = 20.0  # seconds: longer ones are estimated
LATENT_CHANNELS = 4  # of Stable Diffusion's VAE, and of those made like it


@dataclass(frozen=True)
class Plan:
    """Figures of a run; bytes and FLOPs are of one process, for all its micro-batches."""

    parameters: int
    latent_shape: tuple[int, int, int]
    classes: int
    processes: int
    flops: int
    state_bytes: int
    activation_bytes: int
    step_seconds: float
    device: str
    how: str
    precision: str

    @property
    def peak_bytes(self) -> int:
        """What has to fit on the device of each process."""
        return self.state_bytes + self.activation_bytes


def model_settings(config: TrainConfig) -> dict:
    """Arguments of the run's RFLAVTransformer, from the config and the codec's description alone."""
    (channels, size, _), classes = data_shape(config)
    mel = MelCodec(n_mels=config.n_mels, audio_scale=config.audio_scale, peak=None)
    return {
        "latent_size": size,
        "in_channels": channels,
        "mel_frames": mel.frames_per_segment,
        "num_classes": classes,
        **{key: getattr(config, key) for key in MODEL_KEYS},
    }


def data_shape(config: TrainConfig) -> tuple[tuple[int, int, int], int]:
    """Latents (c, h, w) of a frame, and number of classes: of the cache, as the config says, or of the toy world.

    Raises:
        ValueError: the config leaves it to data that are not at hand, or its codec's folder does not say what it is.
    """
    if config.latents and (ROOT / config.latents).is_dir():
        index = CacheIndex.read(ROOT / config.latents)
        return index.latent_shape, len(index.class_names)
    size, classes, channels = config.latent_size, config.classes, LATENT_CHANNELS
    if any(place.is_dir() for place in (ROOT / config.vae, Path(config.vae))):  # a plan asks no model hub
        channels, reduction = latent_layout(config.vae)
        if not config.latents:
            size = size or TOY_SIZE // reduction
    if classes < 0 and not config.latents:
        classes = len(CLASSES[config.world])
    if not size or classes < 0:
        raise ValueError("latent_size and classes: for a plan without the data, the config must say them")
    return (channels, size, size), classes


def random_batch(settings: dict, batch: int, device: str | torch.device) -> Batch:
    """Noise of the shapes that the model takes; times spread over (0, 1)."""
    size, classes = settings["latent_size"], settings["num_classes"]
    frames = settings["window"] + settings["sink_frames"] + settings["context_frames"]
    video = torch.randn(batch, frames, settings["in_channels"], size, size, device=device)
    audio = torch.randn(batch, frames, settings["mel_frames"], settings["n_mels"], device=device)
    t = torch.linspace(0.95, 0.05, frames, device=device).expand(batch, -1)
    y = torch.zeros(batch, dtype=torch.long, device=device) if classes else None
    return Batch(video, audio, t, torch.randn_like(video), torch.randn_like(audio), y)


def count_flops(settings: dict) -> int:
    """Model FLOPs of one sample, forward and backward: two for each multiply-add, masks not taken off."""
    with torch.device("meta"):
        model = RFLAVTransformer(**settings)
    with FlopCounterMode(display=False) as counter:
        loss_of(model, random_batch(settings, 1, "meta"), settings["window"]).backward()
    return counter.get_total_flops()


def loss_of(
    model: Callable[..., tuple[Tensor, Tensor]], batch: Batch, window: int, weighting: str = "logit_normal"
) -> Tensor:
    """Eq. 10 as the run computes it, of the last `window` frames."""
    video, audio = weighted_errors(model, batch, weighting, window)
    return video.mean() + audio.mean()


def saved_bytes(settings: dict, batch: int, precision: str, device: torch.device) -> int:
    """Bytes that a forward keeps for its backward, weights not counted; on tensors that have shapes only."""
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage._cdata, (storage, storage.nbytes()))  # held, so that no address comes twice
        return tensor

    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        model = RFLAVTransformer(**settings)
        # the values of labels cannot be looked at
        inputs = replace(random_batch(settings, batch, "cpu"), y=None)
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == BF16)
        kept_here = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with kept_here, autocast, fast_attention(device):
            loss = loss_of(model, inputs, settings["window"])
        weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        del loss
    return sum(size for key, (_, size) in kept.items() if key not in weights)


def activation_bytes(config: TrainConfig, settings: dict, precision: str, device: torch.device) -> int:
    """Bytes of a micro-batch between forward and backward; with checkpointing, one block's and all blocks' inputs."""
    if not config.gradient_checkpointing:
        return saved_bytes(settings, config.batch_size, precision, device)
    around = saved_bytes({**settings, "depth": 1}, config.batch_size, precision, device)
    tokens = (settings["latent_size"] // settings["patch_size"]) ** 2 + settings["mel_frames"]
    frames = settings["window"] + settings["sink_frames"] + settings["context_frames"]
    block_input = 4 * config.batch_size * frames * tokens * settings["hidden_size"]
    return around + settings["depth"] * block_input


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of `work`, the device's included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def step_seconds(
    config: TrainConfig, settings: dict, precision: str, flops: int, peak_bytes: int, device: torch.device
) -> tuple[float, str]:
    """Seconds of an optimizer step on this device, and how they were found: timed where it fits, else estimated."""
    speed = peak_flops(AUTOCAST[precision], device)
    estimate = flops / (ASSUMED_SHARE * speed)
    free = torch.cuda.mem_get_info()[0] if device.type == "cuda" else psutil.virtual_memory().available
    if estimate > LONGEST_STEP or 1.5 * peak_bytes > free:
        reason = (
            "a step takes too long to try" if estimate > LONGEST_STEP else "a step does not fit into memory"
        )
        return estimate, (
            f"estimated from a measured matmul of {speed / 1e12:.3g} TFLOP/s in {precision}, of which "
            f"{ASSUMED_SHARE:.0%} are assumed, because {reason}"
        )
    with torch.random.fork_rng(), torch.device(device):
        model, optimizer = prepared_for_speed(RFLAVTransformer(**settings), config)
    batch = random_batch(settings, config.batch_size, device)

    def step() -> None:
        for _ in range(config.accumulation_steps):
            with (
                torch.autocast(device.type, torch.bfloat16, enabled=precision == BF16),
                fast_attention(device),
            ):
                loss = loss_of(model, batch, config.window, config.weighting)
            with fast_attention(device):
                loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return min(timed(step, device) for _ in range(2)), "timed on two real steps, after one to warm up"


def make_plan(config: TrainConfig) -> Plan:
    """Count, and time or estimate, one step of `config` on this process's device."""
    state = PartialState()
    settings, precision = model_settings(config), chosen(config.precision, state.device)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in RFLAVTransformer(**settings).parameters())
    latent_shape, classes = data_shape(config)
    flops = count_flops(settings) * config.samples_a_step(1)
    state_bytes = BYTES_A_PARAMETER * parameters
    activations = activation_bytes(config, settings, precision, state.device)
    peak = state_bytes + activations
    seconds, how = step_seconds(config, settings, precision, flops, peak, state.device)
    name = torch.cuda.get_device_name() if state.device.type == "cuda" else processor_name()
    return Plan(
        parameters,
        latent_shape,
        classes,
        state.num_processes,
        flops,
        state_bytes,
        activations,
        seconds,
        f"{state.device.type} ({name}, {torch.get_num_threads()} threads)",
        how,
        precision,
    )


def missing(config: TrainConfig, processes: int) -> str | None:
    """What a run of `config` would be refused for on this machine, in one line; None if it can begin."""
    try:
        check_output(config)
        if config.latents:
            check_cache(config, processes)
        else:
            find_vae(config.vae)
            (_, size, _), classes = data_shape(config)
            check_data(config, size, classes, config.clips, processes)
        check_start(config, model_settings(config))
    except (ValueError, OSError) as error:
        return str(error)
    return None


def plan(config: TrainConfig) -> str:
    """`make_plan` as text."""
    found = make_plan(config)
    samples = config.samples_a_step(found.processes)
    latents = "x".join(map(str, found.latent_shape))
    gigabytes = [size / 2**30 for size in (found.peak_bytes, found.state_bytes, found.activation_bytes)]
    rows = {
        "model": f"{found.parameters:,} parameters, {config.fusion}, window of {config.window}, "
        + told(found.precision),
        "data": f"latents {latents}, {config.n_mels} mel bins, {found.classes or 'no'} classes",
        "step": f"{samples} samples = batch_size {config.batch_size} x accumulation_steps {config.accumulation_steps} "
        f"x {found.processes} process(es); {found.flops / 1e12:,.3g} TFLOP in each process",
        "memory": "about {:.2f} GiB in each process: {:.2f} for weights, gradients, Adam and average (FSDP divides "
        "them), {:.2f} for activations".format(*gigabytes)
        + " (checkpointed)" * config.gradient_checkpointing,
        "run": f"{config.max_steps:,} steps, {config.max_steps * samples:,} samples",
        "time": f"{found.step_seconds * config.max_steps / 3600:,.3g} hours, {found.step_seconds:.3g} s a step, on "
        f"{found.device}",
        "": found.how,
    }
    return "\n".join(f"{name:8}{text}" for name, text in rows.items())
