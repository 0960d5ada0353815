"""Layouts of published files become Wan's own names."""

import pytest
import torch
from published_layouts import (
    SHAPE,
    backbone_state,
    diffusers,
    fsdp,
    lora_state,
    merged,
    peft,
    prefixed,
    raven_lora,
    rcm,
)

from dummy_forcing.core.checkpoints.layouts.diffusers_names import is_of_diffusers, renamed_from_diffusers
from dummy_forcing.core.checkpoints.layouts.layouts import backbone_layout
from dummy_forcing.core.checkpoints.layouts.normal import normalise
from dummy_forcing.core.checkpoints.lora.lora_file import lora_parts


@pytest.fixture(scope="module")
def state():
    return backbone_state()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("stored", "notes"),
    [
        (dict, []),
        (lambda s: prefixed(s, "generator_ema.model."), ["wrapped in 'generator_ema.model'"]),
        (fsdp, ["wrapped in 'model._fsdp_wrapped_module'"]),
        (diffusers, ["named as in diffusers"]),
        (lambda s: prefixed(diffusers(s), "transformer."), ["wrapped in 'transformer'", "named as in diffusers"]),
        (rcm, ["wrapped in 'net'", "patch embedding is a linear layer"]),
    ],
)
def test_every_layout_becomes_the_same(state, stored, notes):
    found = backbone_layout(stored(state), "it")
    assert_same(found.state, state)
    assert not found.lora
    assert len(found.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, found.notes, strict=True))


def test_diffusers_names_go_there_and_back(state):
    theirs = diffusers(state)
    assert is_of_diffusers(theirs) and not is_of_diffusers(state)
    assert "blocks.0.attn2.to_out.0.weight" in theirs and "blocks.0.norm2.weight" in theirs
    assert_same(renamed_from_diffusers(theirs), state)
    assert renamed_from_diffusers({"blocks.0.attn3.x": 1, "odd": 2}) == {"blocks.0.attn3.x": 1, "odd": 2}


def test_the_linear_patch_embedding_is_the_convolution(state):
    """Wan's patches are 1 x 2 x 2 pixels of 16 channels, counted channel first in both."""
    found = backbone_layout(rcm(state), "it").state["patch_embedding.weight"]
    x = torch.randn(1, 16, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    convolved = torch.nn.functional.conv3d(x, found, stride=(1, 2, 2)).flatten(2).transpose(1, 2)
    patches = x[0, :, 0].unfold(1, 2, 2).unfold(2, 2, 2).permute(1, 2, 0, 3, 4).reshape(1, 6, 64)
    torch.testing.assert_close(convolved, patches @ state["patch_embedding.weight"].flatten(1).T)


@pytest.mark.parametrize("wrapped", [dict, fsdp, diffusers, lambda s: prefixed(s, "generator_ema.model.")])
@pytest.mark.parametrize("name", ["freqs", "freqs_cis", "rope.freqs_cos", "rotary_emb.inv_freq"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_position_tables_are_left_out(state, wrapped, name, dtype):
    """Wan computes them; some trainers save them as a buffer."""
    found = normalise(wrapped(state | {name: torch.ones(1024, 64, dtype=dtype)}), {}, "it")
    assert_same(found.state, state)
    assert any("position tables" in note and "left out" in note for note in found.notes)


def test_choices_of_attention_are_left_out(state):
    """ComfyUI 0.38 saves them beside the weights."""
    config = {"blocks.0.self_attn.comfy_attention.config": torch.zeros(9, dtype=torch.uint8)}
    found = normalise(prefixed(state | config, "model.diffusion_model."), {}, "it")
    assert_same(found.state, state)
    assert any("choices of attention" in note for note in found.notes)


def test_a_wrapped_lora_is_merged(state):
    lora = raven_lora(state)
    normal = normalise(peft(state, lora), {}, "it")
    assert_same(normal.state, state)
    assert any("PEFT" in note for note in normal.notes)
    expected = merged(state, lora)
    for name, value in normal.merged_state().items():
        torch.testing.assert_close(value, expected[name])
    assert normalise(state, {}, "it").merged_state() is not None


def test_a_wrapped_lora_of_another_model(state, refused):
    lora = lora_state(state) | {"blocks.9.ffn.0.lora_A.weight": torch.ones(2, 3)}
    with refused("the LoRA within it", "'blocks.9.ffn.0'"):
        normalise(peft(state, lora), {}, "it")


def test_a_lora_alone_is_no_model(state, refused):
    for names in (lora_state(state), prefixed(lora_state(state), "generator_lora.base_model.model.")):
        with refused("it is a LoRA and not a model"):
            backbone_layout(names, "it")
    with refused("it is a LoKr of LyCORIS and not a model", "choose this file as its LoRA"):
        backbone_layout({"diffusion_model.blocks.0.ffn.0.lokr_w1": torch.ones(2, 2)}, "it")


def test_a_lora_with_diffusers_names(state):
    theirs = {
        "transformer.blocks.1.attn1.to_q.lora_A.weight": torch.ones(2, 128),
        "transformer.blocks.1.attn1.to_q.lora_B.weight": torch.ones(128, 2),
        "transformer.blocks.1.ffn.net.0.proj.lora_A.weight": torch.ones(2, 128),
        "transformer.blocks.1.ffn.net.0.proj.lora_B.weight": torch.ones(64, 2),
    }
    modules = {module for module, _ in lora_parts(theirs, SHAPE, "it")}
    assert modules == {"blocks.1.self_attn.q", "blocks.1.ffn.0"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vace_blocks.0.before_proj.weight", "VACE"),
        ("blocks.0.cross_attn.k_img.weight", "image-to-video"),
        ("control_adapter.conv.weight", "camera-control"),
        ("blocks.0.action_model.mouse_mlp.0.weight", "Matrix-Game"),
        ("patch_mid.weight", "Helios"),
        ("casual_audio_encoder.weights", "audio"),
        ("face_adapter.fuser_blocks.0.k_norm.weight", "character"),
    ],
)
def test_models_of_other_kinds(state, refused, name, words):
    with refused(words, repr(name), "cannot be run here"):
        normalise(prefixed(state | {name: torch.ones(2)}, "model."), {}, "the model 'x'")
