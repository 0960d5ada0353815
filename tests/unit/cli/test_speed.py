"""--speed: one option for memory, selection, passes and FP8."""

import json

import pytest

from dummy_forcing.cli.arguments import SPEEDS, build_parser
from dummy_forcing.cli.speed import read_speed
from dummy_forcing.core.presets import PRESETS


def test_every_preset_can_be_typed():
    assert tuple(PRESETS) == SPEEDS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_everything_and_says_so(run, capsys, name):
    preset = PRESETS[name]
    assert run("generate", "--speed", name, "--steps", 4, "--latents", 9, "--output", "a.gif", "--json", "-") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["speed"] == name
    assert report["memory"]["keep"]["dummy_ratio"] == preset.keep.dummy_ratio
    assert report["memory"]["keep"]["local_context"] == preset.keep.local_context
    assert report["skip"] == (preset.skip and preset.skip.to_dict())
    assert f"{name}: {preset.summary}" in " ".join(err.split())
    assert f"{preset.keep.dummy_ratio:.0%} dummy heads" in err


def test_fp8_is_part_of_it():
    def fp8(*argv):
        args = build_parser().parse_args(["generate", *argv])
        args.argv = list(argv)
        read_speed(args)
        return args.fp8

    assert [fp8("--speed", name) for name in PRESETS] == [preset.fp8 for preset in PRESETS.values()]
    assert fp8("--speed", "quality", "--fp8") and not fp8()


@pytest.mark.parametrize(
    "other", [("--policy", "dense"), ("--dummy-ratio=0.3",), ("--skip-passes", "1"), ("--force-roles", "0:0=sink")]
)
def test_what_says_otherwise_is_refused(fails, other):
    assert f"sets what {other[0].partition('=')[0]} would" in fails("generate", "--speed", "max", *other)


def test_two_steps_leave_a_pass_to_skip_and_one_does_not(run, capsys):
    for steps, skipped in ((2, {"passes": [1]}), (1, None)):
        options = ("--speed", "max", "--steps", steps, "--latents", 9, "--output", "a.gif", "--json", "-")
        assert run("generate", *options) == 0
        assert json.loads(capsys.readouterr().out)["skip"] == skipped
