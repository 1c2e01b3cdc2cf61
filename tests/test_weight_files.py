"""Weights of a variant and in shards: opened as in one plain file, and refused where something is missing."""

import json

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from rflav_lib.image_codec import load_vae
from rflav_lib.pipeline import RFLAVPipeline
from rflav_lib.weight_files import weight_files
from tests.tiny import tiny_pipeline, tiny_vae

LAYOUTS = {
    "one file": {},
    "a variant": {"variant": "fp16"},
    "shards": {"max_shard_size": "20KB"},
    "shards of a variant": {"variant": "fp16", "max_shard_size": "20KB"},
}
MODEL = "diffusion_pytorch_model"


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture
def sharded(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    return tmp_path / "sharded"


def weights_of(pipeline):
    return {
        f"{part}.{name}": tensor
        for part, module in pipeline.components.items()
        for name, tensor in module.state_dict().items()
    }


@pytest.mark.parametrize("hub", [False, True], ids=["folder", "hub"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_opens_with_the_same_weights(pipeline, layout, hub, tmp_path, monkeypatch):
    pipeline.save_pretrained(tmp_path / "saved", **layout)
    assert len(list((tmp_path / "saved" / "transformer").glob("*.safetensors"))) == (
        10 if "max_shard_size" in layout else 1
    )
    monkeypatch.setattr(DiffusionPipeline, "download", lambda name, **settings: str(tmp_path / "saved"))
    opened = RFLAVPipeline.from_pretrained(
        "owner/name" if hub else tmp_path / "saved", variant=layout.get("variant")
    )
    expected, found = weights_of(pipeline), weights_of(opened)
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_so_does_an_image_vae(layout, tmp_path):
    vae = tiny_vae()
    vae.save_pretrained(tmp_path / "vae", **layout)
    found = load_vae(tmp_path / "vae", layout.get("variant")).state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in vae.state_dict().items())


def test_the_variant_that_is_asked_for_is_the_one_that_is_read(pipeline, tmp_path):
    other = tiny_pipeline()
    torch.nn.init.constant_(other.transformer.audio_head.linear.bias, 3)
    pipeline.save_pretrained(tmp_path / "both")
    other.save_pretrained(tmp_path / "both", variant="ema")
    plain, ema = (RFLAVPipeline.from_pretrained(tmp_path / "both", variant=name) for name in (None, "ema"))
    assert (ema.transformer.audio_head.linear.bias == 3).all()
    assert not (plain.transformer.audio_head.linear.bias == 3).any()


def test_parts_without_the_variant_have_their_plain_weights_and_a_warning_names_them(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "mixed")
    pipeline.transformer.save_pretrained(tmp_path / "mixed" / "transformer", variant="fp16")
    (tmp_path / "mixed" / "transformer" / f"{MODEL}.safetensors").unlink()
    with pytest.warns(
        UserWarning, match="variant 'fp16' of mel, vae, vocoder: the plain ones are taken"
    ) as told:
        RFLAVPipeline.from_pretrained(tmp_path / "mixed", variant="fp16")
    assert told[0].filename == __file__


def test_a_variant_that_is_not_there(pipeline, sharded, tmp_path):
    with pytest.raises(ValueError, match="sharded: no part has weights of variant 'bf16': leave variant out"):
        RFLAVPipeline.from_pretrained(sharded, variant="bf16")
    with pytest.raises(
        ValueError, match=rf"{MODEL}\.bf16\.safetensors: no such file, and no .*\.index\.bf16\.json"
    ):
        load_vae(sharded / "vae", "bf16")
    tiny_vae().save_pretrained(tmp_path / "vae", variant="fp16", max_shard_size="20KB")
    with pytest.raises(ValueError, match="there are weights of variant 'fp16': open it with variant='fp16'"):
        load_vae(tmp_path / "vae")


@pytest.mark.parametrize("variant", ["", 16, "../fp16", "fp16.x", ["fp16"]], ids=repr)
def test_what_is_no_name_of_a_variant(variant, tmp_path):
    for opened in (RFLAVPipeline.from_pretrained, load_vae):
        with pytest.raises(ValueError, match="variant must be None or the name of one"):
            opened(tmp_path, variant=variant)


def shards_of(folder):
    return sorted((folder / "transformer").glob(f"{MODEL}-*"))


def unlinked(folder):
    shards_of(folder)[3].unlink()


def truncated(folder):
    path = shards_of(folder)[3]
    path.write_bytes(path.read_bytes()[:-100])


def one_less(folder):
    path = shards_of(folder)[3]
    weights = load_file(path)
    weights.popitem()
    save_file(weights, path, metadata={"format": "pt"})


def twice(folder):
    first, second = shards_of(folder)[3:5]
    save_file({**load_file(first), **load_file(second)}, first, metadata={"format": "pt"})


def nan(folder):
    path = shards_of(folder)[3]
    weights = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def with_index(change):
    def changed(folder):
        path = folder / "transformer" / f"{MODEL}.safetensors.index.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return changed


def one_shard_less(index):
    """Index and shards agree, but not with the model."""
    least = min(index["weight_map"].values())
    kept = {name: file for name, file in index["weight_map"].items() if file != least}
    return {**index, "weight_map": kept}


DAMAGE = {
    "a shard that is not there": (unlinked, r"index\.json: 1 of 10 shards are not there, as .*-00004-of-00010"),
    "a shard cut short": (truncated, "-00004-of-00010.safetensors: truncated"),
    "a weight less": (one_less, r"index\.json: does not say what its shards hold: "),
    "weights in two shards": (twice, r"index\.json: does not say what its shards hold: .* and \d+ more"),
    "a weight that is not finite": (nan, "holds NaN"),
    "an index without a shard": (with_index(one_shard_less), "transformer: weights do not fit the config"),
    "an index that leads away": (
        with_index(lambda index: {**index, "weight_map": {"a": "../vae/x.safetensors"}}), "no index of shards",
    ),
    "an index of numbers": (with_index(lambda index: {**index, "weight_map": {"a": 3}}), "no index of shards"),
    "an index of nothing": (with_index(lambda index: {**index, "weight_map": {}}), "no index of shards"),
    "an index without metadata": (
        with_index(lambda index: {"weight_map": index["weight_map"]}), "no index of shards",
    ),
    "a list": (with_index(lambda index: [1]), "no index of shards"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_shards_are_named(sharded, damage, message):
    damage(sharded)
    with pytest.raises(ValueError, match=message) as raised:
        RFLAVPipeline.from_pretrained(sharded)
    assert str(sharded / "transformer") in str(raised.value)


def test_of_a_repository_too_no_weight_of_a_vae_is_left_out(sharded, monkeypatch):
    """diffusers, which fetches it, looks at the index alone."""
    folder = sharded / "vae"
    path = sorted(folder.glob(f"{MODEL}-*"))[0]
    weights = load_file(path)
    name, _ = weights.popitem()
    save_file(weights, path, metadata={"format": "pt"})
    monkeypatch.setattr("rflav_lib.image_codec.weight_files", lambda *_: pytest.fail("no folder"))
    monkeypatch.setattr("pathlib.Path.is_dir", lambda path: False)
    with pytest.raises(ValueError, match=f"{name} is in none of the files of weights"):
        load_vae(folder)


def test_what_diffusers_would_stumble_over_is_named(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "saved", variant="fp16")
    (tmp_path / "saved" / "mel" / "LICENSE").write_text("free")
    with pytest.raises(ValueError, match="LICENSE: in the way of variant 'fp16': move"):
        RFLAVPipeline.from_pretrained(tmp_path / "saved", variant="fp16")


def test_an_outdated_layout_is_named(tmp_path):
    (tmp_path / f"{MODEL}.safetensors.fp16.index.json").write_text("{}")
    with pytest.raises(ValueError, match="an outdated layout of shards; save the model again"):
        weight_files(tmp_path, "fp16")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_safetensors": False}, "weights come from safetensors alone: leave use_safetensors out"),
        ({"dtype": "float16"}, "dtype must be a torch.dtype, not 'float16'"),
        ({"torch_dtype": 16}, "torch_dtype must be a torch.dtype, not 16"),
    ],
)
def test_what_diffusers_would_leave_out_is_refused(sharded, settings, message):
    with pytest.raises(ValueError, match=message):
        RFLAVPipeline.from_pretrained(sharded, **settings)
