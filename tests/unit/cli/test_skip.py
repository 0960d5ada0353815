"""--skip-passes and --skip-threshold."""

import json

import pytest

from dummy_forcing.cli.arguments import build_parser
from dummy_forcing.cli.policies import read_skip
from dummy_forcing.core.methods.pass_skip import PassSkip


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("", None),
        ("--skip-passes 1", PassSkip((1,))),
        ("--skip-passes 1,3", PassSkip((1, 3))),
        ("--skip-threshold 0.2", PassSkip(threshold=0.2)),
    ],
)
def test_options_become_the_rule(argv, expected):
    assert read_skip(build_parser().parse_args(["generate", *argv.split()])) == expected


def test_the_report_says_what_was_skipped(run, capsys):
    assert run("generate", "--output", "a.gif", "--steps", 4, "--skip-passes", "1,3", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["skip"] == {"passes": [1, 3]}
    assert (report["passes"], report["passes_skipped"]) == (15, 6)
    assert run("generate", "--output", "a.gif", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["skip"], report["passes_skipped"]) == (None, 0)


def test_an_empty_list_is_the_same_video(run, tmp_path):
    for name, options in (("a", ()), ("b", ("--skip-passes", "")), ("c", ("--skip-passes", "1"))):
        assert run("generate", "--output", f"{name}.gif", *options) == 0
    a, b, c = ((tmp_path / f"{name}.gif").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--skip-passes", "0"), "list passes from 1 on"),
        (("--skip-passes", "x"), "whole numbers with commas in between"),
        (("--skip-passes", "2"), "it is the clean pass"),  # two steps
        (("--skip-passes", "5"), "list passes from 1 to 1"),
        (("--skip-threshold", "0"), "expected a number above 0"),
        (("--skip-passes", "1", "--skip-threshold", "0.2"), "leave one out"),
    ],
)
def test_bad_rules(fails, options, said):
    assert said in fails("generate", *options)
