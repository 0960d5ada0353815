"""--fp8."""

import json

import pytest

from dummy_forcing.cli.arguments import build_parser
from dummy_forcing.cli.main import main
from dummy_forcing.cli.models import ModelChoice, open_model
from dummy_forcing.core.wan.fp8_linear import fp8_weights

TINY = ("--shape", "custom", "--dim", "48", "--heads", "4", "--ffn", "64", "--layers", "1", "--latent-size", "4x4")


@pytest.mark.parametrize("command", ["generate", "profile"])
def test_the_toy_world_opens_in_fp8(command):
    for options, layers in ((["--fp8"], 60), ([], 0)):
        choice = ModelChoice.from_args(build_parser().parse_args([command, *options]))
        assert len(fp8_weights(open_model(choice).backbone)) == layers


def test_the_report_names_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shared = ("generate", "--output", "a.gif", "--latents", "3", "--json", "-")
    assert main([*shared, "--fp8"]) == 0
    fp8 = json.loads(capsys.readouterr().out)["model"]["fp8"]
    assert fp8["layers"] == 60 and fp8["path"] in ("torch._scaled_mm", "reference")
    assert main(shared) == 0
    assert json.loads(capsys.readouterr().out)["model"]["fp8"] is None


def test_bench(run, capsys):
    shared = ("bench", "dense", *TINY, "--no-decode", "--repeats", "1", "--warm-up", "0", "--json", "-")
    found = {}
    for name, options in (("fp8", ("--fp8",)), ("plain", ())):
        assert run(*shared, *options) == 0
        found[name] = json.loads(capsys.readouterr().out)
    assert found["plain"]["setting"]["fp8"] is None and found["fp8"]["setting"]["fp8"]
    assert found["plain"]["rows"][0]["tflop_per_chunk"] == found["fp8"]["rows"][0]["tflop_per_chunk"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((*TINY, "--dim", "40", "--ffn", "72"), "multiples of 16"),
        (("--clip", "--host", "here"), "leave --fp8 out"),
    ],
)
def test_bench_says_what_cannot_be(fails, argv, said, tmp_path_factory):
    if "--host" in argv:
        folder = tmp_path_factory.mktemp("ComfyUI")
        argv = (*argv[:-1], folder)
    assert said in fails("bench", *argv, "--fp8")
