"""Flow matching: paths, weights and the loss, against recorded values, closed forms and derivatives."""

import math

import pytest
import torch
from torch.autograd.functional import hessian, jvp

from rflav_lib.flow import (
    expand_time,
    flow_weight,
    interpolate,
    logit_normal,
    noise_of_state,
    rolled_out_noise,
    rolling_flow_errors,
    rolling_flow_loss,
    velocity,
)
from rflav_lib.released import convert_transformer
from tests.golden import assert_within, facts, reference_model, vectors, window_inputs

CLEAN = ("v", "a")
NOISE = ("noise_v", "noise_a")


def recorded_loss(model, weighting="logit_normal"):
    golden = vectors("training_loss")
    video, audio, video_noise, audio_noise = (golden[name] for name in CLEAN + NOISE)
    return rolling_flow_loss(model, video, audio, golden["t"], video_noise, audio_noise, weighting=weighting)


def test_loss_is_the_released_one():
    golden, model = vectors("training_loss"), reference_model()
    assert_within(recorded_loss(model)[None], golden["loss_logit"], 1e-5)
    assert_within(recorded_loss(model, "uniform")[None], golden["loss_uniform"], 1e-5)
    assert_within(logit_normal(golden["t"]), golden["lambda"], 1e-6)


def test_gradients_are_the_released_ones():
    golden, model = vectors("training_loss"), reference_model()
    recorded_loss(model).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    recorded = {name: torch.tensor(norm) for name, norm in facts("training_loss")["grad_l2"].items()}
    norms = convert_transformer(recorded)
    assert norms.keys() == gradients.keys()
    for name, norm in norms.items():
        assert gradients[name].norm().item() == pytest.approx(norm.item(), abs=1e-5), name
    stored = convert_transformer(
        {name.removeprefix("grad."): value for name, value in golden.items() if name.startswith("grad.")}
    )
    assert len(stored) == 7
    for name, gradient in stored.items():
        assert_within(gradients[name], gradient, 1e-5)


def test_logit_normal_is_the_released_weight():
    golden = vectors("schedule")
    weight = logit_normal(golden["logit_normal.t"])
    assert_within(weight, golden["logit_normal.weight"], 5e-7)
    assert_within(weight.double(), golden["logit_normal.weight_f64"], 5e-7)


def test_logit_normal_is_a_density():
    t = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    weight = logit_normal(t)
    assert torch.trapezoid(weight, t).item() == pytest.approx(1, abs=1e-9)
    assert weight[0] == weight[-1] == 0, "the limit, not NaN"
    assert weight.max().item() == weight[5000].item() == pytest.approx(4 / math.sqrt(2 * math.pi))
    normal = torch.distributions.Normal(torch.zeros(1).double(), torch.ones(1).double())
    logistic = torch.distributions.TransformedDistribution(
        normal, torch.distributions.SigmoidTransform(cache_size=1)
    )
    inner = t[1:-1]
    torch.testing.assert_close(weight[1:-1], logistic.log_prob(inner).exp())


def test_flow_weight_by_name():
    t = torch.tensor([[0.2, 0.9]])
    assert torch.equal(flow_weight(t, "uniform"), torch.ones(1, 2))
    assert torch.equal(flow_weight(t, "logit_normal"), logit_normal(t))
    with pytest.raises(ValueError, match="logit_normal.*uniform.*'sigmoid'"):
        flow_weight(t, "sigmoid")


def test_path_runs_from_noise_to_data_each_frame_at_its_own_time():
    clean, noise = torch.randn(2, 2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.0, 0.25]])
    path = interpolate(clean, noise, t)
    assert torch.equal(path[0, 0], noise[0, 0]) and torch.equal(path[1, 1], noise[1, 1])
    assert torch.equal(path[0, 2], clean[0, 2]) and torch.equal(path[1, 0], clean[1, 0])
    assert_within(path[0, 1], (clean[0, 1] + noise[0, 1]) / 2, 1e-6)
    assert_within(path[1, 2], 0.25 * clean[1, 2] + 0.75 * noise[1, 2], 1e-6)


def test_velocity_is_the_derivative_of_the_path():
    clean, noise = torch.randn(2, 2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    t = torch.rand(2, 3, generator=torch.Generator().manual_seed(1)).double()
    _, derivative = jvp(lambda time: interpolate(clean, noise, time), t, torch.ones_like(t))
    assert_within(velocity(clean, noise), derivative, 1e-12)


def test_expand_time_takes_the_axes_and_the_type_of_its_partner():
    t = torch.rand(2, 3)
    like = torch.zeros(2, 3, 4, 8, 8, dtype=torch.bfloat16)
    assert expand_time(t, like).shape == (2, 3, 1, 1, 1) and expand_time(t, like).dtype == torch.bfloat16


def test_errors_are_those_of_each_frame_and_the_model_sees_the_noisy_window():
    video, audio, t = window_inputs(seed=0)
    video_noise, audio_noise, _ = window_inputs(seed=1)
    y, seen = torch.tensor([3, 1]), []

    def zero_model(*inputs):
        seen.extend(inputs)
        return torch.zeros_like(inputs[0]), torch.zeros_like(inputs[1])

    video_error, audio_error = rolling_flow_errors(zero_model, video, audio, t, video_noise, audio_noise, y)
    assert torch.equal(seen[0], interpolate(video, video_noise, t))
    assert torch.equal(seen[1], interpolate(audio, audio_noise, t))
    assert torch.equal(seen[2], t) and torch.equal(seen[3], y)
    assert_within(video_error, (video - video_noise).square().mean(dim=(2, 3, 4)), 1e-5)
    assert_within(audio_error, (audio - audio_noise).square().mean(dim=(2, 3)), 1e-5)


def test_squares_are_taken_in_float32_whatever_the_model_answers_in():
    video, audio, t = window_inputs()

    def bf16_model(video, audio, t, y):
        return video.bfloat16(), audio.bfloat16()

    # a velocity error of 1/1000 on targets around 1 is below the resolution of bf16
    video_error, audio_error = rolling_flow_errors(bf16_model, video, audio, t, 1e-3 * video, 1e-3 * audio)
    assert video_error.dtype == audio_error.dtype == torch.float32
    path = interpolate(video, 1e-3 * video, t)
    expected = (0.999 * video - path.bfloat16().float()).square().mean(dim=(2, 3, 4))
    torch.testing.assert_close(video_error, expected)


def test_a_model_of_higher_precision_changes_no_type():
    video, audio, t = window_inputs()
    video_noise, audio_noise, _ = window_inputs(seed=1)

    def model(video, audio, t, y):
        return video.double(), audio.double()

    inputs = model, video, audio, t, video_noise, audio_noise
    rolled = rolled_out_noise(*inputs, None, torch.full((2,), 0.1))
    assert {each.dtype for each in (*rolling_flow_errors(*inputs), *rolled)} == {torch.float32}


def gaussian_world():
    """Data x ~ N(mean, deviation^2) of each modality, and the closed form of its velocity at `t`.

    E[x - eps | x_t] = mean + gain (x_t - t mean) with gain = (t s^2 - (1 - t)) / (t^2 s^2 + (1 - t)^2).
    """
    t = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=torch.float64)
    means, deviations = torch.tensor([[0.7], [-1.2]]).double(), torch.tensor([[0.6], [1.8]]).double()
    covariance = t * deviations**2 - (1 - t)
    variance = t**2 * deviations**2 + (1 - t) ** 2
    gain = covariance / variance
    offset = means - gain * t * means
    residual = deviations**2 + 1 - covariance**2 / variance  # what no model can know
    return t, means, deviations, torch.stack([offset, gain], dim=1), residual


def test_minimiser_of_the_loss_is_the_exact_velocity():
    """On Gaussian data the best model is linear in x_t; the loss is quadratic in it: one Newton step."""
    t, means, deviations, exact, residual = gaussian_world()
    generator, batch = torch.Generator().manual_seed(0), 4000
    draws = torch.randn(2, 2, batch, 4, 16, generator=generator, dtype=torch.float64)
    clean = means[:, None, None] + deviations[:, None, None] * draws[0]
    video, video_noise = clean[0].reshape(batch, 4, 1, 4, 4), draws[1, 0].reshape(batch, 4, 1, 4, 4)
    audio, audio_noise = clean[1].reshape(batch, 4, 2, 8), draws[1, 1].reshape(batch, 4, 2, 8)

    def loss(coefficients):  # (modality, offset and gain, k)
        def model(video, audio, t, y):
            (video_offset, video_gain), (audio_offset, audio_gain) = coefficients.unbind()
            return (
                expand_time(video_offset[None], video) + expand_time(video_gain[None], video) * video,
                expand_time(audio_offset[None], audio) + expand_time(audio_gain[None], audio) * audio,
            )

        return rolling_flow_loss(model, video, audio, t.expand(batch, 4), video_noise, audio_noise)

    start = torch.zeros(2, 2, 4, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(loss(start), start)[0].flatten()
    step = torch.linalg.solve(hessian(loss, start).reshape(16, 16), slope)
    minimiser = (start.flatten() - step).reshape(2, 2, 4)
    assert_within(minimiser, exact, 0.03)
    expected = (logit_normal(t) * residual).mean(dim=1).sum().item()
    assert loss(exact).item() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("which", ["video", "audio"])
def test_noise_of_another_shape_is_refused(which):
    video, audio, t = window_inputs()
    noises = {"video": video, "audio": audio}
    noises[which] = noises[which][:, :3]
    with pytest.raises(ValueError, match=f"{which} noise has shape"):
        rolling_flow_loss(reference_model(), video, audio, t, noises["video"], noises["audio"])


@pytest.mark.parametrize("shape", [(2,), (2, 3), (1, 4), (4, 2)])
def test_times_of_another_shape_are_refused(shape):
    video, audio, _ = window_inputs()
    with pytest.raises(ValueError, match="t must be"):
        rolling_flow_loss(reference_model(), video, audio, torch.full(shape, 0.5), video, audio)


def test_audio_of_another_length_than_video_is_refused():
    video, audio, t = window_inputs()
    with pytest.raises(ValueError, match="audio"):
        rolling_flow_loss(reference_model(), video, audio[:, :3], t, video, audio[:, :3])


def test_unknown_weighting_is_refused():
    with pytest.raises(ValueError, match="weighting must be .* 'sigmoid'"):
        recorded_loss(reference_model(), "sigmoid")


def test_the_noise_of_a_state_leads_through_it_and_from_it_to_the_truth():
    clean, state = torch.randn(2, 2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    t = torch.tensor([[0.0, 0.5, 0.99], [0.2, 0.7, 0.9]]).double()
    noise = noise_of_state(state, clean, t)
    assert_within(interpolate(clean, noise, t), state, 1e-12)
    assert_within(state + expand_time(1 - t, state) * velocity(clean, noise), clean, 1e-12)


def test_a_roll_out_is_where_euler_steps_of_the_model_lead():
    video, audio, _ = window_inputs(2, 4)
    video_noise, audio_noise, _ = window_inputs(2, 4, seed=1)
    t = torch.tensor([[1.0, 0.9, 0.5, 0.1], [0.95, 0.7, 0.45, 0.2]])
    times = []

    def model(video, audio, t, y):
        times.append(t)
        return -video, 2 * audio

    back = torch.tensor([0.2, 0.0])
    noises = rolled_out_noise(model, video, audio, t, video_noise, audio_noise, None, back, steps=2)
    start = torch.tensor([1.0, 0.7, 0.3, 0.0])
    assert_within(times[0][0], start, 1e-6)
    assert_within(times[1][0], (start + t[0]) / 2, 1e-6)
    for clean, noise, rolled, factor in zip(
        (video, audio), (video_noise, audio_noise), noises, (-1, 2), strict=True
    ):
        assert torch.equal(rolled[1], noise[1]), "not noised back: as it was"
        assert torch.equal(rolled[0, 0], noise[0, 0]), "a clean memory frame: as it was"
        half = expand_time((t[0] - start) / 2, clean[0])
        expected = interpolate(clean[:1], noise[:1], start[None])[0] * (1 + factor * half) ** 2
        found = interpolate(clean[:1], rolled[:1], t[:1])[0]
        assert_within(found[1:], expected[1:], 1e-5)


def test_a_perfect_model_rolls_out_to_where_the_noise_was():
    video, audio, t = window_inputs(2, 4)
    video_noise, audio_noise, _ = window_inputs(2, 4, seed=1)

    weight, calls = torch.ones((), requires_grad=True), []

    def perfect(*inputs):
        calls.append(inputs)
        return weight * (video - video_noise), weight * (audio - audio_noise)

    rolled = rolled_out_noise(
        perfect, video, audio, 0.9 * t, video_noise, audio_noise, None, torch.tensor([0.1, 0.3])
    )
    assert len(calls) == 1, "one step if nothing else is asked"
    assert not any(noise.requires_grad for noise in rolled), "training does not go back through the roll-out"
    for found, noise in zip(rolled, (video_noise, audio_noise), strict=True):
        assert_within(found, noise, 1e-4)
