"""From a published checkpoint to a video on the command line, with its LoRA and its family detected."""

import json

import pytest
import torch
from published_layouts import PUBLISHED, SHAPE, backbone_state, prefixed
from safetensors.torch import save_file

from dummy_forcing.cli.main import main
from dummy_forcing.core.wan.vae import WanVAE, WanVAEShape


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """LongLive and Self-Forcing as published, a tiny VAE and the embedding of a prompt."""
    monkeypatch.chdir(tmp_path)
    state = backbone_state()
    for file in ("longlive_base.pt", "self_forcing_dmd.pt"):
        next(each for each in PUBLISHED if each.file == file).save(tmp_path, tmp_path, state)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(WanVAE(WanVAEShape(width=8)).state_dict(), tmp_path / "vae.safetensors")
    save_file({"context": torch.randn(1, 5, SHAPE.text_dim)}, tmp_path / "cat.safetensors")
    return tmp_path


GENERATE = ["--vae", "vae.safetensors", "--embedding", "cat.safetensors", "--size", "32x48", "--latents", "6"]


def test_generate_with_the_lora_that_a_model_needs(folder, capsys):
    argv = ["generate", "--model", "longlive_base.pt", *GENERATE, "--policy", "dense", "--json", "report.json"]
    assert main(argv) == 2
    assert "needs its LoRA" in capsys.readouterr().err
    assert main([*argv, "--lora", "lora.pt"]) == 0
    assert (
        "longlive_base.pt is run as LongLive: the file name 'longlive_base.pt' says so" in capsys.readouterr().out
    )
    assert json.loads((folder / "report.json").read_text())["model"]["family"] == "longlive"
    assert (folder / "out" / "video.mp4").stat().st_size


def test_the_lora_of_another_model(folder, capsys):
    assert main(["generate", "--model", "self_forcing_dmd.pt", *GENERATE, "--lora", "lora.pt"]) == 2
    assert "belongs to longlive" in capsys.readouterr().err


def test_profile_with_a_lora(folder, capsys):
    argv = ["profile", "--model", "longlive_base.pt", "--lora", "lora.pt", "--embedding", "cat.safetensors"]
    assert main([*argv, "--size", "32x48", "--latents", "9"]) == 0
    assert "is run as LongLive" in capsys.readouterr().out


def test_a_file_of_no_family_that_can_be_told(folder, capsys):
    (folder / "self_forcing_dmd.pt").rename(folder / "model.pt")
    assert main(["generate", "--model", "model.pt", *GENERATE]) == 2
    assert "choose its family by hand" in capsys.readouterr().err
    assert main(["generate", "--model", "model.pt", *GENERATE, "--family", "raven"]) == 0
    assert "is run as RAVEN: it was chosen by hand" in capsys.readouterr().out


def test_what_is_taken_of_several_weights_is_said(folder, capsys):
    weights = prefixed(backbone_state(), "model.")
    torch.save({"model": prefixed(backbone_state(5), "model."), "model_ema": weights}, "self_forcing.pt")
    assert main(["generate", "--model", "self_forcing.pt", *GENERATE]) == 0
    said = "its weights are those in 'model_ema', the average; 'model' beside it stays unused"
    assert said in " ".join(capsys.readouterr().out.split())
    assert main(["inspect", "self_forcing.pt"]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_an_embedding_without_a_name(folder):
    torch.save(torch.randn(5, SHAPE.text_dim), "cat.pt")
    argv = ["generate", "--model", "self_forcing_dmd.pt", *GENERATE, "--embedding", "cat.pt"]
    assert main(argv) == 0


@pytest.mark.parametrize("option", ["--model", "--vae", "--lora", "--embedding"])
def test_a_web_page_in_place_of_a_file(folder, capsys, option):
    (folder / "page.pt").write_text("<!doctype html><title>Sign in</title>")
    assert main(["generate", "--model", "self_forcing_dmd.pt", *GENERATE, option, "page.pt"]) == 2
    error = capsys.readouterr().err
    assert "page.pt is a web page (37 B)" in error and "download failed" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "file", "words"),
    [
        ("--model", "vae.safetensors", "is not a Wan backbone but a Wan VAE"),
        ("--model", "lora.pt", "is a LoRA and not a model"),
        ("--vae", "self_forcing_dmd.pt", "is a Wan backbone: not a Wan 2.1 VAE"),
        ("--lora", "self_forcing_dmd.pt", "is not a LoRA but a Wan backbone"),
        ("--embedding", "vae.safetensors", "is a Wan VAE and no text embedding"),
    ],
)
def test_files_in_each_others_places(folder, capsys, option, file, words):
    assert main(["generate", "--model", "self_forcing_dmd.pt", *GENERATE, option, file]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_the_toy_world_has_no_lora(folder, capsys):
    assert main(["generate", "--lora", "lora.pt"]) == 2
    assert "--lora goes with --model PATH" in capsys.readouterr().err
