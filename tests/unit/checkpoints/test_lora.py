import pytest
import torch

from dummy_forcing.core.checkpoints.lora import comfy_lora, lora_parts
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
    ],
)  # fmt: skip
def test_names(names):
    assert_same(comfy_lora(lora_parts(dict(zip(names, (DOWN, UP), strict=True)), SHAPE, "it")), RENAMED)


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
        (pair("double_blocks.0.img_attn.qkv"), ["does not belong", "'double_blocks.0.img_attn.qkv'"]),
        (pair("blocks.2.ffn.0"), ["does not belong", "'blocks.2.ffn.0'", "Load LoRA"]),
        (pair("lora_unet_blocks_2_ffn_0"), ["does not belong", "lora_unet_blocks_2_ffn_0"]),
        (pair("blocks.0.modulation"), ["does not fit"]),
        (pair(MODULE, torch.ones(8, 5120)), ["does not fit", "[8, 5120]", "[64, 48]"]),
        (pair(MODULE, up=torch.ones(48, 8)), ["does not fit", "[48, 8]"]),
        (pair(MODULE, up=torch.ones(64, 7)), ["does not fit"]),
        (pair(MODULE, torch.ones(0, 48), torch.ones(64, 0)), ["does not fit"]),
        (pair(MODULE, torch.tensor(1.0)), ["does not fit"]),
        (pair(MODULE, DOWN.to(torch.int8)), ["torch.int8", "not quantised"]),
        ({f"{MODULE}.lora_A.weight": DOWN}, ["incomplete", MODULE]),
        ({f"{MODULE}.lora_B.weight": UP}, ["incomplete", MODULE]),
        (pair(MODULE) | {f"{MODULE}.lokr_w1": DOWN}, ["not known here", "lokr_w1", "Load LoRA"]),
        (pair(MODULE) | {f"{MODULE}.alpha": torch.ones(2)}, ["does not fit", "alpha"]),
        ({"blocks.0.norm3.diff": torch.ones(47)}, ["does not fit", "[47]"]),
        (pair(MODULE) | pair(f"model.{MODULE}"), ["two copies"]),
    ],
)
def test_what_is_refused(refused, tensors, words):
    with refused(*words):
        comfy_lora(lora_parts(tensors, SHAPE, "the LoRA 'x'"))
