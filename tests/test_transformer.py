"""The transformer: recorded values of the released code, its files, its labels, and what it refuses."""

import numpy as np
import pytest
import torch

from rflav_lib.fusion import FUSIONS
from rflav_lib.transformer import RFLAVTransformer
from tests.golden import TINY, assert_within, open_model, reference_model, vectors, window_inputs

TOLERANCE = 3e-6
EACH_FUSION = pytest.mark.parametrize("fusion", list(FUSIONS))


@pytest.mark.parametrize(
    ("case", "num_classes", "causal"),
    [("model_tiny_uncond", 0, True), ("model_tiny_class", 9, True), ("model_tiny_noncausal", 0, False)],
)
@torch.no_grad()
def test_velocities_are_the_released_ones(case, num_classes, causal):
    golden = vectors(case)
    model = reference_model(num_classes, causal)
    video, audio = model(golden["v"], golden["a"], golden["t"], golden.get("y"))
    assert_within(video, golden["v_out"], TOLERANCE)
    assert_within(audio, golden["a_out"], TOLERANCE)


@pytest.mark.parametrize(("case", "num_classes"), [("model_tiny_uncond", 0), ("model_tiny_class", 9)])
@torch.no_grad()
def test_every_stage_is_the_released_one(case, num_classes):
    """Tokens, conditions, and what leaves each block: says where a difference begins."""
    golden, model = vectors(case), reference_model(num_classes)
    tokens = model.patchify(golden["v"], golden["a"])
    conditions = model.condition(golden["t"], golden.get("y"))
    for name, tensor in zip(("v_tokens", "a_tokens", "v_c", "a_c"), (*tokens, *conditions), strict=True):
        assert_within(tensor, golden[f"mid.{name}"], TOLERANCE)
    for number, block in enumerate(model.blocks):
        tokens = block(*tokens, *conditions)
        assert_within(tokens[0], golden[f"mid.block{number}.v"], TOLERANCE)
        assert_within(tokens[1], golden[f"mid.block{number}.a"], TOLERANCE)


@torch.no_grad()
def test_no_label_is_the_null_label():
    golden, model = vectors("model_tiny_class"), reference_model(num_classes=9)
    null = torch.full((2,), model.null_label)
    for y in (None, null):
        video, audio = model(golden["v"], golden["a"], golden["t"], y)
        assert_within(video, golden["v_out_null"], TOLERANCE)
        assert_within(audio, golden["a_out_null"], TOLERANCE)


@torch.no_grad()
def test_every_label_is_its_own():
    model, (video, audio, t) = open_model("conditioned_average", num_classes=3), window_inputs(batch=1)
    outputs = [model(video, audio, t, torch.tensor([label]))[0] for label in range(4)]
    for first in range(4):
        for second in range(first):
            assert not torch.allclose(outputs[first], outputs[second], atol=1e-3)


@torch.no_grad()
def test_samples_of_a_batch_do_not_see_each_other():
    model, (video, audio, t) = open_model("joint_attention", num_classes=3), window_inputs(batch=3)
    y = torch.tensor([2, 0, 1])
    together = model(video, audio, t, y)
    for sample in range(3):
        alone = model(video[[sample]], audio[[sample]], t[[sample]], y[[sample]])
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[sample], atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_forward_never_drops_a_label_by_itself():
    model, (video, audio, t) = (
        open_model("conditioned_average", num_classes=3, class_dropout=1.0),
        window_inputs(),
    )
    y = torch.tensor([0, 2])
    expected = model.eval()(video, audio, t, y)
    for _ in range(3):
        for trained, evaluated in zip(model.train()(video, audio, t, y), expected, strict=True):
            assert torch.equal(trained, evaluated)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_drop_labels_drops_its_share_and_keeps_the_rest(share):
    model = RFLAVTransformer(**TINY, num_classes=5, class_dropout=share)
    y = torch.arange(20_000) % 5
    dropped = model.drop_labels(y, torch.Generator().manual_seed(0))
    is_null = dropped == model.null_label
    deviation = (share * (1 - share) / len(y)) ** 0.5
    assert is_null.float().mean().item() == pytest.approx(share, abs=4 * deviation)
    assert torch.equal(dropped[~is_null], y[~is_null]) and dropped.dtype == y.dtype
    assert torch.equal(dropped, model.drop_labels(y, torch.Generator().manual_seed(0)))


@EACH_FUSION
def test_saved_model_is_loaded_back_from_safetensors_alone(fusion, tmp_path):
    changes = {"num_classes": 2, "causal": False, "class_dropout": 0.3, "mlp_ratio": 2.0, "mel_frames": 10}
    model, inputs = open_model(fusion, **changes), window_inputs()
    y = torch.tensor([1, 0])
    model.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    loaded = RFLAVTransformer.from_pretrained(tmp_path, use_safetensors=True)
    assert {**TINY, **changes, "fusion": fusion}.items() <= dict(loaded.config).items()
    assert not loaded.training
    with torch.no_grad():
        for before, after in zip(model(*inputs, y), loaded(*inputs, y), strict=True):
            assert torch.equal(before, after)


@EACH_FUSION
def test_gradient_checkpointing_changes_memory_not_gradients(fusion):
    model, inputs, passes = open_model(fusion).train(), window_inputs(), []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda *_: passes.append(1))

    def gradients():
        model.zero_grad(), passes.clear()
        video, audio = model(*inputs)
        (video.square().mean() + audio.square().mean()).backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}, len(passes)

    plain, plain_passes = gradients()
    model.enable_gradient_checkpointing()
    checkpointed, checkpointed_passes = gradients()
    assert (plain_passes, checkpointed_passes) == (TINY["depth"], 2 * TINY["depth"])
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("window_dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_weights_in_bf16_stay_near_float32(window_dtype):
    """The window may stay in float32: at many steps a frame, a step is smaller than bf16 resolves."""
    model, (video, audio, t) = reference_model(num_classes=9), window_inputs()
    y = torch.tensor([0, 8])
    expected = model(video, audio, t, y)
    torch.nn.Module.to(model, torch.bfloat16)
    for actual, exact in zip(
        model(video.to(window_dtype), audio.to(window_dtype), t, y), expected, strict=True
    ):
        assert actual.dtype == torch.bfloat16
        assert_within(actual.float(), exact, 0.05)


@pytest.mark.parametrize(
    ("patch_size", "in_channels", "mel_frames", "n_mels"), [(1, 4, 10, 32), (4, 3, 7, 16), (8, 4, 1, 8)]
)
@torch.no_grad()
def test_other_sizes(patch_size, in_channels, mel_frames, n_mels):
    changes = {
        "patch_size": patch_size,
        "in_channels": in_channels,
        "mel_frames": mel_frames,
        "n_mels": n_mels,
    }
    model = open_model("joint_attention", **changes)
    video, audio = torch.randn(1, 3, in_channels, 8, 8), torch.randn(1, 3, mel_frames, n_mels)
    outputs = model(video, audio, torch.rand(1, 3))
    assert [output.shape for output in outputs] == [video.shape, audio.shape]


def test_patches_go_back_to_where_they_came_from():
    """Patches row by row; within one: row, column, channel, as the released head has them."""
    model = RFLAVTransformer(**TINY)
    video = torch.arange(4 * 8 * 8.0).reshape(1, 1, 4, 8, 8)
    tokens = [
        video[0, 0, :, row : row + 2, column : column + 2].permute(1, 2, 0).flatten()
        for row in range(0, 8, 2)
        for column in range(0, 8, 2)
    ]
    assert torch.equal(model.unpatchify(torch.stack(tokens)[None, None]), video)


def refused(message, *, num_classes=0, **changes):
    """A forward with `changes` to good inputs, which must raise a ValueError that matches `message`."""
    video, audio, t = window_inputs()
    model = RFLAVTransformer(**TINY, num_classes=num_classes)
    with pytest.raises(ValueError, match=message):
        model(**{"video": video, "audio": audio, "t": t, **changes})


def test_longer_window_than_the_model_has_is_refused():
    video, audio, t = window_inputs(frames=5)
    refused("5 frames, but this model's window is 4", video=video, audio=audio, t=t)


@pytest.mark.parametrize(
    ("which", "shape"),
    [
        ("video", (2, 4, 3, 8, 8)),
        ("video", (2, 4, 4, 8, 16)),
        ("video", (2, 4, 4, 16, 16)),
        ("audio", (2, 4, 10, 64)),  # mel bins of another codec
        ("audio", (2, 4, 32, 10)),  # bins and frames exchanged
        ("audio", (2, 3, 10, 32)),
        ("audio", (1, 4, 10, 32)),
        ("t", (2,)),
        ("t", (2, 3)),
    ],
)
def test_tensor_of_another_shape_is_refused_by_name(which, shape):
    escaped = str(shape).replace("(", r"\(").replace(")", r"\)")
    refused(f"{which} has shape {escaped}, this model needs", **{which: torch.zeros(shape)})


def test_labels_that_do_not_fit_are_refused():
    refused("without classes", y=torch.tensor([0, 0]))
    refused(r"labels must lie in 0\.\.2, .* 3 .*; got \[0, 4\]", num_classes=3, y=torch.tensor([0, 4]))
    refused(r"labels must lie in 0\.\.2, .* 3 .*; got \[-1, 0\]", num_classes=3, y=torch.tensor([-1, 0]))
    refused(r"y has shape \(3,\), this model needs \(2,\)", num_classes=3, y=torch.tensor([0, 1, 2]))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="latent_size 8 is not a multiple of patch_size 3"):
        RFLAVTransformer(**{**TINY, "patch_size": 3})
    with pytest.raises(ValueError, match="hidden_size 48 is not a multiple of num_heads 5"):
        RFLAVTransformer(**{**TINY, "num_heads": 5})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 0}, "patch_size must be a whole number, at least 1, not 0"),
        ({"depth": 0}, "depth must be a whole number, at least 1, not 0"),
        ({"window": -1}, "window must be a whole number, at least 1, not -1"),
        ({"num_classes": -1}, "num_classes must be a whole number, at least 0, not -1"),
        ({"depth": True}, "depth must be a whole number, at least 1, not True"),
        ({"num_heads": 1.5}, "num_heads must be a whole number, at least 1, not 1.5"),
        ({"hidden_size": "24"}, "hidden_size must be a whole number, at least 1, not '24'"),
        ({"hidden_size": 10**12}, "hidden_size must be at most 2147483647"),
        ({"mlp_ratio": "4"}, "mlp_ratio must be a finite number, not '4'"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio must be a finite number, not nan"),
        ({"mlp_ratio": 0}, "mlp_ratio must leave a width of at least 1 beside hidden_size"),
        ({"class_dropout": "a"}, "class_dropout must be a finite number, not 'a'"),
        ({"fusion": ["average"]}, r"fusion must be one of .*, not \['average'\]"),
        ({"causal": "no"}, "causal must be True or False, not 'no'"),
        ({"class_dropout": 1.5}, r"class_dropout must lie in \[0, 1\], not 1.5"),
        ({"fusion": "sum"}, "fusion must be one of joint_attention, average, conditioned_average, not 'sum'"),
    ],
)
def test_settings_that_make_no_model_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        RFLAVTransformer(**{**TINY, **change})


def test_there_are_no_labels_to_drop_without_classes():
    with pytest.raises(ValueError, match="no labels to drop"):
        RFLAVTransformer(**TINY).drop_labels(torch.tensor([0]))


def test_a_model_of_numpys_numbers_is_saved(tmp_path):
    sizes = {name: np.int64(size) for name, size in TINY.items() if type(size) is int}
    RFLAVTransformer(**{**TINY, **sizes, "mlp_ratio": np.float32(4)}).save_pretrained(tmp_path)
    opened = RFLAVTransformer.from_pretrained(tmp_path)
    assert {name: opened.config[name] for name in sizes} == sizes and opened.config.mlp_ratio == 4
