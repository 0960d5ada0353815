"""`dummy-forcing inspect`: what a checkpoint is and what it still needs."""

import json
import shutil

import pytest
import torch
from published_layouts import PUBLISHED, SHAPE, backbone_state, prefixed
from safetensors.torch import save_file

from dummy_forcing.cli.main import main
from dummy_forcing.core.checkpoints.core_comfyui import NOTHING
from dummy_forcing.core.checkpoints.facts import inspect_checkpoint
from dummy_forcing.core.world.toy import BACKBONE_FILE, WEIGHTS


@pytest.fixture(scope="module")
def state():
    return backbone_state()


@pytest.fixture
def published(tmp_path, state):
    """Writes the file of PUBLISHED with that name; returns its path."""
    return lambda file: next(each for each in PUBLISHED if each.file == file).save(tmp_path, tmp_path, state)[0]


def test_a_base_that_needs_its_lora(published, capsys):
    path = published("longlive_base.pt")
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    for words in (
        "LongLive (longlive)",
        "longlive_base.pt' says so",
        "CC-BY-NC-SA-4.0",
        "its LoRA 'lora.pt' (Efficient-Large-Model/LongLive-1.3B, models/lora.pt)",
        "wan_2.1_vae.safetensors",
        "umT5-XXL",
        "an ordinary bidirectional model; use Load AR Video Model, or `dummy-forcing convert` once",
        "wrapped in 'generator.model'",
        "120 latent frames of 832 x 480 pixels",
        "reads 12 latent frames, the first 3 for ever",
    ):
        assert words in out, words


def test_json(published, state, capsys):
    path = published("self_forcing_dmd.pt")
    assert main(["inspect", str(path), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert "Self-Forcing" in err
    assert facts["family"]["name"] == "self-forcing"
    assert facts["shape"] == SHAPE.to_dict()
    assert facts["parameters"] == sum(value.numel() for value in state.values())
    assert facts["dtypes"] == {"float32": facts["parameters"]}
    assert facts["file_bytes"] == path.stat().st_size
    # 21 latent frames of 1560 tokens, keys and values of 2 layers of width 128 in bfloat16.
    assert facts["kv"]["peak_bytes"] == 21 * 1560 * 2 * 2 * SHAPE.dim * 2


def test_a_family_that_cannot_be_told_is_a_fact(tmp_path, state, capsys):
    path = tmp_path / "model.safetensors"
    save_file(prefixed(state, "model."), path)
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "cannot be told" in out and "choose its family by hand" in out
    assert inspect_checkpoint(path).kv is None
    assert inspect_checkpoint(path, "raven").family.name == "raven"


def test_what_is_there_is_not_missing(tmp_path, published, state):
    assert inspect_checkpoint(WEIGHTS / BACKBONE_FILE).missing == ()
    assert inspect_checkpoint(WEIGHTS / BACKBONE_FILE).is_causal_in_comfyui
    facts = inspect_checkpoint(published("cmgrpo_raven_full.pt"))
    assert "wrapped around its layers" in facts.merged
    assert not any("LoRA" in each for each in facts.missing)


def test_windows_hold_less(published):
    facts = inspect_checkpoint(published("longlive_base.pt"))
    assert facts.kv.latent_frames == 120
    assert facts.kv.peak_bytes < 21 * 1560 * 2 * 2 * SHAPE.dim * 2


def test_shards_are_counted(tmp_path, state, capsys):
    path = next(each for each in PUBLISHED if each.shards == 3).save(tmp_path, tmp_path, state)[0]
    for each in (path, path.parent, next(path.parent.glob("*.json"))):
        facts = inspect_checkpoint(each)
        assert (facts.files, facts.tensors) == (3, len(state))
    assert main(["inspect", str(path)]) == 0
    assert "in 3 files" in capsys.readouterr().out


def test_mixed_types(tmp_path, state):
    path = tmp_path / "self_forcing.safetensors"
    save_file({name: value.half() if "ffn" in name else value for name, value in state.items()}, path)
    dtypes = inspect_checkpoint(path).dtypes
    assert set(dtypes) == {"float16", "float32"}
    assert sum(dtypes.values()) == sum(value.numel() for value in state.values())


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"double_blocks.0.img_attn.qkv.weight": torch.ones(2, 2)}, "not a Wan backbone"),
        ({"blocks.0.ffn.0.lora_A.weight": torch.ones(2, 2)}, "is a LoRA and not a model"),
    ],
)
def test_what_is_no_backbone(tmp_path, capsys, tensors, words):
    save_file(tensors, tmp_path / "x.safetensors")
    assert main(["inspect", str(tmp_path / "x.safetensors")]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".ckpt"])
def test_what_a_file_is_goes_by_its_content(tmp_path, suffix):
    """ComfyUI's own loader goes by the name and cannot read it."""
    path = (tmp_path / "renamed").with_suffix(suffix)
    shutil.copy(WEIGHTS / BACKBONE_FILE, path)
    facts, expected = inspect_checkpoint(path), inspect_checkpoint(WEIGHTS / BACKBONE_FILE)
    assert (facts.tensors, facts.family, facts.comfyui) == (expected.tensors, expected.family, NOTHING)
