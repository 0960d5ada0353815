"""`dummy-forcing convert`: new files that say what they are."""

import json

import pytest
import torch
from published_layouts import PUBLISHED, backbone_state, lora_state, merged, name_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dummy_forcing.cli.main import main
from dummy_forcing.core.checkpoints.families.detect_family import FAMILY_KEY
from dummy_forcing.core.checkpoints.lora.lora_rules import LORA_KEY


@pytest.fixture(scope="module")
def state():
    return backbone_state()


@pytest.fixture
def published(tmp_path, state):
    """Writes the file of PUBLISHED with that name."""
    return lambda file: next(each for each in PUBLISHED if each.file == file).save(tmp_path, tmp_path, state)


def convert(*argv):
    return main(["convert", *map(str, argv)])


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize("each", PUBLISHED, ids=name_of)
def test_every_layout(tmp_path, state, each, capsys):
    path, lora = each.save(tmp_path, tmp_path, state)
    out = tmp_path / "new" / "out.safetensors"
    assert convert(path, out, *(["--lora", lora] if lora else [])) == 0
    found, expected = load_file(out), each.expected(state)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-6)
    metadata = metadata_of(out)
    assert json.loads(metadata["config"])["transformer"]["causal_ar"] is True
    assert metadata[FAMILY_KEY] == each.family
    assert "loads it as causal" in capsys.readouterr().out
    assert main(["inspect", str(out)]) == 0
    assert f"({each.family})" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_types(tmp_path, state, published, dtype):
    path, lora = published("longlive_base.pt")
    out = tmp_path / "out.safetensors"
    assert convert(path, out, "--lora", lora, "--dtype", dtype) == 0
    expected = {name: value.to(getattr(torch, dtype)) for name, value in merged(state, lora_state(state)).items()}
    found = load_file(out)
    assert {value.dtype for value in found.values()} == {getattr(torch, dtype)}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert metadata_of(out)[LORA_KEY] == "lora.pt"


def test_fp8_is_for_the_linear_layers_of_the_blocks(tmp_path, state, published):
    path, out = published("self_forcing_dmd.pt")[0], tmp_path / "out.safetensors"
    assert convert(path, out, "--dtype", "fp8") == 0
    found, layers = load_file(out), json.loads(metadata_of(out)["_quantization_metadata"])["layers"]
    assert found.keys() == state.keys() | {f"{layer}.weight_scale" for layer in layers}
    matrices = [name for name, value in state.items() if name.endswith(".weight") and value.ndim == 2]
    assert {f"{layer}.weight" for layer in layers} == {name for name in matrices if name.startswith("blocks.")}
    for name, value in state.items():
        scale = found.get(f"{name}_scale")
        if scale is None:
            assert torch.equal(found[name], value)
        else:
            assert found[name].dtype == torch.float8_e4m3fn and scale == value.abs().max() / 448
            error = (found[name].float() * scale - value).norm()
            assert 0 < error < 0.03 * value.norm()


def test_the_type_of_the_file_is_kept(tmp_path, state):
    path, out = tmp_path / "self_forcing.safetensors", tmp_path / "out.safetensors"
    save_file({name: value.bfloat16() for name, value in state.items()}, path)
    assert convert(path, out) == 0
    assert {value.dtype for value in load_file(out).values()} == {torch.bfloat16}


def test_a_family_chosen_by_hand(tmp_path, published, capsys):
    path, _ = published("self_forcing_dmd.pt")
    assert convert(path, tmp_path / "out.safetensors", "--family", "infinity-rope") == 0
    assert metadata_of(tmp_path / "out.safetensors")[FAMILY_KEY] == "infinity-rope"
    assert "chosen by hand" in capsys.readouterr().out


def test_a_merged_file_stays_merged(tmp_path, published, capsys):
    path, lora = published("longlive_base.pt")
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    assert convert(path, one, "--lora", lora) == 0
    assert convert(one, two) == 0
    assert metadata_of(two)[LORA_KEY] == "lora.pt"
    assert convert(two, tmp_path / "three.safetensors", "--lora", lora) == 2
    assert "twice" in capsys.readouterr().err


def test_quantised_weights_keep_their_type(tmp_path, state, capsys):
    path, out = tmp_path / "self_forcing.safetensors", tmp_path / "out.safetensors"
    layer = "blocks.1.ffn.0"
    save_file(state | {f"{layer}.weight": state[f"{layer}.weight"].to(torch.float8_e4m3fn),
                       f"{layer}.scale_weight": torch.ones(())}, path)  # fmt: skip
    assert convert(path, out, "--dtype", "bfloat16") == 2
    assert "quantised weights" in capsys.readouterr().err
    assert convert(path, out) == 0
    assert load_file(out)[f"{layer}.weight"].dtype == torch.float8_e4m3fn


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["gone.pt", "out.safetensors"], "there is no file gone.pt"),
        (["self_forcing_dmd.pt", "out.pt"], "end the name in .safetensors"),
        (["self_forcing_dmd.pt", "out.safetensors", "--family", "sora"], "'sora'"),
        (["self_forcing_dmd.pt", "out.safetensors", "--lora", "gone.pt"], "there is no file gone.pt"),
        (["longlive_base.pt", "out.safetensors"], "needs its LoRA"),
        (["lora.pt", "out.safetensors"], "is a LoRA and not a model"),
        (["half.pt", "out.safetensors"], "is cut short"),
    ],
)
def test_what_is_refused(tmp_path, published, monkeypatch, capsys, argv, words):
    monkeypatch.chdir(tmp_path)
    published("self_forcing_dmd.pt")
    published("longlive_base.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "self_forcing_dmd.pt").read_bytes()[:-9000])
    before = sorted(tmp_path.iterdir())
    assert convert(*argv) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_is_not_converted_into_itself(tmp_path, state, capsys):
    path = tmp_path / "self_forcing.safetensors"
    save_file(state, path)
    assert convert(path, path) == 2
    assert "another name" in capsys.readouterr().err
    assert load_file(path).keys() == state.keys()
