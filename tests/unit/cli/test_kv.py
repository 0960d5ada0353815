"""--kv."""

import json

import pytest

TINY = (
    "--shape",
    "custom",
    "--dim",
    "48",
    "--heads",
    "4",
    "--ffn",
    "64",
    "--layers",
    "2",
    "--latent-size",
    "16x16",
)


@pytest.mark.parametrize("policy", [("--policy", "dense"), ("--policy", "family"), ("--policy", "dummy-forcing")])
def test_the_report_names_it(run, capsys, policy):
    assert run("generate", "--output", "a.gif", *policy, "--kv", "int8", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["memory"]["merge"] == {"method": "quantised", "format": "int8"}
    assert run("generate", "--output", "a.gif", *policy, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["memory"]["merge"] == {"method": "none"}


def test_bench_holds_less(run, capsys):
    shared = ("bench", "dense", *TINY, "--no-decode", "--repeats", "1", "--warm-up", "0", "--json", "-")
    sizes = {}
    for kv in ("full", "int8", "fp8"):
        assert run(*shared, "--kv", kv) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["setting"]["kv"] == kv
        sizes[kv] = report["rows"][0]["kv_bytes"]
    assert sizes["int8"] == sizes["fp8"]
    assert 0.25 < sizes["int8"] / sizes["full"] - 1 / 2 < 0.35  # of fp32, and one layer of two in full to read


def test_what_cannot_be_chosen(fails):
    assert "int8" in fails("generate", "--kv", "int4")
