"""What runs on a GPU, run where none is: nothing of the CPU meets it, the host does not wait, numbers are the CPU's.

See `pretend_gpu` for what this cannot show.
"""

import itertools
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks import generation_alone
from benchmarks.generation import MODELS
from rflav_lib.data.latent_cache.config import LatentsConfig
from rflav_lib.data.latents import LatentCache, write_from_config
from rflav_lib.engine import FastSampler
from rflav_lib.files import read_json
from rflav_lib.fusion import FUSIONS
from rflav_lib.image_codec import encode_frames, load_vae
from rflav_lib.mel import MelCodec
from rflav_lib.memory import MemoryLayout
from rflav_lib.sampler import RollingSampler
from rflav_lib.schedule import RollingSchedule
from rflav_lib.train import train
from rflav_lib.train_run import TrainRun
from tests.golden import assert_within, open_model, window_inputs
from tests.pretend_gpu import pretend_gpu
from tests.tiny import tiny_config, tiny_pipeline, tiny_vae

WINDOW = 4
RATE = 16000


def plain(model, schedule, steps, **options):
    return RollingSampler(model, schedule, steps, memory=model.memory_layout, **options)


SAMPLERS = {"plain": plain, "fast": FastSampler, "fast bf16": partial(FastSampler, dtype=torch.bfloat16)}


def sampled(make, device, task, fusion="conditioned_average", guidance=1.0):
    """Frames of a tiny model with memory and classes, and what came with them."""
    model = open_model(fusion, num_classes=3, sink_frames=1, context_frames=1).to(device)
    sampler = make(model, RollingSchedule(WINDOW), 2, guidance_scale=guidance)
    video, audio, _ = (tensor.to(device) for tensor in window_inputs(2, WINDOW))
    y, generator = torch.tensor([0, 2], device=device), torch.Generator().manual_seed(1)
    if task == "joint":
        frames = itertools.islice(sampler.stream(video, audio, generator, y), 6)
    elif task == "a2v":
        frames = sampler.audio_to_video(torch.cat([audio, audio], 1)[:, :6], video, 1.0, generator, y)
    else:
        frames = sampler.video_to_audio(video[:, :2], audio, 1.0, generator, y)
    return [torch.stack(part) for part in zip(*frames, strict=True)]


# guidance by what is given runs in float32, so bf16 is for joint generation alone
CASES = [
    (name, task)
    for name in SAMPLERS
    for task in ("joint", "a2v", "v2a")
    if task == "joint" or "bf16" not in name
]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(("name", "task"), CASES)
def test_samplers_give_the_cpu_s_numbers(name, task, fusion):
    with pretend_gpu():
        assert_the_cpu_s_numbers(name, task, fusion)


@pytest.mark.gpu
def test_samplers_give_the_cpu_s_numbers_on_a_real_gpu():
    for (name, task), fusion in itertools.product(CASES, FUSIONS):
        assert_the_cpu_s_numbers(name, task, fusion)


def assert_the_cpu_s_numbers(name, task, fusion):
    guidance = 2.0 if task == "joint" else 1.0
    here = sampled(plain, "cpu", task, fusion, guidance)
    there = sampled(SAMPLERS[name], "cuda", task, fusion, guidance)
    for ours, theirs in zip(there, here, strict=True):
        assert ours.is_cuda
        scale = theirs.abs().max()  # random weights make a model grow
        assert_within(ours.cpu() / scale, theirs / scale, 5e-2 if name == "fast bf16" else 1e-5)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_host_never_waits_in_the_steady_state(name, guidance):
    with pretend_gpu() as seen:
        model = open_model("conditioned_average", num_classes=3, sink_frames=1).to("cuda")
        sampler = SAMPLERS[name](model, RollingSchedule(WINDOW), 2, guidance_scale=guidance)
        video, audio, _ = (tensor.to("cuda") for tensor in window_inputs(2, WINDOW))
        stream = sampler.stream(
            video, audio, torch.Generator().manual_seed(1), torch.tensor([0, 2], device="cuda")
        )
        next(stream), next(stream)
        seen.waits.clear()
        next(stream), next(stream)
        assert seen.waits == []


def clips_of(pipeline, task):
    make = partial(pipeline, steps_per_frame=1, y="rain", generator=torch.Generator().manual_seed(0))
    if task == "joint":
        return make(num_frames=3, guidance_scale=(2.0, 1.5), num_clips=2)
    if task == "a2v":
        return make(audio=0.3 * np.sin(np.arange(0, 0.6, 1 / RATE) * 2000, dtype=np.float32))
    if task == "v2a":
        return make(video=np.arange(3 * 64 * 64 * 3, dtype=np.uint8).reshape(3, 64, 64, 3))
    stream = pipeline.stream(1, 3, "rain", generator=torch.Generator().manual_seed(0))
    return [next(stream) for _ in range(3)]


@pytest.mark.parametrize("task", ["joint", "a2v", "v2a", "stream"])
def test_the_pipeline_makes_the_cpu_s_clips(task):
    pipeline = tiny_pipeline(memory=MemoryLayout(sinks=1, context=1))
    here = clips_of(pipeline, task)
    with pretend_gpu():
        pipeline.to("cuda")
        assert pipeline.device.type == "cuda"
        there = clips_of(pipeline, task)
    for ours, theirs in zip(there, here, strict=True):
        # a picture's number may be rounded the other way; phases are searched for, which makes more of a rounding
        assert np.abs(ours.frames.astype(int) - theirs.frames).max() <= 1
        assert (
            np.sqrt(np.square(ours.waveform - theirs.waveform).mean()) < 0.02 * np.abs(theirs.waveform).max()
        )


def test_a_stream_goes_on_from_the_cpu_and_back():
    pipeline = tiny_pipeline()

    def stream():
        return pipeline.stream(1, 2, "rain", generator=torch.Generator().manual_seed(0))

    here = stream()
    expected = [next(here) for _ in range(3)]
    begun = stream()
    clips = [next(begun)]
    with pretend_gpu():
        pipeline.to("cuda")
        there = stream()
        there.load_state_dict(begun.state_dict())
        clips.append(next(there))
        state = there.state_dict()
        pipeline.to("cpu")
    ended = stream()
    ended.load_state_dict(state)
    clips.append(next(ended))
    for ours, theirs in zip(clips, expected, strict=True):
        assert np.abs(ours.frames.astype(int) - theirs.frames).max() <= 1
        assert len(ours.waveform) == len(theirs.waveform)


@pytest.mark.parametrize(
    "settings",
    [
        {"sink_frames": 1, "transition_probability": 0.5, "longest_past": 2},
        {"rollout_probability": 0.5, "fused_optimizer": True, "accumulation_steps": 2},
    ],
)
def test_training_learns_what_it_learns_on_the_cpu(tmp_path, monkeypatch, settings):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    (tmp_path / "cpu").mkdir(), (tmp_path / "cuda").mkdir()
    configs = [
        tiny_config(tmp_path / device, max_steps=4, sample_frames=4, sample_every=2, **settings)
        for device in ("cpu", "cuda")
    ]
    here = [state.loss for state in train(configs[0])]
    with pretend_gpu():
        there = [state.loss for state in train(configs[1])]
    assert there == pytest.approx(here, rel=1e-4)
    devices = [read_json(config.output_path / "run.json")["starts"][0]["device"] for config in configs]
    assert devices == ["cpu", "cuda"]


def test_the_host_never_waits_in_a_step_of_training(tmp_path, monkeypatch):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    with pretend_gpu() as seen:
        run = TrainRun(tiny_config(tmp_path, fused_optimizer=True, log_every=100))
        run.optimizer_step(1e-3)
        seen.waits.clear()
        run.optimizer_step(1e-3)
        assert seen.waits == [] and next(run.model.parameters()).is_cuda


@pytest.mark.parametrize("sampler", ["plain float32", "plain TF32", "fast float32", "fast bf16"])
def test_what_the_benchmark_of_generation_does(sampler, tmp_path):
    with pretend_gpu() as seen:
        job = partial(
            generation_alone.Job, settings=MODELS["tiny"], steps_per_frame=2, batch=2, threads=1, device="cuda",
            reference=tmp_path / "plain.pt",
        )  # fmt: skip
        for name in dict.fromkeys(["plain float32", sampler]):
            alone = generation_alone.Alone(job(name))
            assert alone.warm_up() > 0
            assert generation_alone.refusal(name, alone.compared()) is None
            assert alone.first() > 0
            seen.waits.clear()
            assert alone.further() > 0 and alone.further() > 0
            assert seen.waits == []
            assert alone.memory().keys() == {"peak (MB)", "peak reserved (MB)"}


def test_codecs_encode_there_as_here():
    pipeline, sound = tiny_pipeline(), torch.randn(2, 3 * 1600) / 4
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    here = encode_frames(pipeline.vae, frames), pipeline.mel.encode(sound)
    with pretend_gpu():
        pipeline.to("cuda")
        there = encode_frames(pipeline.vae, frames), pipeline.mel.encode(sound.to("cuda"))
        for ours, theirs in zip(there, here, strict=True):
            assert ours.is_cuda
            assert_within(ours.cpu(), theirs, 1e-4)


def test_a_cache_of_latents_is_the_cpu_s(tmp_path, monkeypatch):
    monkeypatch.setattr("rflav_lib.data.latents.ROOT", tmp_path)
    tiny_vae().save_pretrained(tmp_path / "vae")
    mel, windows = MelCodec(n_mels=32, audio_scale=3.0, peak=None), []
    for device, context in (("cpu", nullcontext()), ("cuda", pretend_gpu())):
        config = LatentsConfig.from_mapping(
            {"latents": device, "world": "toy-landscape", "clips": 3, "clip_frames": 7, "vae": str(tmp_path / "vae"),
             "n_mels": 32, "audio_peak": 0.0}
        )  # fmt: skip
        with context as seen:
            write_from_config(config)
        assert seen is None or "to cuda" in seen.waits
        cache = LatentCache(tmp_path / device, load_vae(tmp_path / "vae"), mel)
        windows.append([cache.window(clip, 1, 5) for clip in range(3)])
    for there, here in zip(*windows[::-1], strict=True):
        for ours, theirs in zip(there, here, strict=True):
            assert_within(ours, theirs, 1e-2)  # stored with 16 bits
