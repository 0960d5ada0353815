"""--compile of generate and bench."""

import json
import shutil

import pytest

from dummy_forcing.cli.arguments import build_parser


@pytest.mark.parametrize("command", ["generate", "bench"])
def test_it_is_off_unless_asked_for(command):
    assert build_parser().parse_args([command]).compile is False
    assert build_parser().parse_args([command, "--compile"]).compile is True


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_video(run, capsys):
    assert run("generate", "--output", "a.gif", "--latents", 6, "--compile", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["compile"] is True
