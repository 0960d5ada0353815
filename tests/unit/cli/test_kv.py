"""--kv."""

import json

import pytest

TINY = ("--shape", "custom", "--dim", 48, "--heads", 4, "--ffn", 64, "--layers", 2, "--latent-size", "16x16")
ONCE = ("--no-decode", "--repeats", 1, "--warm-up", 0, "--json", "-")


@pytest.mark.parametrize("policy", [("--policy", "dense"), ("--policy", "family"), ("--policy", "dummy-forcing")])
def test_the_report_names_it(run, capsys, policy):
    assert run("generate", "--output", "a.gif", *policy, "--kv", "int8", "--json", "-") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["memory"]["merge"] == {"method": "quantised", "format": "int8"}
    assert run("generate", "--output", "a.gif", *policy, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["memory"]["merge"] == {"method": "none"}


def test_bench_holds_less(run, capsys):
    policies = "dense", "dense+kv", "dense+kv:fp8"
    assert run("bench", *policies, *TINY, *ONCE) == 0
    full, int8, fp8 = (row["kv_bytes"] for row in json.loads(capsys.readouterr().out)["rows"])
    assert int8 == fp8
    assert 0.25 < int8 / full - 1 / 2 < 0.35  # of fp32, and one layer of two in full to read


def test_what_cannot_be_chosen(fails):
    assert "int8" in fails("generate", "--kv", "int4")
    assert "int8" in fails("bench", "dense+kv:int4")
    assert "+kv" in fails("bench", "dense+kv:int8:4")
