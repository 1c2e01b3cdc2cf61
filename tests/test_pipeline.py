"""The pipeline: the same clip from the same seed, and one clear error for what cannot work."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from rflav_lib.hifigan import HiFiGAN
from rflav_lib.mel import Float32Module
from rflav_lib.pipeline import RFLAVPipeline
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline") / "toy"
    pipeline.save_whole(path)
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def generate(pipeline, seed=3, **settings):
    settings = {"num_frames": 3, "steps_per_frame": 1, "y": "rain", **settings}
    return pipeline(generator=torch.Generator().manual_seed(seed), **settings)


def test_a_clip_has_the_frames_asked_for_and_their_sound(pipeline):
    for num_frames in (1, 3, 7):  # shorter and longer than the window of 4
        (clip,) = generate(pipeline, num_frames=num_frames)
        assert clip.frames.shape == (num_frames, 64, 64, 3)
        assert clip.waveform.shape == (1600 * num_frames,)


def test_with_a_generator_for_each_clip_none_depends_on_those_beside_it(pipeline):
    def made(seeds, **settings):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        settings = {"num_frames": 6, "steps_per_frame": 1, "num_clips": len(seeds), **settings}
        return pipeline(generator=generators, **settings)

    both, swapped = made([3, 4], y="rain"), made([4, 3], y="rain")
    (alone,) = generate(pipeline, num_frames=6)
    for clip in (both[0], swapped[1]):
        assert np.abs(clip.frames.astype(int) - alone.frames).max() <= 1, (
            "as from one generator, up to rounding"
        )
    assert np.abs(both[0].frames.astype(int) - both[1].frames).max() > 5
    sound = np.sin(np.arange(6 * 1600, dtype=np.float32) / 5)
    pair, (first,) = made([3, 4], audio=sound), generate(pipeline, num_frames=6, audio=sound, y=None)
    assert np.abs(pair[0].frames.astype(int) - first.frames).max() <= 1
    with pytest.raises(ValueError, match="2 generators for 3 clips"):
        made([3, 4], num_clips=3)


def test_the_seed_decides(pipeline):
    (first,), (second,), (other,) = generate(pipeline), generate(pipeline), generate(pipeline, seed=4)
    assert np.array_equal(first.frames, second.frames) and np.array_equal(first.waveform, second.waveform)
    assert not np.array_equal(first.waveform, other.waveform)


def test_a_longer_clip_begins_as_the_shorter_one(pipeline):
    (short,), (long,) = generate(pipeline, num_frames=2), generate(pipeline, num_frames=5)
    assert np.array_equal(short.frames, long.frames[:2])


def test_labels_by_name_and_number(pipeline):
    (named,), (numbered,), (other,) = generate(pipeline), generate(pipeline, y=2), generate(pipeline, y=0)
    assert np.array_equal(named.waveform, numbered.waveform)
    assert not np.array_equal(named.waveform, other.waveform)
    assert len(generate(pipeline, y=["rain", 0, "siren"])) == 3
    assert len(generate(pipeline, y="rain", num_clips=2)) == 2
    assert len(generate(pipeline, y=None, num_clips=2)) == 2


@pytest.mark.parametrize(
    "same",
    [
        2,
        np.int64(2),
        np.array(2),
        torch.tensor(2),
        np.str_("rain"),
        ["rain"],
        (2,),
        np.array([2]),
        torch.tensor([2]),
    ],
    ids=repr,
)
def test_a_class_however_it_is_given(pipeline, same):
    assert pipeline.label_numbers(same).tolist() == [2]


def test_names_and_numbers_of_any_kind_side_by_side(pipeline):
    assert pipeline.label_numbers(["rain", np.int32(0), torch.tensor(4)]).tolist() == [2, 0, 4]


def test_whole_numbers_of_numpy_and_torch(pipeline):
    (plain,) = generate(pipeline)
    numbers = {"num_frames": np.int64(3), "steps_per_frame": torch.tensor(1), "num_clips": np.int32(1)}
    (same,) = generate(pipeline, **numbers, warm_frames=np.int64(0), condition_scale=np.float32(1))
    assert np.array_equal(plain.waveform, same.waveform)
    stream = pipeline.stream(np.int64(1), np.int64(2), y=np.int64(2), warm_frames=np.int64(1))
    assert len(next(stream)) == 2


@pytest.mark.parametrize("generator", [5, [5], [torch.Generator(), None]], ids=["5", "[5]", "None in a list"])
def test_what_is_no_generator(pipeline, generator):
    with pytest.raises(ValueError, match="generator must be a torch.Generator on the CPU, or a list"):
        pipeline(2, generator=generator)


def test_a_stream_takes_one_generator(pipeline):
    with pytest.raises(ValueError, match="generator must be a torch.Generator on the CPU, not .*Generator"):
        pipeline.stream(generator=[torch.Generator()])


def test_settings_of_a_stream_are_checked_as_those_of_a_call(pipeline):
    with pytest.raises(ValueError, match="dtype must be None or one of"):
        pipeline.stream(dtype="bfloat16")


@pytest.mark.parametrize("settings", [{"dtype": torch.bfloat16}, {"compiled": True}])
def test_the_plain_sampler_refuses_what_it_would_leave_out(pipeline, settings):
    with pytest.raises(ValueError, match="dtype and compiled are of the fast sampler"):
        pipeline.sampler(fast=False, **settings)


def test_guidance_changes_the_result(pipeline):
    (plain,), (guided,) = generate(pipeline), generate(pipeline, guidance_scale=3.0)
    assert not np.array_equal(plain.waveform, guided.waveform)


def test_a_saved_pipeline_makes_the_same_clip(pipeline, folder):
    loaded = RFLAVPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    (saved,), (here,) = generate(loaded), generate(pipeline)
    assert np.array_equal(saved.frames, here.frames)
    np.testing.assert_allclose(saved.waveform, here.waveform, atol=1e-6)
    assert not list(folder.rglob("*.bin"))


def test_half_precision_weights_sample_too(folder):
    loaded = RFLAVPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.transformer.dtype == torch.bfloat16
    (clip,) = generate(loaded)
    assert np.isfinite(clip.waveform).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"y": "rian"}, "unknown class 'rian'; did you mean 'rain'"),
        ({"y": 5}, "label 5 is out of range: this model has classes 0..4"),
        ({"y": -1}, "label -1 is out of range"),
        ({"num_frames": 0}, "num_frames must be a whole number, at least 1, not 0"),
        ({"num_frames": 2.5}, "num_frames must be a whole number"),
        ({"steps_per_frame": 0}, "steps_per_frame must be a whole number, at least 1, not 0"),
        ({"y": ["rain", "siren"], "num_clips": 3}, "y is a list of 2 for num_clips=3"),
        ({"y": ["rain"], "num_clips": 3}, "y is a list of 1 for num_clips=3: give as many, or one class by"),
        ({"num_clips": 0}, "num_clips must be a whole number, at least 1, not 0"),
        ({"num_clips": True}, "num_clips must be a whole number, at least 1, not True"),
        ({"num_clips": 1.5}, "num_clips must be a whole number, at least 1, not 1.5"),
        ({"y": [1.7]}, r"y\[0\] must be a class by name or number, not 1.7"),
        ({"y": [-0.5]}, "by name or number, not -0.5"),
        ({"y": torch.tensor([1.9])}, r"by name or number, not tensor\(1.9000\)"),
        ({"y": True}, "y must be a class by name or number, not True"),
        ({"y": 1.7}, "y must be a class by name or number, not 1.7"),
        ({"y": []}, "y is empty"),
        ({"y": ["rain", None]}, r"y\[1\] must be a class by name or number, not None"),
        ({"y": {"rain": 1}}, "y must be a class by name or number, not {"),
        ({"dtype": torch.int8}, "dtype must be None or one of torch.float32, .* not torch.int8"),
        ({"dtype": "bfloat16"}, "dtype must be None or one of .* not 'bfloat16'"),
        ({"condition_scale": None}, "condition_scale must be a finite number, not None"),
        ({"condition_scale": float("nan")}, "condition_scale must be a finite number, not nan"),
        ({"condition_scale": "1000"}, "condition_scale must be a finite number, not '1000'"),
        ({"condition_scale": torch.tensor(1.0)}, "condition_scale must be a finite number, not tensor"),
        ({"warm_frames": 1.0}, "warm_frames must be a whole number, at least 0, not 1.0"),
        ({"y": None, "guidance_scale": 2.0}, "needs labels"),
        ({"num_frames": 10**30}, "num_frames must be at most 2147483647, not 10{30}$"),
        ({"steps_per_frame": 10**30}, "steps_per_frame must be at most 2147483647, not 10{30}$"),
        ({"num_clips": 10**12}, "num_clips must be at most 2147483647, not 10{12}$"),
        ({"dtype": np.zeros(2)}, "dtype must be None or one of .* not array"),
        ({"guidance_scale": 1e30}, r"made is NaN or infinite: try a guidance_scale below 1e\+30$"),
        (
            {
                "y": None,
                "num_frames": 1,
                "audio": np.sin(np.arange(1600, dtype=np.float32)),
                "condition_scale": 1e30,
            },
            r"made is NaN or infinite: try a condition_scale below 1e\+30$",
        ),
    ],
)
def test_bad_calls_are_named(pipeline, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(pipeline, **settings)


def test_a_label_for_a_model_without_classes():
    with pytest.raises(ValueError, match="has no classes, so it cannot make 'rain'"):
        generate(tiny_pipeline(num_classes=0))


def test_components_must_fit(pipeline):
    from rflav_lib.mel import MelCodec
    from rflav_lib.vocoder import GriffinLim

    mel = MelCodec(n_mels=40, peak=None)
    with pytest.raises(ValueError, match="mel bins is 32, but the mel codec has 40"):
        RFLAVPipeline(pipeline.transformer, pipeline.vae, mel, GriffinLim.from_codec(mel))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"f_min": 20.0}, "vocoder f_min is 20.0, but the mel codec has 0.0"),
        ({"f_max": 7000.0}, "vocoder f_max is 7000.0, but the mel codec has 8000.0"),
        ({"hop_length": 80}, "vocoder hop_length is 80, but the mel codec has 160"),
        ({"win_length": 800}, "vocoder win_length is 800, but the mel codec has 1024"),
        ({"n_fft": 1024}, "vocoder n_fft is 1024, but the mel codec has 2048"),
    ],
)
def test_a_vocoder_of_another_mel_is_refused(pipeline, change, message):
    from rflav_lib.vocoder import GriffinLim

    names = ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels", "f_min", "f_max")
    vocoder = GriffinLim(**{name: pipeline.mel.config[name] for name in names} | change)
    with pytest.raises(ValueError, match=message):
        RFLAVPipeline(pipeline.transformer, pipeline.vae, pipeline.mel, vocoder)


def test_a_trained_vocoder_of_another_hop_is_refused(pipeline):
    vocoder = HiFiGAN(n_mels=32, upsample_rates=(4, 4, 4, 2), upsample_kernel_sizes=(8, 8, 8, 4))
    with pytest.raises(ValueError, match="vocoder hop_length is 128, but the mel codec has 160"):
        RFLAVPipeline(pipeline.transformer, pipeline.vae, pipeline.mel, vocoder)


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        RFLAVPipeline.from_pretrained(tmp_path / "nothing")
    with pytest.raises(ValueError, match="not a pipeline folder"):
        RFLAVPipeline.from_pretrained(tmp_path)


def test_a_checkpoint_of_another_model(copy):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(ValueError, match="another model .StableDiffusionPipeline."):
        RFLAVPipeline.from_pretrained(copy)


def test_truncated_weights(copy):
    path = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="transformer.*truncated or not a safetensors file"):
        RFLAVPipeline.from_pretrained(copy)


def change_weights(folder, change):
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def a_nan(weights):
    weights["audio_head.linear.bias"][3] = float("nan")


def one_less(weights):
    del weights["blocks.0.fusion.video_average.weight"]


def one_more(weights):
    weights["blocks.7.fusion.video_average.weight"] = torch.zeros(3)


def test_nan_in_weights(copy):
    change_weights(copy, a_nan)
    with pytest.raises(ValueError, match="audio_head.linear.bias holds NaN"):
        RFLAVPipeline.from_pretrained(copy)


@pytest.mark.parametrize("change", [one_less, one_more])
def test_weights_that_do_not_fit_the_config(copy, change):
    change_weights(copy, change)
    with pytest.raises(ValueError, match="do not fit the config.*fusion.video_average.weight"):
        RFLAVPipeline.from_pretrained(copy)


def test_a_window_that_does_not_match_the_weights(copy):
    config = json.loads((copy / "transformer" / "config.json").read_text())
    (copy / "transformer" / "config.json").write_text(json.dumps({**config, "window": 6}))
    with pytest.raises(ValueError, match="time_position|size mismatch|shape"):
        RFLAVPipeline.from_pretrained(copy)


def test_no_pickle_is_ever_opened(copy):
    path = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save({"weight": torch.zeros(1)}, path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises((ValueError, OSError)):
        RFLAVPipeline.from_pretrained(copy)


@pytest.fixture
def repository(copy, monkeypatch):
    """owner/name of the model hub, fetched to `copy`: what diffusers was asked for."""
    asked = []
    monkeypatch.setattr(
        DiffusionPipeline, "download", lambda name, **settings: asked.append((name, settings)) or str(copy)
    )
    return asked


def test_a_repository_is_fetched_as_asked_for(pipeline, repository):
    loaded = RFLAVPipeline.from_pretrained("owner/name", revision="v2", token="t", local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    settings = {"revision": "v2", "token": "t", "local_files_only": True, "variant": None}
    settings["use_safetensors"] = True
    assert repository == [("owner/name", settings)] and loaded.name_or_path == "owner/name"
    assert np.array_equal(generate(loaded)[0].frames, generate(pipeline)[0].frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (a_nan, "audio_head.linear.bias holds NaN"),
        (one_less, "do not fit the config.*fusion.video_average.weight"),
        (one_more, "do not fit the config.*fusion.video_average.weight"),
    ],
)
def test_a_damaged_repository_is_refused_as_a_folder_is(repository, copy, change, message):
    change_weights(copy, change)
    with pytest.raises(ValueError, match=f"transformer.*{message}"):
        RFLAVPipeline.from_pretrained("owner/name")


def test_a_repository_of_another_kind_is_refused(repository, copy):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "vae": ["os", "system"]}))
    with pytest.raises(ValueError, match="vae is .*no part of diffusers or rflav_lib"):
        RFLAVPipeline.from_pretrained("owner/name")


def test_a_repository_out_of_reach_is_no_damaged_one(monkeypatch):
    def unreachable(name, **settings):
        raise OSError(f"{name}: no connection")

    monkeypatch.setattr(DiffusionPipeline, "download", unreachable)
    with pytest.raises(OSError, match="owner/name: no connection"):
        RFLAVPipeline.from_pretrained("owner/name")


@pytest.mark.parametrize("hub", [False, True])
def test_a_given_component_takes_the_place_of_the_stored_one(repository, copy, hub):
    vocoder = HiFiGAN(n_mels=32, upsample_initial_channel=16)
    place = "owner/name" if hub else copy
    assert RFLAVPipeline.from_pretrained(place, vocoder=vocoder).vocoder is vocoder
    change_weights(copy, a_nan)
    with pytest.raises(ValueError, match="audio_head.linear.bias holds NaN"):
        RFLAVPipeline.from_pretrained(place, vocoder=vocoder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vae": None}, "vae must be a module that takes the place of the stored one, not None"),
        ({"vocoder": "griffin"}, "vocoder must be a module .*, not 'griffin'"),
        ({"class_names": "abc"}, "^class_names must be a list of different names, not 'abc'"),
        ({"class_names": ["a"]}, "with the class_names that was given, or is damaged: .* 1 class names for"),
        ({"low_cpu_mem_usage": False}, "needs low_cpu_mem_usage: leave it out"),
    ],
)
def test_what_is_given_beside_a_good_folder_is_what_is_wrong(copy, given, message):
    with pytest.raises(ValueError, match=message):
        RFLAVPipeline.from_pretrained(copy, **given)


def test_weights_in_another_file_are_named(copy):
    path = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))
    with pytest.raises(
        ValueError, match=r"diffusion_pytorch_model\.safetensors: no such.*open it with variant='fp16'"
    ):
        RFLAVPipeline.from_pretrained(copy)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"transformer": None}, "transformer must be of class RFLAVTransformer, not NoneType"),
        ({"vae": torch.nn.Linear(1, 1)}, "vae must be of class AutoencoderKL or AutoencoderTiny, not Linear"),
        ({"mel": "mel"}, "mel must be of class MelCodec, not str"),
        ({"vocoder": None}, "vocoder must be of class GriffinLim or HiFiGAN, or another .*, not NoneType"),
        ({"vocoder": Float32Module()}, "or another ModelMixin with a config, not Float32Module"),
        ({"class_names": "abcde"}, "class_names must be a list of different names, not 'abcde'"),
        ({"class_names": 5}, "class_names must be a list of different names, not 5"),
        ({"class_names": ["a", "a", "b", "c", "d"]}, "class_names must be a list of different names, not"),
        ({"class_names": [0, 1, 2, 3, 4]}, "class_names must be a list of different names, not"),
        ({"class_names": ["a"]}, "1 class names for a transformer with 5 classes"),
    ],
)
def test_parts_that_are_none_are_named(pipeline, part, message):
    with pytest.raises(ValueError, match=message):
        RFLAVPipeline(**{**pipeline.components, **part})


def test_a_mel_codec_is_no_vocoder(pipeline):
    with pytest.raises(
        ValueError, match="vocoder must be of class GriffinLim or HiFiGAN, or .*, not MelCodec"
    ):
        RFLAVPipeline(**{**pipeline.components, "vocoder": pipeline.mel})


def test_a_weight_that_diverged_in_training_is_told_from_strong_guidance():
    pipeline = tiny_pipeline(num_classes=0)
    torch.nn.init.constant_(pipeline.transformer.video_head.linear.bias, torch.inf)
    with pytest.raises(ValueError, match="its weights are damaged, or its training diverged"):
        generate(pipeline, y=None)


@pytest.mark.parametrize("compiled", ["no", 1, None])
def test_compiled_is_true_or_false(pipeline, compiled):
    with pytest.raises(ValueError, match=f"compiled must be True or False, not {compiled!r}"):
        pipeline.stream(compiled=compiled)


def test_classes_without_names_are_asked_for_by_number(pipeline):
    nameless = RFLAVPipeline(**pipeline.components)
    with pytest.raises(
        ValueError, match="unknown class 'rain'; this model's classes have no names: .* 0 to 4$"
    ):
        nameless.label_numbers("rain")
    with pytest.raises(ValueError, match=r"label 5 is out of range: this model has classes 0\.\.4$"):
        nameless.label_numbers(5)
    assert nameless.label_numbers(4).tolist() == [4]
