"""Sizes read off weights, and the names of the released checkpoints."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.wan.container import CausalWan
from dummy_forcing.core.wan.shape import WAN_1_3B, WAN_14B, WanShape

WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "weights.safetensors"
RELEASED = {WAN_1_3B: (825, 5.676e9), WAN_14B: (1095, 57.15e9)}
BLOCK_NAMES = {
    "modulation",
    *(
        f"{attention}.{layer}"
        for attention in ("self_attn", "cross_attn")
        for layer in ("norm_q.weight", "norm_k.weight", *(f"{x}.{y}" for x in "qkvo" for y in ("weight", "bias")))
    ),
    *(f"{layer}.{x}" for layer in ("norm3", "ffn.0", "ffn.2") for x in ("weight", "bias")),
}
OTHER_NAMES = {
    "head.modulation",
    *(
        f"{layer}.{x}"
        for layer in (
            *("patch_embedding", "text_embedding.0", "text_embedding.2"),
            *("time_embedding.0", "time_embedding.2", "time_projection.1", "head.head"),
        )
        for x in ("weight", "bias")
    ),
}


def meta_state(shape):
    with torch.device("meta"):
        return CausalWan(shape).state_dict()


@pytest.mark.parametrize("shape", RELEASED, ids=["1.3B", "14B"])
def test_the_released_models(shape):
    """Counts and sizes of docs/references.md, "Wan 2.1's sizes"; fp32 files are larger by their header only."""
    state = meta_state(shape)
    tensors, size = RELEASED[shape]
    assert len(state) == tensors
    assert 4 * sum(tensor.numel() for tensor in state.values()) == pytest.approx(size, rel=1e-3)
    assert WanShape.from_state_dict(state) == shape
    assert shape.head_dim == 128


def test_names_are_those_of_the_checkpoints():
    names = set(meta_state(WAN_1_3B))
    assert {name.split(".", 2)[2] for name in names if name.startswith("blocks.")} == BLOCK_NAMES
    assert {name for name in names if not name.startswith("blocks.")} == OTHER_NAMES
    assert {name.split(".")[1] for name in names if name.startswith("blocks.")} == set(map(str, range(30)))


def test_the_golden_weights():
    with safe_open(WEIGHTS, "pt") as file:
        config = json.loads(file.metadata()["config"])
    state = load_file(WEIGHTS)
    shape = WanShape.from_state_dict(state, config["num_heads"])
    assert dataclasses.astuple(shape) == (128, 4, 4, 256, 32, 16, 16, 256)
    assert WanShape.from_state_dict(state).heads == 1, "128 is the width of one head of the released models"
    CausalWan(shape).load_state_dict(state, strict=True)


def test_unequal_channels_are_read_off():
    shape = WanShape(dim=48, heads=4, layers=1, ffn_dim=8, text_dim=6, in_channels=36, out_channels=5, freq_dim=10)
    assert WanShape.from_state_dict(meta_state(shape), 4) == shape


@pytest.mark.parametrize(
    "key", ["patch_embedding.weight", "blocks.0.ffn.0.weight", "text_embedding.0.weight", "head.head.weight"]
)
def test_a_missing_key_is_named(key):
    state = meta_state(WanShape(dim=48, heads=4, layers=1, ffn_dim=8))
    del state[key]
    with pytest.raises(DummyForcingError, match=f"not a Wan backbone: key '{key}' is missing"):
        WanShape.from_state_dict(state, 4)


def test_the_number_of_heads_must_be_given_for_other_widths():
    state = meta_state(WanShape(dim=48, heads=4, layers=1, ffn_dim=8))
    with pytest.raises(DummyForcingError, match="cannot tell the number of heads of a Wan model of width 48"):
        WanShape.from_state_dict(state)


@pytest.mark.parametrize("heads", [0, -1, 5, 16])
def test_heads_must_divide_the_width_into_even_parts(heads):
    with pytest.raises(DummyForcingError, match="correct num_heads"):
        WanShape(dim=48, heads=heads, layers=1, ffn_dim=8)


def test_dict_round_trip():
    assert WanShape.from_dict(json.loads(json.dumps(WAN_14B.to_dict()))) == WAN_14B
    with pytest.raises(DummyForcingError, match=r"unknown model sizes \['depth'\]"):
        WanShape.from_dict({**WAN_14B.to_dict(), "depth": 3})


def test_tokens_per_frame():
    assert WAN_1_3B.tokens_per_frame(60, 104) == 1560  # 832 x 480
