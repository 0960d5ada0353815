import re

import pytest
import torch
from published_layouts import SHAPE as PUBLISHED_SHAPE
from published_layouts import backbone_state, diffusers, lora_state, prefixed

from dummy_forcing.core.checkpoints.lora.lora_file import comfy_lora, lora_parts
from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.wan.shape import WanShape

SHAPE = WanShape(dim=48, heads=4, layers=2, ffn_dim=64, text_dim=16, in_channels=4, out_channels=4, freq_dim=32)
MODULE = "blocks.1.ffn.0"
DOWN, UP = torch.ones(8, 48), torch.full((64, 8), 2.0)
RENAMED = {f"diffusion_model.{MODULE}.lora_A.weight": DOWN, f"diffusion_model.{MODULE}.lora_B.weight": UP}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(found[name] is value for name, value in expected.items())


@pytest.mark.parametrize(
    "names",
    [
        (f"{MODULE}.lora_A.weight", f"{MODULE}.lora_B.weight"),
        (f"base_model.model.{MODULE}.lora_A.weight", f"base_model.model.{MODULE}.lora_B.weight"),
        (f"generator_lora.base_model.model.{MODULE}.lora_A.default.weight",
         f"generator_lora.base_model.model.{MODULE}.lora_B.default.weight"),
        ("base_model.model._fsdp_wrapped_module.blocks.1._fsdp_wrapped_module.ffn.0.lora_A.weight",
         "base_model.model._fsdp_wrapped_module.blocks.1._fsdp_wrapped_module.ffn.0.lora_B.weight"),
        (f"diffusion_model.{MODULE}.lora_down.weight", f"diffusion_model.{MODULE}.lora_up.weight"),
        ("lora_unet_blocks_1_ffn_0.lora_down.weight", "lora_unet_blocks_1_ffn_0.lora_up.weight"),
        ("lora_unet__blocks_1_ffn_0.lora_down.weight", "lora_unet__blocks_1_ffn_0.lora_up.weight"),
        ("lora_unet_blocks_1_ffn_net_0_proj.lora_down.weight", "lora_unet_blocks_1_ffn_net_0_proj.lora_up.weight"),
        ("lora_transformer_blocks_1_ffn_net_0_proj.lora_down.weight",
         "lora_transformer_blocks_1_ffn_net_0_proj.lora_up.weight"),
        ("lycoris_blocks_1_ffn_net_0_proj.lora_down.weight", "lycoris_blocks_1_ffn_net_0_proj.lora_up.weight"),
        ("transformer.blocks.1.ffn.net.0.proj.lora_A.weight", "transformer.blocks.1.ffn.net.0.proj.lora_B.weight"),
        ("transformer.blocks.1.ffn.net.0.proj.lora.down.weight", "blocks.1.ffn.net.0.proj.lora.up.weight"),
        (f"pipe.dit.{MODULE}.lora_A.default.weight", f"pipe.dit.{MODULE}.lora_B.default.weight"),
        (f"{MODULE}.lora_A", f"{MODULE}.lora_B"),
    ],
)  # fmt: skip
def test_names(names):
    assert_same(comfy_lora(lora_parts(dict(zip(names, (DOWN, UP), strict=True)), SHAPE, "it")), RENAMED)


def diffusers_lora(state):
    """As diffusers saves a LoRA of these parts."""
    return prefixed(diffusers(state), "transformer.")


def kohya(state):
    """As kohya's and musubi's trainers save it."""
    found = {}
    for name, value in state.items():
        module, factor = re.fullmatch(r"(.+)\.lora_([AB])\.weight", name).groups()
        found[f"lora_unet_{module.replace('.', '_')}.lora_{'down' if factor == 'A' else 'up'}.weight"] = value
    return found


def mixed(state):
    """Kohya's way of spelling diffusers' names for one half, Wan's own for the other."""
    names = sorted(state)
    halves = [{name: state[name] for name in names[half::4] + names[half + 1 :: 4]} for half in (0, 2)]
    return kohya(diffusers(halves[0])) | kohya(halves[1])


@pytest.mark.parametrize("spelt", [diffusers_lora, kohya, lambda state: kohya(diffusers(state)), mixed])
@pytest.mark.parametrize("only", ["", "cross_attn", "self_attn", "ffn", "self_attn.v"])
def test_files_that_train_only_some_layers(spelt, only):
    whole = {name: value for name, value in lora_state(backbone_state()).items() if only in name}
    expected = {f"diffusion_model.{name}": value for name, value in whole.items()}
    assert_same(comfy_lora(lora_parts(spelt(whole), PUBLISHED_SHAPE, "it")), expected)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"diffusion_model.{MODULE}.lokr_w1", ["a LoKr of LyCORIS", "only ComfyUI's own Load LoRA node"]),
        ("lora_unet_blocks_1_ffn_0.lokr_w2_a", ["a LoKr of LyCORIS", "only ComfyUI's own Load LoRA node"]),
        ("lycoris_blocks_1_ffn_net_0_proj.lokr_w1", ["names that ComfyUI does not know",
                                                     "to 'diffusion_model.blocks.1.ffn.0.lokr_w1'"]),
        (f"{MODULE}.hada_w1_a", ["a LoHa of LyCORIS", f"to 'diffusion_model.{MODULE}.hada_w1_a'"]),
        (f"diffusion_model.{MODULE}.dora_scale", ["a DoRA (it has", "only ComfyUI's own Load LoRA node"]),
        (f"base_model.model.{MODULE}.lora_magnitude_vector", ["a DoRA of PEFT", "merge the LoRA into the model"]),
        (f"diffusion_model.{MODULE}.oft_blocks", ["an OFT or BOFT", "only ComfyUI's own Load LoRA node"]),
        (f"diffusion_model.{MODULE}.lora_mid.weight", ["three factors", "only ComfyUI's own Load LoRA node"]),
        (f"{MODULE}.lora_B.bias", ["biases of its own", "merge the LoRA into the model"]),
    ],
)  # fmt: skip
def test_other_kinds_are_named_with_what_to_do(refused, name, words):
    with refused("the LoRA 'x' is ", repr(name), *words):
        lora_parts(RENAMED | {name: torch.ones(4, 4)}, SHAPE, "the LoRA 'x'")


def test_files_that_are_something_else(refused):
    with refused("is not a LoRA but a Wan backbone", "choose a LoRA"):
        lora_parts(backbone_state(), PUBLISHED_SHAPE, "it")
    with refused("changes 'blocks.1.ffn.0' twice"):
        lora_parts(pair(MODULE) | pair("lora_unet_blocks_1_ffn_0"), SHAPE, "it")


def test_everything_a_lora_may_have():
    expected = {
        **RENAMED,
        f"diffusion_model.{MODULE}.alpha": torch.tensor(4.0),
        f"diffusion_model.{MODULE}.diff_b": torch.ones(64),
        "diffusion_model.blocks.0.norm3.diff": torch.ones(48),
        "diffusion_model.blocks.0.modulation.diff": torch.ones(1, 6, 48),
        "diffusion_model.head.head.lora_A.weight": torch.ones(2, 48),
        "diffusion_model.head.head.lora_B.weight": torch.ones(16, 2),
        "diffusion_model.patch_embedding.lora_A.weight": torch.ones(2, 4, 1, 2, 2),
        "diffusion_model.patch_embedding.lora_B.weight": torch.ones(48, 2, 1, 1, 1),
    }
    assert_same(comfy_lora(lora_parts(expected, SHAPE, "it")), expected)


def pair(module, down=DOWN, up=UP):
    return {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, ["is not a LoRA"]),
        ({f"{MODULE}.weight": torch.ones(64, 48)}, ["is not a LoRA"]),
        (pair(MODULE) | pair("blocks.2.ffn.0"), ["does not belong", "'blocks.2.ffn.0'", "Load LoRA"]),
        (pair(MODULE) | pair("lora_unet_blocks_2_ffn_0"), ["does not belong", "lora_unet_blocks_2_ffn_0"]),
        (pair("blocks.0.modulation"), ["does not fit"]),
        (pair(MODULE, torch.ones(8, 5120)), ["does not fit", "[8, 5120]", "[64, 48]"]),
        (pair(MODULE, up=torch.ones(48, 8)), ["does not fit", "[48, 8]"]),
        (pair(MODULE, up=torch.ones(64, 7)), ["does not fit"]),
        (pair(MODULE, torch.ones(0, 48), torch.ones(64, 0)), ["does not fit"]),
        (pair(MODULE, torch.tensor(1.0)), ["does not fit"]),
        (pair(MODULE, DOWN.to(torch.int8)), ["torch.int8", "not quantised"]),
        ({f"{MODULE}.lora_A.weight": DOWN}, ["incomplete", MODULE]),
        ({f"{MODULE}.lora_B.weight": UP}, ["incomplete", MODULE]),
        (pair(MODULE) | {f"{MODULE}.lokr_w1": DOWN}, ["is a LoKr of LyCORIS", "lokr_w1", "Load LoRA"]),
        (pair(MODULE) | {f"{MODULE}.alpha": torch.ones(2)}, ["does not fit", "alpha"]),
        ({"blocks.0.norm3.diff": torch.ones(47)}, ["does not fit", "[47]"]),
        (pair(MODULE) | pair(f"model.{MODULE}"), ["two copies"]),
    ],
)
def test_what_is_refused(refused, tensors, words):
    with refused(*words):
        comfy_lora(lora_parts(tensors, SHAPE, "the LoRA 'x'"))


@pytest.mark.parametrize(
    ("module", "model"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "Stable Diffusion 1.5"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", "Stable Diffusion 1.5"),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", "Stable Diffusion 1.5"),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", "SDXL"),
        ("lora_unet_down_blocks_2_attentions_0_transformer_blocks_3_attn1_to_q", "SDXL"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "SDXL"),
        ("lora_unet_double_blocks_0_img_attn_qkv", "Flux or HunyuanVideo"),
        ("double_blocks.0.img_attn.qkv", "Flux or HunyuanVideo"),
        ("transformer.single_transformer_blocks.0.attn.to_q", "Flux or HunyuanVideo"),
        ("blocks.2.ffn.0", "another model"),
    ],
)
@pytest.mark.parametrize("ending", ["lora_down.weight", "lokr_w1"])
def test_a_lora_of_which_nothing_fits_is_not_sent_to_a_node_that_would_skip_it(module, model, ending):
    with pytest.raises(
        DummyForcingError, match=f"is a LoRA for {model}: nothing in it belongs to this model"
    ) as error:
        lora_parts({f"{module}.{ending}": DOWN}, SHAPE, "the LoRA 'x'")
    assert "Load LoRA" not in str(error.value)
