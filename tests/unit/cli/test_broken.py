"""Weights that turn into NaN: an error at the first chunk, and never a black video that is called a success."""

import pytest
import torch

from dummy_forcing.core.media.video_file import read_video

METHODS = [
    ("--policy", "dense"),
    ("--policy", "window", "--sink", "3", "--window", "6"),
    ("--policy", "dummy-forcing"),
    ("--policy", "dense", "--kv", "int8"),
    ("--policy", "dense", "--merge", "temp-cache"),
    ("--policy", "dense", "--select", "light-forcing"),
    ("--policy", "dense", "--select", "ann", "--ann-history", "3"),
    ("--policy", "dense", "--cross", "ann"),
    ("--skip-passes", "1"),
]


def spoil_after(model, passes):
    """The head's output is NaN from so many passes on."""
    calls = []

    def spoil(module, given, output):
        calls.append(None)
        return output * float("nan") if len(calls) > passes else output

    model.backbone.head.head.register_forward_hook(spoil)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_spoilt_weights_end_with_the_first_chunk(fails, tiny_model, value):
    tiny_model.backbone.blocks[0].ffn[0].weight[0, 0] = value
    said = fails("generate", "--output", "a.gif")
    assert "NaN or infinite numbers in chunk 0" in said and "float16" in said
    assert "NaN or infinite numbers in chunk 0" in fails("profile", "--output", "heads.safetensors")


@pytest.mark.parametrize("options", METHODS, ids=" ".join)
def test_no_method_hides_them(run, capsys, tiny_model, tmp_path, options):
    spoil_after(tiny_model, 0)
    assert run("generate", "--output", "a.gif", *options) == 2
    assert "NaN or infinite numbers in chunk 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_chunks_before_stay(run, capsys, tiny_model, tmp_path):
    assert run("generate", "--output", "whole.gif", "--policy", "dense") == 0
    spoil_after(tiny_model, 2 * 3)
    capsys.readouterr()
    assert run("generate", "--output", "a.gif", "--policy", "dense") == 2
    said = capsys.readouterr().err
    assert "in chunk 2" in said and "the 21 frames before it are in a.gif" in said
    whole, kept = (read_video(tmp_path / name)[0] for name in ("whole.gif", "a.gif"))
    assert torch.equal(kept, whole[:21])


def test_a_spoilt_decoder_is_told_from_a_spoilt_model(run, capsys, tiny_model, tmp_path):
    tiny_model.vae.decoder.conv1.weight[:] = float("nan")
    assert run("generate", "--output", "a.gif") == 2
    assert "the decoder turned valid latents into NaN" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_given_is_checked(fails, tiny_model, tmp_path):
    from PIL import Image

    Image.new("RGB", (48, 32)).save(tmp_path / "start.png")
    tiny_model.vae.encoder.conv1.weight[:] = float("nan")
    assert "has NaN or infinite numbers in it" in fails("generate", "--image", "start.png")
