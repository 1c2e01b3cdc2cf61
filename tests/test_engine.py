"""The fast sampler gives the plain one's numbers."""

import itertools
from collections import OrderedDict
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch._inductor import config as inductor_config
from torch._inductor import exc
from torch.profiler import ProfilerActivity, profile

from rflav_lib import fast_layers
from rflav_lib.attention import SelfAttention
from rflav_lib.compiling import check_compiler
from rflav_lib.engine import FastSampler
from rflav_lib.fast_layers import FastAttention, FastLinear, can_pack, written_out_attention
from rflav_lib.fast_transformer import FastTransformer
from rflav_lib.fusion import FUSIONS
from rflav_lib.profiling import shares
from rflav_lib.sampler import RollingSampler
from rflav_lib.schedule import RollingSchedule
from tests.golden import assert_within, open_model, reference_model, vectors, window_inputs
from tests.pretend_gpu import pretend_gpu

WINDOW = 4


def both(model, steps=2, guidance=1.0, **options):
    schedule = RollingSchedule(WINDOW)
    return RollingSampler(model, schedule, steps, guidance, model.memory_layout), FastSampler(
        model, schedule, steps, guidance, **options
    )


def frames_of(sampler, y=None, batch=2, count=7):
    video, audio, _ = window_inputs(batch, WINDOW)
    stream = sampler.stream(video, audio, torch.Generator().manual_seed(1), y)
    return [torch.stack(part) for part in zip(*itertools.islice(stream, count), strict=True)]


def assert_same_stream(samplers, y=None, tolerance=1e-5, batch=2):
    plain, fast = (frames_of(sampler, y, batch) for sampler in samplers)
    for ours, theirs in zip(fast, plain, strict=True):
        # models with all weights at random grow: compare with the size of what they make
        assert_within(ours / theirs.abs().max(), theirs / theirs.abs().max(), tolerance)
    return plain, fast


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion(fusion, causal):
    assert_same_stream(both(open_model(fusion, causal=causal)))


@pytest.mark.parametrize("steps", [1, 3])
def test_any_number_of_steps(steps):
    assert_same_stream(both(reference_model(), steps))


@pytest.mark.parametrize("guidance", [1.0, 2.5, (3.0, 1.0)])
@pytest.mark.parametrize("labels", [[3, 3], [0, 7]])
def test_labels_and_guidance(guidance, labels):
    assert_same_stream(both(reference_model(num_classes=9), 2, guidance), torch.tensor(labels))


def test_a_model_with_classes_and_no_label():
    assert_same_stream(both(reference_model(num_classes=9)))


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([-1, 0], "labels must lie in 0..8"),
        ([0, 10], "labels must lie in 0..8"),
        ([0], r"y has shape \(1,\), this model needs \(2,\)"),
        ([0, 0, 0], r"y has shape \(3,\)"),
        ([0.0, 1.0], "labels must be whole numbers, not torch.float32"),
    ],
)
def test_labels_that_do_not_fit_are_refused_by_both(labels, message, guidance):
    for sampler in both(reference_model(num_classes=9), 2, guidance):
        with pytest.raises(ValueError, match=message):
            frames_of(sampler, torch.tensor(labels), count=1)


def test_labels_for_a_model_without_classes_are_refused_by_both():
    for sampler in both(reference_model(num_classes=0)):
        with pytest.raises(ValueError, match="without classes"):
            frames_of(sampler, torch.tensor([0, 0]), count=1)


def test_a_dtype_that_is_none_is_refused():
    with pytest.raises(ValueError, match="dtype must be None or one of .* not torch.int8"):
        both(reference_model(), dtype=torch.int8)


@pytest.mark.parametrize(("scale", "guidance"), [(0.0, 1.0), (1000.0, 1.0), (1000.0, 2.5)])
@pytest.mark.parametrize("which", ["audio_to_video", "video_to_audio"])
def test_one_side_given(which, scale, guidance):
    """With its gradient, and past the clip's end."""
    clip, noise = window_inputs(2, 6)[which == "audio_to_video"], window_inputs(2, WINDOW)
    noise = noise[which == "video_to_audio"]
    made = []
    for sampler in both(reference_model(num_classes=9), 2, guidance):
        generator = torch.Generator().manual_seed(1)
        y = torch.tensor([0, 7])
        frames = list(getattr(sampler, which)(clip, noise, scale=scale, generator=generator, y=y))
        made.append([torch.stack(part) for part in zip(*frames, strict=True)])
    for plain, fast in zip(*made, strict=True):
        assert_within(fast / plain.abs().max(), plain / plain.abs().max(), 1e-5)


def test_it_is_the_released_stream(monkeypatch):
    golden = vectors("sampler_tiny_class_cfg")
    queues = {5: iter(golden["append_noise_v"]), 4: iter(golden["append_noise_a"])}
    monkeypatch.setattr(
        "rflav_lib.sampler.fresh_noise", lambda window, generator: next(queues[window.ndim])[:, None]
    )
    sampler = FastSampler(reference_model(num_classes=9), RollingSchedule(WINDOW), 2, 2.5)
    stream = sampler.stream(golden["init_v"], golden["init_a"], y=golden["y"])
    video, audio = (torch.stack(part) for part in zip(*itertools.islice(stream, 6), strict=True))
    assert_within(video, golden["emitted_v"], 1e-5)
    assert_within(audio, golden["emitted_a"], 1e-5)


def test_a_class_that_changes_in_mid_stream():
    results = []
    for sampler in both(reference_model(num_classes=9)):
        window = window_inputs(1, WINDOW)[:2]
        generator = torch.Generator().manual_seed(1)
        window = sampler.preroll(*window, torch.tensor([1]))
        for label in (1, 5, 5, 1, 8):
            window = sampler.roll(*window, generator, torch.tensor([label]))
        results.append(window)
    for plain, fast in zip(*results, strict=True):
        assert_within(fast, plain, 1e-5)


def test_it_computes_only_frames_that_have_started(monkeypatch):
    sizes = []
    forward = FastTransformer.__call__
    monkeypatch.setattr(
        FastTransformer,
        "__call__",
        lambda self, video, *rest: sizes.append(video.shape[1]) or forward(self, video, *rest),
    )
    frames_of(both(reference_model())[1], count=2)
    assert sizes == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4]


def test_pre_rolling_computes_what_it_knows_in_one_go(monkeypatch):
    """Its eight windows of one to four frames have eight different times between them."""
    sampler = both(reference_model(num_classes=9), 2, 2.5)[1]
    computed = []
    compute = FastTransformer._compute
    monkeypatch.setattr(
        FastTransformer,
        "_compute",
        lambda self, t, labels: computed.append(len(t)) or compute(self, t, labels),
    )
    sampler.preroll(*window_inputs(2, WINDOW)[:2], torch.tensor([2, 5]))
    assert computed == [2 * WINDOW]
    computed.clear()
    monkeypatch.setattr(FastTransformer, "EXPECTED", 4)  # too many to hold: each step by itself
    sampler = both(reference_model(num_classes=9), 2, 2.5)[1]
    sampler.preroll(*window_inputs(2, WINDOW)[:2], torch.tensor([2, 5]))
    assert computed == [1, 1, 2, 2, 3, 3, 4, 4]


def test_known_vectors_are_computed_once_and_their_number_is_bounded(monkeypatch):
    sampler = both(reference_model(num_classes=9), steps=3)[1]
    computed = []
    compute = FastTransformer._compute
    monkeypatch.setattr(FastTransformer, "_compute", lambda self, *k: computed.append(k) or compute(self, *k))
    monkeypatch.setattr(FastTransformer, "KEPT", 4)
    window = sampler.preroll(*window_inputs(1, WINDOW)[:2], torch.tensor([2]))
    computed.clear()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        window = sampler.roll(*window, generator, torch.tensor([2]))
    assert not computed, "the last steps of pre-rolling have the times of rolling"
    for label in range(9):
        window = sampler.roll(*window, generator, torch.tensor([label]))
    assert len(sampler.network._kept) == 4


def test_bf16_products_are_near_and_not_the_same():
    plain, fast = both(reference_model(), dtype=torch.bfloat16)
    exact, near = frames_of(plain), frames_of(fast)
    for theirs, ours in zip(exact, near, strict=True):
        difference = (ours - theirs).abs().max() / theirs.abs().max()
        assert 1e-6 < difference < 0.02
        assert ours.dtype == torch.float32


def test_the_model_itself_is_left_alone():
    model = reference_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    frames_of(both(model, dtype=torch.bfloat16)[1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_other_steps_share_the_weights():
    model = reference_model()
    fast = FastSampler(model, RollingSchedule(WINDOW), 1)
    other = fast.with_steps(3)
    assert other.network is fast.network and (fast.steps_per_frame, other.steps_per_frame) == (1, 3)
    assert_same_stream((RollingSampler(model, RollingSchedule(WINDOW), 3), other))


def test_without_packed_weights_the_numbers_are_the_same(monkeypatch):
    monkeypatch.setattr("rflav_lib.fast_layers.can_pack", lambda dtype, device: False)
    assert_same_stream(both(reference_model()))


@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_a_packed_layer_is_the_layer(gelu, dtype, tolerance):
    torch.manual_seed(0)
    layer, rows = torch.nn.Linear(24, 40), torch.randn(7, 24)
    expected = layer(rows)
    if gelu:
        expected = torch.nn.functional.gelu(expected, approximate="tanh")
    for packed in (True, False):
        found = FastLinear(layer, dtype, gelu, packed)(rows.to(dtype))
        assert found.dtype == dtype
        assert_within(found.float(), expected, tolerance)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_written_out_is_attention(is_causal):
    """What the compiler gets for short sequences."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 5, 4, generator=generator, dtype=torch.float64)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
    assert_within(written_out_attention(q, k, v, is_causal), expected, 1e-12)


def test_only_short_sequences_are_written_out():
    attention = SelfAttention(8, 2)
    short = [FastAttention(attention, torch.float32, longest=longest).short for longest in (16, 17, None)]
    assert short == [True, False, False]


@pytest.mark.parametrize(("longest", "by_the_library"), [(16, False), (17, True)])
def test_the_compiler_is_given_the_written_out_form_of_short_attention(longest, by_the_library):
    """A switch that is not pulled would cost speed and no number: so it is read from the graph."""
    attention = FastAttention(SelfAttention(8, 2), torch.float32, packed=False, longest=longest)
    called = set()

    def compiler(graph, inputs):
        called.update(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    tokens = torch.randn(3, 5, 8)
    with torch.no_grad():
        compiled = torch.compile(attention, fullgraph=True, backend=compiler)(tokens, along=1, is_causal=True)
        assert_within(compiled, attention(tokens, along=1, is_causal=True), 1e-6)
    assert called and any("scaled_dot_product" in name for name in called) == by_the_library


def recorded(widths, network, video, *rest):
    """What a network makes of a window, whose width is written down."""
    widths.append(video.shape[1])
    return network(video, *rest)


@pytest.mark.slow
@pytest.mark.parametrize("slots", [{}, {"sink_frames": 1, "context_frames": 2}])
def test_compiled_it_has_the_same_numbers(slots, monkeypatch):
    """One graph serves pre-rolling and rolling: all windows but those of a single frame, with memory or without."""
    try:
        check_compiler(torch.device("cpu"))
    except RuntimeError as error:
        pytest.skip(str(error))
    torch._dynamo.reset()  # what was compiled for another model would make this one a recompilation
    plain, fast = both(open_model("conditioned_average", depth=1, **slots), steps=1, compiled=True)
    widths: dict[str, list[int]] = {"network": [], "_compiled": []}
    # not by a hook: without packed weights the compiled network is the same module
    for name in widths:
        wrapped = partial(recorded, widths[name], getattr(fast.network, name))
        monkeypatch.setattr(fast.network, name, wrapped)
    kernels_are_seen = inductor_config.patch({"cpp.enable_kernel_profile": True})
    with torch._dynamo.config.patch(error_on_recompile=True), kernels_are_seen:
        assert_same_stream((plain, fast))
        with monkeypatch.context() as many_steps:  # more times than are computed in one go: the same graph
            many_steps.setattr(fast.network, "EXPECTED", 0)
            many_steps.setattr(fast.network, "_expected", None)
            many_steps.setattr(fast.network, "_kept", OrderedDict())
            assert_same_stream((plain, fast))
    memory = fast.memory_layout.frames
    moving = {memory + frames for frames in range(1, WINDOW + 1)}
    assert set(widths["network"]) == moving & {1} and set(widths["_compiled"]) == moving - {1}
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        fast.preroll(*window_inputs(2, WINDOW)[:2])
    # called from C++
    compiled = {event.key for event in trace.key_averages() if event.key.startswith("aoti_")}
    packed = any("linear_pointwise" in key or "mkl_linear" in key for key in compiled)
    assert packed == torch.backends.mkldnn.is_available(), "the compiler packs by itself"
    found = shares(lambda: fast.preroll(*window_inputs(2, WINDOW)[:2]), torch.device("cpu"))
    assert all(found[kind] > 0 for kind in ("matrix products", "attention", "norms, gates and activations"))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="no oneDNN here")
def test_float32_is_packed_where_that_is_quicker(monkeypatch):
    for capability, quicker in (("AVX512", True), ("AVX2", False), ("DEFAULT", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=capability: found)
        assert can_pack(torch.float32, torch.device("cpu")) == quicker
        assert not can_pack(torch.float16, torch.device("cpu")) and not can_pack(
            torch.float32, torch.device("meta")
        )


def test_the_network_without_packed_weights_is_there_once(monkeypatch):
    """Where nothing can be packed, gradients and the compiler use the network itself, and not a copy of its weights."""
    packs = can_pack(torch.bfloat16, torch.device("cpu"))
    fast = FastTransformer(reference_model(), torch.bfloat16)
    assert (fast._unpacked is not fast.network) == packs
    monkeypatch.setattr("rflav_lib.fast_layers.can_pack", lambda dtype, device: False)
    fast = FastTransformer(reference_model(), torch.bfloat16)
    assert fast._unpacked is fast.network


@pytest.mark.parametrize("fusion", [*FUSIONS, "as written"])
def test_a_released_model_s_network_goes_on(fusion, monkeypatch):
    """With bf16 products it then holds no weight twice."""
    if fusion == "as written":
        monkeypatch.setattr("rflav_lib.fast_fusion.FAST", {})
    monkeypatch.setattr("rflav_lib.fast_layers.can_pack", lambda dtype, device: False)
    model = open_model("average" if fusion == "as written" else fusion, num_classes=3)
    whole = {name for name, _ in model.blocks.named_parameters()}
    expected = frames_of(both(model, dtype=torch.bfloat16)[1], torch.tensor([0, 2]))
    sampler = both(model, dtype=torch.bfloat16)[1]
    sampler.network.release_model()
    for ours, theirs in zip(frames_of(sampler, torch.tensor([0, 2])), expected, strict=True):
        assert torch.equal(ours, theirs)
    left = {name for name, parameter in model.blocks.named_parameters() if parameter.numel()}
    modulations = {name for name in whole if "modulation" in name}
    assert modulations < whole
    if fusion == "as written":  # with the model's own weights
        assert left == modulations | {name for name in whole if ".fusion." in name}
    elif fusion == "joint_attention":
        assert left == modulations
    else:  # the fusion's modulations depend on what is seen: the network computes them at each step, with its own
        assert left == {name for name in modulations if ".fusion." not in name}


@pytest.mark.skipif(not can_pack(torch.float32, torch.device("cpu")), reason="nothing is packed here")
def test_a_model_whose_weights_are_packed_is_not_released():
    model = reference_model()
    with pytest.raises(RuntimeError, match="the model's own are still needed"):
        FastTransformer(model).release_model()
    assert all(parameter.numel() for parameter in model.parameters())


def test_labels_of_a_gpu_are_read_when_they_change_and_not_at_each_step():
    """Each reading waits for the GPU. Labels of the CPU, which numpy may change unseen, are read anew."""
    sampler, here = both(reference_model(num_classes=9), 2, 2.5)[1], torch.tensor([3])
    with pretend_gpu() as seen:
        labels = [torch.tensor([label], device="cuda") for label in (3, 4)]
        for there, label in zip(labels, (3, 4), strict=True):
            seen.waits.clear()
            assert sampler._labels(there, 1) == (label, 9)
            assert seen.waits
            seen.waits.clear()
            assert [sampler._labels(there, 1) for _ in range(3)] == [(label, 9)] * 3
            assert not seen.waits
        labels[1].fill_(5)
        assert sampler._labels(labels[1], 1) == (5, 9)
    assert sampler._labels(here, 1) == (3, 9)
    here.numpy()[:] = 6
    assert sampler._labels(here, 1) == (6, 9)


def test_gelu_of_a_gpu_is_the_kernel_s_own(monkeypatch):
    """There the kernel computes in float32 itself; to convert first would cost two copies of the widest layer."""
    layer, rows = FastLinear(torch.nn.Linear(8, 8), torch.bfloat16, True, False), torch.randn(3, 8).bfloat16()
    seen, gelu = [], fast_layers.tanh_gelu
    monkeypatch.setattr(fast_layers, "tanh_gelu", lambda rows: seen.append(rows.dtype) or gelu(rows))
    results = [layer(rows)]
    layer.widened = False
    results.append(layer(rows))
    assert seen == [torch.float32, torch.bfloat16]
    assert all(result.dtype == torch.bfloat16 for result in results)
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gelu_writes_over_its_rows_unless_a_gradient_needs_them(dtype):
    rows = torch.randn(3, 8).to(dtype)
    expected = F.gelu(rows, approximate="tanh")
    kept = rows.clone().requires_grad_() * 1
    assert torch.equal(fast_layers.tanh_gelu(kept), expected) and torch.equal(kept, rows)
    given = rows.clone()
    assert fast_layers.tanh_gelu(given) is given and torch.equal(given, expected)


def test_no_c_compiler_for_a_gpu_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(RuntimeError, match="compiled=True needs a C compiler.*install gcc \\(or set CC\\)"):
        check_compiler(torch.device("cuda"))
    (tmp_path / "gcc").touch(mode=0o755)
    check_compiler(torch.device("cuda"))


def test_no_compiler_is_said_at_once(monkeypatch):
    def missing():
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", missing)
    with pytest.raises(RuntimeError, match="compiled=True needs a C\\+\\+ compiler"):
        both(reference_model(), compiled=True)
