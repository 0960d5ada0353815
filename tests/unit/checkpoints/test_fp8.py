"""Loading with linear layers in FP8: tensor by tensor, after LoRAs, everything else as it was."""

import pytest
import torch
from backbones import backbone_fingerprint

from dummy_forcing.core.checkpoints.layouts.normal import normalise
from dummy_forcing.core.checkpoints.load import fill_backbone
from dummy_forcing.core.checkpoints.lora.lora_merge import Merge
from dummy_forcing.core.checkpoints.lora.lora_names import DOWN, UP
from dummy_forcing.core.checkpoints.model import open_checkpoint
from dummy_forcing.core.wan.fp8_linear import fp8_weights, use_fp8_linears
from dummy_forcing.core.world.toy import open_toy_world
from dummy_forcing.kernels.fp8 import quantise_rows

HEADS = {"config": '{"transformer": {"num_heads": 4}}'}
CHANGED = "blocks.1.ffn.0"


def assert_same(first, second):
    first, second = first.state_dict(), second.state_dict()
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].dtype == second[name].dtype
        assert torch.equal(first[name].float(), second[name].float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_what_quantising_the_loaded_model_gives(golden_file, dtype):
    """The weights are quantised as the file has them, whatever the type of all else."""
    loaded = open_checkpoint(golden_file, family="self-forcing", dtype=dtype, fp8=True)
    exact = use_fp8_linears(open_checkpoint(golden_file, family="self-forcing").backbone)
    for name in fp8_weights(exact):
        values, scale = loaded.backbone.state_dict()[name], loaded.backbone.state_dict()[f"{name}_scale"]
        assert torch.equal(values.float(), exact.state_dict()[name].float())
        assert torch.equal(scale, exact.state_dict()[f"{name}_scale"])
    assert loaded.backbone.blocks[0].self_attn.q.bias.dtype == loaded.backbone.head.head.weight.dtype == dtype
    assert not loaded.backbone.training
    assert not any(weight.requires_grad for weight in loaded.backbone.parameters())


def test_the_toy_world():
    model = open_toy_world(fp8=True)
    assert len(fp8_weights(model.backbone)) == 60
    assert model.fingerprint == backbone_fingerprint(model.backbone) == open_toy_world().fingerprint


def test_loras_are_merged_before(golden_state):
    rows, columns = golden_state[f"{CHANGED}.weight"].shape
    made = torch.Generator().manual_seed(0)
    lora = Merge({(CHANGED, DOWN): torch.randn(2, columns, generator=made),
                  (CHANGED, UP): torch.randn(rows, 2, generator=made)})  # fmt: skip
    merged = lora.merged(f"{CHANGED}.weight", golden_state[f"{CHANGED}.weight"])
    loaded = fill_backbone(normalise(dict(golden_state), HEADS, "the model"), "it", loras=(lora,), fp8=True)
    values, scale = quantise_rows(merged)
    assert torch.equal(loaded.blocks[1].ffn[0].weight.float(), values.float())
    assert torch.equal(loaded.blocks[1].ffn[0].weight_scale, scale)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_broken_numbers_are_refused(save, golden_state, refused, number):
    state = {name: value.clone() for name, value in golden_state.items()}
    state[f"{CHANGED}.weight"][0, 0] = number
    path = save(state)
    with refused(f"{CHANGED}.weight", "NaN or infinite", "download"):
        open_checkpoint(path, family="self-forcing", fp8=True)


@pytest.mark.parametrize("stored", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float64])
def test_files_of_any_floating_type(save, golden_state, stored):
    cast = {name: value.to(stored) for name, value in golden_state.items()}
    loaded = open_checkpoint(save(cast), family="self-forcing", fp8=True).backbone
    values, scale = quantise_rows(cast[f"{CHANGED}.weight"].float())
    assert torch.equal(loaded.blocks[1].ffn[0].weight.float(), values.float())
    assert torch.equal(loaded.blocks[1].ffn[0].weight_scale, scale)


def test_quantised_files_are_refused_as_ever(save, golden_state, refused):
    state = dict(golden_state)
    values, scale = quantise_rows(state[f"{CHANGED}.weight"])
    state |= {f"{CHANGED}.weight": values, f"{CHANGED}.scale_weight": scale, "scaled_fp8": torch.zeros(2)}
    path = save(state)
    with refused(f"'{CHANGED}.weight' is quantised", "run this one in ComfyUI"):
        open_checkpoint(path, family="self-forcing", fp8=True)
