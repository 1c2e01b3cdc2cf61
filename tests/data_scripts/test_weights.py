import json
import os
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from data_scripts import weights
from data_scripts.published import Remote, git_blob_of, sha256_of
from data_scripts.weights import CATALOGUE, Weights, main


class Evil:
    """Unpickled by pickle, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def shelf(server, tmp_path, monkeypatch):
    """A catalogue of two entries on a local server."""
    made = tmp_path / "made"
    made.mkdir()
    state = {"conv.weight": torch.ones(3, 4), "conv.steps": torch.tensor(7)}
    torch.save(state, made / "net.pt")
    save_file({"a": torch.zeros(5)}, made / "vae.safetensors")
    server.files = {f"/{path.name}": path.read_bytes() for path in made.iterdir()}
    catalogue = {
        "net": Weights(
            "a test", 1, "none",
            (Remote("net/net.pt", f"{server.site}/net.pt", git_blob=git_blob_of(made / "net.pt")),),
        ),
        "vae": Weights(
            "a test", 1, "none",
            (
                Remote(
                    "vae/vae.safetensors", f"{server.site}/vae.safetensors",
                    sha256=sha256_of(made / "vae.safetensors"),
                ),
            ),
        ),
    }  # fmt: skip
    monkeypatch.setattr(weights, "CATALOGUE", catalogue)
    server.root = tmp_path / "root"
    return server


def run(shelf, *words):
    step, *rest = words
    return main([step, "--root", str(shelf.root), *rest])


def test_fetch_check_prepare(shelf, capsys):
    assert run(shelf, "fetch", "all") == 0
    assert "2 tensors" in capsys.readouterr().out
    assert run(shelf, "check") == 0 and run(shelf, "prepare") == 0
    with safe_open(shelf.root / "net" / "net.safetensors", framework="pt") as stored:
        assert (
            stored.get_tensor("conv.weight").equal(torch.ones(3, 4)) and stored.get_tensor("conv.steps") == 7
        )
    capsys.readouterr()
    assert run(shelf, "prepare") == 0 and "is there already" in capsys.readouterr().out


def test_without_names_it_lists(shelf, capsys):
    assert run(shelf, "fetch") == 0
    assert "net" in capsys.readouterr().out and not shelf.root.exists()
    assert run(shelf, "fetch", "nothing") == 1
    assert "'nothing' is none of net, vae" in capsys.readouterr().err
    assert run(shelf, "check") == 1


def test_a_wrong_byte_is_refused(shelf, capsys):
    for path, body in shelf.files.items():
        shelf.files[path] = body[:-1] + bytes([body[-1] ^ 1])
    assert run(shelf, "fetch", "net") == 1 and "git blob id" in capsys.readouterr().err
    assert run(shelf, "fetch", "vae") == 1 and "SHA-256" in capsys.readouterr().err
    assert not list(shelf.root.rglob("*.pt")) and not list(shelf.root.rglob("*.safetensors"))


def test_damage_on_the_disk_is_found(shelf, capsys):
    run(shelf, "fetch", "all")
    path = shelf.root / "vae" / "vae.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert run(shelf, "check") == 1
    assert "vae.safetensors: " in capsys.readouterr().out and path.exists()


@pytest.mark.parametrize(
    "wrap", [lambda evil: evil, lambda evil: {"state_dict": {"w": torch.ones(2), "x": evil}}]
)
@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))]
)
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    shelf, capsys, tmp_path, wrap, save, monkeypatch
):
    made, trace = tmp_path / "evil.pt", tmp_path / "was here"
    save(wrap(Evil(trace)), made)
    shelf.files["/net.pt"] = made.read_bytes()
    evil = Weights("", 1, "", (Remote("net/net.pt", f"{shelf.site}/net.pt"),))
    monkeypatch.setattr(weights, "CATALOGUE", {"net": evil})
    assert run(shelf, "fetch", "net") == 1
    assert "net.pt: " in (said := capsys.readouterr().out) and "refused" in said
    assert run(shelf, "prepare") == 1 and "refused" in capsys.readouterr().err
    assert not trace.exists() and not list(shelf.root.rglob("*.safetensors"))


def test_numbers_and_words_beside_the_weights_are_kept(shelf, tmp_path, monkeypatch):
    torch.save({"generator": {"w": torch.ones(2)}, "steps": 5, "name": "x"}, tmp_path / "v.pt")
    shelf.files["/net.pt"] = (tmp_path / "v.pt").read_bytes()
    monkeypatch.setattr(
        weights, "CATALOGUE", {"net": Weights("", 1, "", (Remote("net/net.pt", f"{shelf.site}/net.pt"),))}
    )
    assert run(shelf, "fetch", "net") == 0 and run(shelf, "prepare") == 0
    with safe_open(shelf.root / "net" / "net.safetensors", framework="pt") as stored:
        assert list(stored.keys()) == ["generator.w"]
        assert json.loads(stored.metadata()["others"]) == {"steps": 5, "name": "x"}


def test_the_real_catalogue_is_well_formed():
    for name, entry in CATALOGUE.items():
        for remote in entry.files:
            assert remote.name.startswith(f"{name}/") and remote.url.startswith("https://")
    assert {
        remote.sha256 or remote.git_blob for name in ("i3d", "audioclip") for remote in CATALOGUE[name].files
    } == {
        "a867b87ac3a9097d200598b1d48a1b890d8ec744",
        "2441d35b353352c8b1bbfb8f7c687f46314c3d2909e940eaf763b8c17f632c44",
    }
