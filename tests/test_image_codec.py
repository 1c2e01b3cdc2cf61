"""Letterbox against recorded vectors, round trips through both kinds of VAE, errors, the bundled codec."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from einops import rearrange

from rflav_lib.data.seeds import CODEC_SEED, UNSEEN_SEED
from rflav_lib.data.toy import CLASSES, make_clip
from rflav_lib.image_codec import (
    ImageVAE,
    decode_latents,
    encode_frames,
    encode_images,
    letterbox,
    reduction,
    to_uint8,
)
from rflav_lib.train_codec import (
    WORLDS,
    CodecTraining,
    FramePool,
    codec_loss,
    main,
    new_codec,
    psnr,
    standardised,
)
from tests.golden import assert_within, vectors

TOY_VAE = Path(__file__).parents[1] / "checkpoints" / "toy-vae"


@pytest.fixture
def kl() -> AutoencoderKL:
    torch.manual_seed(0)
    return new_codec().eval()


@pytest.fixture
def tiny() -> AutoencoderTiny:
    torch.manual_seed(0)
    width = {f"{part}_block_out_channels": (8, 8, 8, 8) for part in ("encoder", "decoder")}
    count = {"num_encoder_blocks": (1, 1, 1, 1), "num_decoder_blocks": (1, 1, 1, 1)}
    return AutoencoderTiny(**width, **count, scaling_factor=2.0, shift_factor=0.25).eval()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return make_clip("toy-dance", CODEC_SEED, 0, 5).clip.frames


@pytest.fixture(scope="module")
def bundled() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(TOY_VAE, torch_dtype=torch.float32).eval()


class TestLetterbox:
    @pytest.mark.parametrize("case", ["wide", "tall"])
    def test_matches_the_released_code(self, case: str) -> None:
        golden = vectors("preprocess")
        assert golden[f"{case}.out"].abs().max() <= 1, "the case overshoots, and clamping would show"
        assert_within(letterbox(golden[f"{case}.clip"], 32), golden[f"{case}.out"], 1e-6)

    def test_overshoot_is_clamped(self) -> None:
        golden = vectors("preprocess")
        assert golden["up.out"].abs().max() > 1.1
        assert_within(letterbox(golden["up.clip"], 32), golden["up.out"].clamp(-1, 1), 1e-6)

    def test_sides_are_rounded_not_truncated(self) -> None:
        golden = vectors("preprocess")
        assert (golden["trunc.out"][..., -1] == -1).all(), "the released code leaves a black column"
        images = letterbox(golden["trunc.clip"], 32)
        assert (images[..., -1] > -1).any() and (images[..., -1, :] > -1).any()

    @pytest.mark.parametrize("side", [*range(16, 600, 11), 49, 98, 103])
    def test_a_square_has_no_padding(self, side: int) -> None:
        white = np.full((1, side, side, 3), 255, np.uint8)
        assert (letterbox(white, 32) > 0.999).all()

    def test_padding_is_black_and_its_smaller_half_is_above(self) -> None:
        images = letterbox(np.full((2, 12, 20, 3), 255, np.uint8), 32)
        rows = (images > 0.999).all(dim=(0, 1, 3))
        assert images.shape == (2, 3, 32, 32)
        assert rows.nonzero().flatten().tolist() == list(range(6, 25))
        assert (images[:, :, ~rows] == -1).all()

    def test_a_frame_of_the_right_size_is_unchanged(self, frames: np.ndarray) -> None:
        restored = to_uint8(letterbox(frames, 64))
        np.testing.assert_array_equal(rearrange(restored, "k c h w -> k h w c").numpy(), frames)

    def test_a_sliver_keeps_a_pixel(self) -> None:
        assert (letterbox(np.full((1, 2, 400, 3), 255, np.uint8), 32) > 0.999).any()

    @pytest.mark.parametrize(
        ("bad", "error", "message"),
        [
            (np.zeros((1, 8, 8, 3), np.float32), TypeError, "uint8"),
            ([[0]], TypeError, "list"),
            (np.zeros((8, 8, 3), np.uint8), ValueError, "k h w 3"),
            (np.zeros((1, 3, 8, 8), np.uint8), ValueError, "k h w 3"),
            (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "empty"),
        ],
    )
    def test_bad_frames(self, bad: object, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            letterbox(bad, 32)

    def test_bad_size(self, frames: np.ndarray) -> None:
        with pytest.raises(ValueError, match="size must be at least 1"):
            letterbox(frames, 0)


class TestToUint8:
    def test_matches_the_released_code(self) -> None:
        golden = vectors("preprocess")
        assert torch.equal(to_uint8(golden["out2img.in"]), golden["out2img.out"])

    def test_every_value_survives_the_round_trip(self) -> None:
        values = torch.arange(256, dtype=torch.uint8)
        assert torch.equal(to_uint8(2 * (values.float() / 255) - 1), values)

    def test_nothing_wraps(self) -> None:
        assert to_uint8(torch.tensor([-1e6, -1.01, 1.01, 1e6])).tolist() == [0, 0, 255, 255]

    def test_nan(self) -> None:
        with pytest.raises(ValueError, match="NaN"):
            to_uint8(torch.tensor([0.0, float("nan")]))


class TestBothKindsOfVAE:
    @pytest.fixture(params=["kl", "tiny"])
    def vae(self, request: pytest.FixtureRequest) -> ImageVAE:
        return request.getfixturevalue(request.param)

    def test_shapes_and_types(self, vae: ImageVAE, frames: np.ndarray) -> None:
        latents = encode_frames(vae, frames)
        decoded = decode_latents(vae, latents)
        assert reduction(vae) == 8
        assert latents.shape == (5, 4, 8, 8) and latents.dtype == torch.float32 and not latents.requires_grad
        assert decoded.shape == frames.shape and decoded.dtype == torch.uint8

    def test_batches_do_not_matter_and_bound_what_the_vae_sees(
        self, vae: ImageVAE, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        latents, sizes = encode_frames(vae, frames), []
        decoded = decode_latents(vae, latents)
        encode, decode = vae.encode, vae.decode
        monkeypatch.setattr(vae, "encode", lambda x: sizes.append(len(x)) or encode(x))
        monkeypatch.setattr(vae, "decode", lambda z: sizes.append(len(z)) or decode(z))
        assert_within(encode_frames(vae, frames, batch_size=2), latents, 1e-5)
        again = decode_latents(vae, latents, batch_size=2)
        assert sizes == [2, 2, 1, 2, 2, 1]
        assert (again.int() - decoded.int()).abs().max() <= 1

    def test_encoding_twice_is_the_same(self, vae: ImageVAE, frames: np.ndarray) -> None:
        assert torch.equal(encode_frames(vae, frames), encode_frames(vae, torch.from_numpy(frames)))

    def test_images_and_frames_agree(self, vae: ImageVAE, frames: np.ndarray) -> None:
        assert_within(encode_images(vae, letterbox(frames, 64)), encode_frames(vae, frames), 1e-4)

    def test_half_precision_weights(self, vae: ImageVAE, frames: np.ndarray) -> None:
        full = encode_frames(vae, frames)
        half = encode_frames(vae.to(torch.bfloat16), frames)
        assert half.dtype == torch.float32
        assert (half - full).abs().mean() < 0.05 * full.std()
        assert decode_latents(vae, half).dtype == torch.uint8

    def test_not_square(self, vae: ImageVAE) -> None:
        latents = encode_frames(vae, np.zeros((1, 32, 48, 3), np.uint8))
        assert latents.shape == (1, 4, 4, 6)
        assert decode_latents(vae, latents).shape == (1, 32, 48, 3)

    def test_errors(self, vae: ImageVAE, frames: np.ndarray) -> None:
        latents = torch.zeros(2, 4, 8, 8)
        broken = torch.full_like(latents, float("nan"))
        for bad, message in [(latents[:, :3], r"\(k 4 h w\)"), (latents[0], r"\(k 4 h w\)"), (broken, "NaN")]:
            with pytest.raises(ValueError, match=message):
                decode_latents(vae, bad)
        for bad in (frames[..., :2], frames[0]):
            with pytest.raises(ValueError, match="k h w 3"):
                encode_frames(vae, bad)
        with pytest.raises(ValueError, match="60x64.*multiples of 8"):
            encode_frames(vae, frames[:, :60])
        with pytest.raises(ValueError, match="k 3 h w"):
            encode_images(vae, torch.zeros(1, 4, 64, 64))
        with pytest.raises(ValueError, match="NaN"):
            encode_images(vae, torch.full((1, 3, 64, 64), float("nan")))
        for beyond in (200.0, -1.02):
            with pytest.raises(ValueError, match=r"must lie in \[-1, 1\], but they reach"):
                encode_images(vae, torch.full((1, 3, 64, 64), beyond))
        assert encode_images(vae, torch.full((1, 3, 64, 64), 1.005)).isfinite().all()
        for pixels in (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), np.zeros((1, 3, 64, 64), np.float32)):
            with pytest.raises(
                TypeError, match=r"floating point tensor in \[-1, 1\], got (torch.uint8|float32)"
            ):
                encode_images(vae, pixels)
        for function, values in [(encode_frames, frames), (decode_latents, latents)]:
            with pytest.raises(ValueError, match="batch_size"):
                function(vae, values, batch_size=0)


@pytest.mark.parametrize("shift", [None, 0.5])
def test_scale_and_shift(kl: AutoencoderKL, frames: np.ndarray, shift: float | None) -> None:
    raw = encode_frames(kl, frames)
    decoded = decode_latents(kl, raw)
    kl.register_to_config(scaling_factor=3.0, shift_factor=shift)
    latents = encode_frames(kl, frames)
    assert_within(latents, (raw - (shift or 0.0)) * 3, 1e-5)
    assert (decode_latents(kl, latents).int() - decoded.int()).abs().max() <= 1


class TestTraining:
    def test_standardised_codes_alike(self, kl: AutoencoderKL, frames: np.ndarray) -> None:
        images = letterbox(frames, 64)
        before = kl.encode(images).latent_dist
        copy = standardised(kl, images)
        after = copy.encode(images).latent_dist
        assert_within(after.mean.mean(dim=(0, 2, 3)), torch.zeros(4), 1e-4)
        assert_within(after.mean.std(dim=(0, 2, 3)), torch.ones(4), 1e-4)
        # the posterior is stretched like its mean
        stretched = before.std / before.mean.std(dim=(0, 2, 3))[:, None, None]
        torch.testing.assert_close(after.std, stretched, atol=0, rtol=1e-3)
        assert_within(copy.decode(after.mean).sample, kl.decode(before.mean).sample, 1e-4)

    def test_a_few_steps_lower_the_loss(self) -> None:
        torch.manual_seed(0)
        vae, pool, config = new_codec(), FramePool(4, seed=0), CodecTraining()
        images, far = pool.draw(2)
        optimiser = torch.optim.AdamW(vae.parameters(), 2e-3)
        losses = []
        for _ in range(12):
            loss = codec_loss(vae, images, far, config)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0]

    def test_the_pool_holds_both_worlds_and_renews_itself(self) -> None:
        pool = FramePool(4, seed=0)
        for place, world in enumerate([*WORLDS, *WORLDS]):
            np.testing.assert_array_equal(pool.frames[place], make_clip(world, 0, place).clip.frames)
        pool.replace_oldest()
        fresh = make_clip(WORLDS[0], 0, 4).clip.frames
        np.testing.assert_array_equal(pool.frames[0], fresh)
        other = FramePool(2, seed=0, worlds=["toy-pillar"])
        np.testing.assert_array_equal(other.frames[1], make_clip("toy-pillar", 0, 1).clip.frames)
        images, far = pool.draw(6)
        assert images.shape == (6, 3, 64, 64) and far.shape == (6, 1, 64, 64)
        assert images.abs().max() <= 1 and far.min() == 0 and 0.2 < far.max() <= 1

    def test_measured_clips_cannot_be_trained_on(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for seed in (CODEC_SEED, UNSEEN_SEED):
            with pytest.raises(SystemExit):
                main(["--out", str(tmp_path / "vae"), "--seed", str(seed)])
            assert f"--seed {seed} is kept for measuring" in capsys.readouterr().err


class TestBundledCodec:
    def test_small(self) -> None:
        assert sum(path.stat().st_size for path in TOY_VAE.iterdir()) <= 4.5e6
        names = {path.name for path in TOY_VAE.iterdir()}
        assert names == {"config.json", "diffusion_pytorch_model.safetensors"}

    @pytest.mark.parametrize("world", WORLDS)
    def test_unseen_frames_come_back(self, bundled: AutoencoderKL, world: str) -> None:
        labels = range(len(CLASSES[world])) if CLASSES[world] else [None] * 5
        clips = [make_clip(world, CODEC_SEED, 500 + i, 24, label).clip for i, label in enumerate(labels)]
        frames = np.concatenate([clip.frames[::3] for clip in clips])
        assert psnr(frames, decode_latents(bundled, encode_frames(bundled, frames))).mean() >= 34

    def test_latents_are_standard(self, bundled: AutoencoderKL) -> None:
        clips = [make_clip(world, CODEC_SEED, i, 20).clip for world in WORLDS for i in range(10)]
        latents = encode_frames(bundled, np.concatenate([clip.frames[::5] for clip in clips]))
        assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.2
        assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "0"], "steps must be a whole number, at least 1, not 0"),
        (["--batch", "0"], "batch must be a whole number, at least 1, not 0"),
        (["--learning-rate", "nan"], "learning_rate must be a finite number, not nan"),
        (["--seed", "-1"], "seed must be a whole number, at least 0, not -1"),
        (["--seed", str(2**63)], f"seed must be at most {2**63 - 1}, not {2**63}"),
        (["--learning-rate", "-1"], "learning_rate must be at least 0, not -1.0"),
    ],
)
def test_numbers_that_cannot_train_are_named(tmp_path, capsys, words, message) -> None:
    assert main(["--out", str(tmp_path / "codec"), *words]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "codec").exists()


def test_a_codec_that_is_not_there_is_named(capsys) -> None:
    assert main(["--evaluate", "/nope"]) == 2
    assert capsys.readouterr().err.startswith("error: /nope: no image VAE here")
