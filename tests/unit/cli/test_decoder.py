"""Light decoders on the command line, and writing beside sampling."""

import json
from functools import partial

import pytest
import torch
from published_layouts import PUBLISHED, SHAPE, backbone_state
from safetensors.torch import save_file

from dummy_forcing.cli import run_video as cli_run
from dummy_forcing.cli.main import main
from dummy_forcing.core.decoders.decode_ahead import DecodeAhead
from dummy_forcing.core.decoders.tae import TAE, TAEShape
from dummy_forcing.core.media.video_file import read_video
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape

from .test_generate import interrupt_at

GENERATE = ["generate", "--model", "self_forcing_dmd.pt", "--embedding", "cat.safetensors", "--size", "32x48",
            "--latents", "6"]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Self-Forcing as published, the embedding of a prompt, a VAE and light decoders with random weights."""
    monkeypatch.chdir(tmp_path)
    published = next(each for each in PUBLISHED if each.file == "self_forcing_dmd.pt")
    published.save(tmp_path, tmp_path, backbone_state())
    save_file({"context": torch.randn(1, 5, SHAPE.text_dim)}, tmp_path / "cat.safetensors")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(WanVAE(WanVAEShape(width=8)).state_dict(), tmp_path / "vae.safetensors")
        save_file(WanVAE(WanVAEShape(width=4)).state_dict(), tmp_path / "light.safetensors")
        torch.save(TAE(TAEShape((4, 4, 4, 4))).half().state_dict(), tmp_path / "taew2_1.pth")
    return tmp_path


@pytest.mark.parametrize(
    ("decoder", "kind", "said"),
    [
        ("light.safetensors", {"kind": "Wan VAE", "width": 4, "latents": "raw"}, "a Wan 2.1 VAE of width 4"),
        ("taew2_1.pth", {"kind": "TAEHV", "width": 4, "latents": "normalised"}, "TAEHV for normalised latents"),
    ],
)
def test_a_video_without_the_vae(folder, capsys, decoder, kind, said):
    assert main([*GENERATE, "--decoder", decoder, "--output", "a.gif", "--json", "a.json"]) == 0
    assert len(read_video(folder / "a.gif")[0]) == 21
    assert f"{decoder} decodes: " in (out := capsys.readouterr().out) and said in out
    assert json.loads((folder / "a.json").read_text())["model"]["decoder"] == kind


def test_a_decoder_of_other_latents_than_the_vae_s(folder, capsys):
    assert main([*GENERATE, "--vae", "vae.safetensors", "--decoder", "taew2_1.pth"]) == 2
    assert "the decoder taew2_1.pth does not decode this VAE's latents" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_given_pictures_still_need_the_vae(folder, capsys):
    main([*GENERATE, "--decoder", "light.safetensors", "--output", "a.gif", "--latents", "3"])
    capsys.readouterr()
    argv = [*GENERATE, "--decoder", "light.safetensors", "--extend", "a.gif", "--output", "b.gif"]
    assert main(argv) == 2
    assert "given frames need a VAE to encode them; give --vae" in capsys.readouterr().err
    assert main([*argv, "--vae", "vae.safetensors"]) == 0


def test_families_that_encode_in_between_need_the_vae(folder, capsys):
    argv = [*GENERATE, "--family", "causvid", "--decoder", "light.safetensors", "--output", "a.gif"]
    assert main(argv) == 2
    assert "needs a VAE for it" in capsys.readouterr().err


def test_the_toy_world_has_its_own(folder, capsys):
    assert main(["generate", "--decoder", "light.safetensors"]) == 2
    assert "--decoder goes with --model PATH" in capsys.readouterr().err


@pytest.fixture
def overlapped(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(cli_run, "DecodeAhead", partial(DecodeAhead, overlap=True))


def test_writing_beside_sampling_gives_the_same_video(run, tmp_path, monkeypatch):
    assert run("generate", "--output", "plain.gif") == 0
    monkeypatch.setattr(cli_run, "DecodeAhead", partial(DecodeAhead, overlap=True))
    assert run("generate", "--output", "overlapped.gif") == 0
    assert (tmp_path / "plain.gif").read_bytes() == (tmp_path / "overlapped.gif").read_bytes()


def test_an_interrupt_keeps_the_chunk_that_is_being_written(run, tmp_path, tiny_model, capsys, overlapped):
    interrupt_at(tiny_model, 7)  # the first pass of the third chunk
    assert run("generate", "--output", "a.gif") == 130
    assert len(read_video(tmp_path / "a.gif")[0]) == 21
    assert "kept the 21 frames" in capsys.readouterr().err


def test_a_failure_beside_sampling_leaves_nothing(run, tmp_path, tiny_model, overlapped):
    def hook(module, inputs):
        raise torch.OutOfMemoryError("out of memory")

    tiny_model.vae.conv2.register_forward_pre_hook(hook)
    assert run("generate", "--output", "a.gif") == 2
    assert list(tmp_path.iterdir()) == []
