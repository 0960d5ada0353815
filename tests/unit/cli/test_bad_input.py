"""Whatever is typed: exit code 2, one line with cause and remedy, and nothing left behind."""

import sys

import pytest
import torch
from safetensors.torch import save_file

from .conftest import nowhere


@pytest.mark.parametrize(
    ("argv", "cause", "remedy"),
    [
        ([], "COMMAND", "--help"),
        (["generat"], "generat", "choose from"),
        (["generate", "--nonsense"], "--nonsense", "--help"),
        (["generate", "--prompt", "a purple circle moving left"], "'purple'", "colours: red"),
        (["generate", "--prompt", "a red cirle moving left"], "'cirle'", "did you mean 'circle'"),
        (["generate", "--prompt", "red"], "one or two objects", "write for example"),
        (["generate", "--prompt", ""], "one or two objects", "write for example"),
        (["generate", "--latents", "0"], "--latents", "above 0"),
        (["generate", "--latents", "-3"], "--latents", "above 0"),
        (["generate", "--latents", "1.5"], "--latents", "whole number"),
        (["generate", "--latents", "10"], "10 latent frames", "9 or 12"),
        (["generate", "--latents", "2"], "2 latent frames", "use --latents 3"),
        (["generate", "--seconds", "0"], "--seconds", "above 0"),
        (["generate", "--seconds", "-1"], "--seconds", "above 0"),
        (["generate", "--seconds", "nan"], "--seconds", "above 0"),
        (["generate", "--seconds", "inf"], "--seconds", "above 0"),
        (["generate", "--seconds", "1", "--latents", "3"], "--latents", "not allowed with"),
        (["generate", "--steps", "0"], "--steps", "above 0"),
        (["generate", "--seed", "x"], "--seed", "from 0 to 9007199254740991"),
        (["generate", "--seed", "-1"], "'-1'", "from 0 to 9007199254740991"),
        (["demo", "--seed", "9007199254740992"], "9007199254740992", "from 0 to 9007199254740991"),
        (["generate", "--size", "480"], "--size", "480x832"),
        (["generate", "--size", "100x96"], "100x96", "multiples of 16"),
        (["generate", "--size", "0x0"], "0x0", "multiples of 16"),
        (["generate", "--dummy-ratio", "1.5"], "1.5", "from 0 to 1"),
        (["generate", "--dummy-ratio", "-0.1"], "-0.1", "from 0 to 1"),
        (["generate", "--dummy-ratio", "nan"], "nan", "from 0 to 1"),
        (["generate", "--local-context", "0"], "--local-context", "or 'all'"),
        (["generate", "--classification-chunk", "0"], "classification chunk is 0", "at least 1"),
        (["generate", "--policy", "lazy"], "lazy", "choose from"),
        (["generate", "--policy", "dense", "--dummy-ratio", "0.5"], "--dummy-ratio", "--policy dummy-forcing"),
        (["generate", "--window", "9"], "--window", "--policy rolling-window or window"),
        (["generate", "--policy", "window", "--window", "3"], "cannot hold", "at least 6"),
        (["generate", "--policy", "dense", "--save-profile", "h.safetensors"], "--save-profile", "leave it out"),
        (["generate", "--save-profile", "h.png"], "h.png", ".safetensors"),
        (["generate", "--save-profile", "h.safetensors", "--latents", "3"], "classified", "--latents 6"),
        (["generate", "--profile", "no.safetensors"], "no.safetensors", "dummy-forcing profile"),
        (["generate", "--output", "video.avi"], "video.avi", ".mp4"),
        (["generate", "--output", "a/video"], "'video'", ".mp4"),
        (["generate", "--output", "a.gif", "--json", "a.gif"], "two outputs", "own file name"),
        (["generate", "--vae", "vae.safetensors"], "--vae", "leave it out"),
        (["generate", "--family", "self-forcing"], "--family", "leave it out"),
        (["generate", "--model", "wan.safetensors"], "--embedding", "give --embedding"),
        (["generate", "--device", "tpu"], "tpu", "choose from"),
        (["generate", "--output", nowhere("video.mp4")], nowhere("video.mp4"), "choose a folder"),
        (["generate", "--json", nowhere("report.json")], nowhere("report.json"), "choose a folder"),
        (["profile", "--seeds", "0"], "--seeds", "above 0"),
        (["profile", "--steps", "-1"], "--steps", "above 0"),
        (["profile", "--latents", "3"], "no history", "--latents 6"),
        (["profile", "--prompt", "a red moon"], "'moon'", "shapes"),
        (["profile", "--dummy-ratio", "2"], "2", "from 0 to 1"),
        (["profile", "--cost", "high"], "high", "choose from"),
        (["profile", "--output", "heads.bin"], "heads.bin", ".safetensors"),
        (["profile", "--picture", "heads.gif"], "heads.gif", ".png"),
        (["profile", "--output", nowhere("heads.safetensors")], nowhere(""), "choose a folder"),
        (["profile", "--picture", nowhere("heads.png")], nowhere(""), "choose a folder"),
    ],
)  # fmt: skip
def test_options(fails, argv, cause, remedy):
    message = fails(*argv)
    assert cause in message and remedy in message


def test_output_is_a_folder(fails, tmp_path):
    (tmp_path / "video.mp4").mkdir()
    assert "folder" in fails("generate", "--output", "video.mp4")


def test_output_below_a_file(fails, tmp_path):
    (tmp_path / "notes").write_text("x")
    assert "notes/video.mp4" in fails("generate", "--output", "notes/video.mp4")


def test_old_output_survives(fails, tmp_path):
    (tmp_path / "video.mp4").write_bytes(b"old")
    fails("generate", "--output", "video.mp4", "--prompt", "red")


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{", b"PK\x03\x04 a zip file"])
def test_unreadable_profile(fails, tmp_path, content):
    (tmp_path / "heads.safetensors").write_bytes(content)
    assert "heads.safetensors" in fails("generate", "--profile", "heads.safetensors")


def test_truncated_embedding(fails, tmp_path):
    save_file({"context": torch.zeros(6, 16)}, tmp_path / "text.safetensors")
    whole = (tmp_path / "text.safetensors").read_bytes()
    (tmp_path / "text.safetensors").write_bytes(whole[:-8])
    message = fails("generate", "--model", "wan.safetensors", "--embedding", "text.safetensors")
    assert "text.safetensors" in message and "download the file again" in message


def test_embedding_of_another_encoder(fails, tmp_path):
    save_file({"context": torch.zeros(6, 24)}, tmp_path / "text.safetensors")
    message = fails("generate", "--model", "wan.safetensors", "--embedding", "text.safetensors")
    assert "24 wide" in message and "16" in message


@pytest.mark.parametrize("content", [None, b"", b"\x80\x02 a pickle", b"GGUF"])
def test_bad_checkpoint(tmp_path, monkeypatch, capsys, content):
    from dummy_forcing.cli.main import main

    monkeypatch.chdir(tmp_path)
    save_file({"context": torch.zeros(6, 16)}, tmp_path / "text.safetensors")
    if content is not None:
        (tmp_path / "wan.safetensors").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    assert main(["generate", "--model", "wan.safetensors", "--embedding", "text.safetensors"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "wan.safetensors" in err and err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_unknown_family(tmp_path, monkeypatch, capsys):
    from dummy_forcing.cli.main import main

    monkeypatch.chdir(tmp_path)
    save_file({"context": torch.zeros(6, 16)}, tmp_path / "text.safetensors")
    argv = ["generate", "--model", "wan.safetensors", "--embedding", "text.safetensors", "--family", "sora"]
    assert main(argv) == 2
    assert "'sora'" in (err := capsys.readouterr().err) and "self-forcing" in err


@pytest.mark.parametrize("module", ["rich", "av"])
def test_missing_extras(fails, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    message = fails("generate")
    assert message == (
        f"dummy-forcing: error: {module} cannot be imported; run: pip install 'dummy-forcing[standalone]'\n"
    )


def test_no_gpu(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    from dummy_forcing.cli.main import main

    assert main(["generate", "--device", "cuda"]) == 2
    assert "--device cpu" in capsys.readouterr().err


def test_out_of_memory_is_explained(capsys):
    from dummy_forcing.cli.main import main

    def opener(choice):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB.\nmore\nlines")

    assert main(["generate"], opener) == 2
    assert "smaller --size" in capsys.readouterr().err


def test_our_own_bugs_are_not_hidden():
    from dummy_forcing.cli.main import main

    def opener(choice):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        main(["generate"], opener)
