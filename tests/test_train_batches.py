"""Batches drawn ahead are the batches drawn in line; labels that no class has are named."""

import pytest
import torch

from rflav_lib.data.windows import draw_place
from rflav_lib.flow import interpolate
from rflav_lib.train import train
from rflav_lib.train_batches import Batch, BatchSource, RollOutBatch, Samples
from rflav_lib.train_run import TrainRun, weighted_errors
from tests.tiny import tiny_config

CPU = torch.device("cpu")


class Clips:
    """Two clips of noise in memory."""

    latent_shape = (4, 8, 8)

    def __init__(self, labels, class_names):
        self.labels, self.class_names = labels, class_names

    def __len__(self):
        return len(self.labels)

    def draw_window(self, generator, frames):
        clip, _ = draw_place([6] * len(self), frames, generator)
        video = torch.randn(frames, 4, 8, 8, generator=generator)
        return video, torch.randn(frames, 10, 32, generator=generator), self.labels[clip]


def samples(tmp_path, labels=(0, 1), class_names=("rain", "siren"), **changes):
    config = tiny_config(tmp_path, **changes)
    return Samples(config, Clips(labels, class_names), lambda label, generator: label)


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_ahead_of_time_or_in_line_the_batches_are_the_same(tmp_path):
    source = samples(tmp_path, accumulation_steps=2)
    in_line, ahead = (BatchSource(source, 1, 2, CPU, ahead) for ahead in (0, 3))
    order = [(0, 0), (0, 1), (1, 0), (7, 0), (7, 1)]  # a jump, as after resuming
    assert all(same(in_line.take(*key), ahead.take(*key)) for key in order)
    assert ahead.waited > 0
    assert list(ahead.numbers(0)) == [2, 3] and list(ahead.numbers(1)) == [6, 7]
    ahead.close()


def test_processes_share_a_step_without_overlap(tmp_path):
    source = samples(tmp_path, batch_size=3, accumulation_steps=2)
    numbers = [
        n
        for process in range(2)
        for micro in range(2)
        for n in BatchSource(source, process, 2, CPU).numbers(micro)
    ]
    assert sorted(numbers) == list(range(12))


def test_a_label_that_no_class_has_is_named(tmp_path):
    source = samples(tmp_path, labels=(0, 5))
    with pytest.raises(ValueError, match=r"label 5, but there are 2 classes, 0 to 1: rain, siren"):
        source.draw(0, range(20))


@pytest.mark.parametrize("changes", [{"gradient_checkpointing": True}, {"prefetch": 0}])
def test_how_it_is_computed_changes_no_bit(tmp_path, monkeypatch, changes):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    weights = []
    for name, settings in (("plain", {}), ("other", changes)):
        (tmp_path / name).mkdir()
        *_, last = train(tiny_config(tmp_path / name, **settings))
        weights.append(torch.cat([p.detach().flatten() for p in last.run.bare_model.parameters()]))
    assert torch.equal(*weights)


def test_the_fused_optimizer_computes_the_same_to_rounding(tmp_path, monkeypatch):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    losses = []
    for fused in (False, True):
        (tmp_path / str(fused)).mkdir()
        losses.append(
            [state.loss for state in train(tiny_config(tmp_path / str(fused), fused_optimizer=fused))]
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


class Counted(Clips):
    """Clips of 40 frames, in which every number of a frame is the frame's place + 1."""

    def draw_window(self, generator, frames):
        _, start = draw_place([40], frames, generator)
        place = torch.arange(start + 1.0, start + 1 + frames)
        return place[:, None, None, None].expand(-1, 4, 8, 8), place[:, None, None].expand(-1, 10, 32), 0


def counted(tmp_path, **changes):
    config = tiny_config(tmp_path, clip_frames=40, **changes)
    return Samples(config, Counted((0, 0), ("rain",)), lambda label, generator: label)


def test_memory_is_what_a_stream_would_have_emitted_before_the_window(tmp_path):
    """Sinks from the stream's start, context from just before the window, none before a window that pre-rolls."""
    batch = counted(tmp_path, sink_frames=2, context_frames=1, longest_past=8).draw(0, range(200))
    place = batch.video[:, :, 0, 0, 0]
    assert torch.equal(place, batch.audio[:, :, 0, 0])
    t, window = batch.t[:, :3], place[:, 3:]
    assert (window.diff(dim=1) == 1).all(), "the window itself has no gap"
    assert ((t == 1) | (t == 0)).all() and not batch.video_noise[:, :3].any()
    assert (place[:, :3][t == 0] == 0).all() and (place[:, :3][t == 1] > 0).all()
    rolls = t[:, 2] == 1
    assert 0.7 < rolls.double().mean() < 0.9, "theta is 0.2"
    assert not t[~rolls].any()
    sinks, context, first = place[rolls, :2], place[rolls, 2], window[rolls, 0]
    assert (context == first - 1).all()
    past = first - sinks[:, 0]
    assert set(past.int().tolist()) == set(range(1, 9)), "any length of stream, up to longest_past"
    assert (sinks[past > 1, 1] == sinks[past > 1, 0] + 1).all() and not sinks[past == 1, 1].any()


def test_memory_frames_get_no_loss_and_window_frames_see_them(tmp_path, monkeypatch):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    changes = {"clip_frames": 8, "sink_frames": 1, "context_frames": 1, "longest_past": 4}
    for weighting in ("uniform", "logit_normal"):
        (tmp_path / weighting).mkdir()
        config = tiny_config(tmp_path / weighting, weighting=weighting, learning_rate=3e-3, **changes)
        *_, last = train(config)
        assert len(last.video_by_position) == config.window == 4
        assert last.run.bare_model.memory_layout.frames == 2
    run = last.run
    assert run.bare_model.video_memory_position.grad is None, "of the step before; cleared"
    batch = run.draw_batch(0, range(8))
    video, audio = weighted_errors(run.bare_model, batch, "uniform", config.window)
    assert video.shape == audio.shape == (8, config.window) and batch.t.shape == (8, config.window + 2)
    (video.mean() + audio.mean()).backward()
    assert run.bare_model.video_memory_position.grad.abs().sum() > 0


def test_clips_too_short_for_the_past_are_named_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    cache = TrainRun(tiny_config(tmp_path)).data.folder
    with pytest.raises(ValueError, match="has 6 frames, the window 24"):
        TrainRun(tiny_config(tmp_path, latents=str(cache), context_frames=1))


def test_noise_on_history_grows_with_cleanliness_and_the_target_stays_the_truth(tmp_path):
    plain = counted(tmp_path, sink_frames=1, longest_past=8).draw(0, range(300))
    noisy = counted(tmp_path, sink_frames=1, longest_past=8, history_noise=0.2).draw(0, range(300))
    assert all(torch.equal(getattr(plain, name), getattr(noisy, name)) for name in ("t", "y"))
    assert torch.equal(plain.video[:, 1:], noisy.video[:, 1:]), "what is to be learnt is clean"
    extra = [interpolate(b.video, b.video_noise, b.t) for b in (noisy, plain)]
    spread = (extra[0] - extra[1]).square().mean((2, 3, 4)).sqrt()[:, 1:]
    strength = (spread / plain.t[:, 1:])[plain.t[:, 1:] > 0.05]
    assert strength.max() < 0.2 * 1.2 and strength.mean() == pytest.approx(0.1, abs=0.02)
    rolls = plain.t[:, 0] == 1
    memory = (noisy.video - plain.video)[:, 0].square().mean((1, 2, 3)).sqrt()
    assert memory[rolls].mean() == pytest.approx(0.1, abs=0.02) and not memory[~rolls].any()


def test_roll_outs_are_asked_for_by_their_share_and_leave_the_rest_as_it_was(tmp_path):
    plain, rolling = counted(tmp_path), counted(tmp_path, rollout_probability=0.4)
    one, other = plain.draw(3, range(400)), rolling.draw(3, range(400))
    assert type(one) is Batch and type(other) is RollOutBatch and same(one, other)
    asked = other.back > 0
    assert asked.double().mean() == pytest.approx(0.4, abs=0.08)
    assert other.back.max() <= 1 / 4 and other.back[asked].mean() == pytest.approx(1 / 8, abs=0.02)

    def model(video, audio, t, y):
        return torch.zeros_like(video), torch.zeros_like(audio)

    rolled = other.to(CPU).rolled_out(model, 1)
    assert type(rolled) is Batch
    assert torch.equal(rolled.video_noise[~asked], one.video_noise[~asked])
    assert not torch.equal(rolled.video_noise[asked], one.video_noise[asked])


@pytest.mark.parametrize(
    "changes",
    [
        {"rollout_probability": 1.0, "rollout_steps": 2},
        {"history_noise": 0.1},
        {"transition_probability": 0.5},
    ],
)
def test_each_remedy_trains_resumes_and_changes_the_numbers(tmp_path, monkeypatch, changes):
    monkeypatch.setattr("rflav_lib.train_run.ROOT", tmp_path)
    losses = []
    for name, settings in (("plain", {}), ("other", changes)):
        (tmp_path / name).mkdir()
        losses.append([state.loss for state in train(tiny_config(tmp_path / name, **settings))])
    assert losses[0] != losses[1] and all(loss < 20 for loss in losses[1])
