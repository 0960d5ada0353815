"""Names of a Wan backbone's tensors in diffusers (its WanTransformer3DModel), and Wan's own names for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

_ATTENTIONS = {"self_attn": "attn1", "cross_attn": "attn2"}
_LAYERS = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0", "norm_q": "norm_q", "norm_k": "norm_k"}

# Wan's name -> diffusers' name. norm2 and norm3 swap: diffusers numbers them in the order in which they are used.
_OF_THE_MODEL = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.modulation": "scale_shift_table",
    "head.head": "proj_out",
}
_OF_A_BLOCK = {
    "modulation": "scale_shift_table",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    **{
        f"{ours}.{layer}": f"{theirs}.{named}"
        for ours, theirs in _ATTENTIONS.items()
        for layer, named in _LAYERS.items()
    },
}
_BACK_OF_THE_MODEL = {theirs: ours for ours, theirs in _OF_THE_MODEL.items()}
_BACK_OF_A_BLOCK = {theirs: ours for ours, theirs in _OF_A_BLOCK.items()}
_BLOCK = re.compile(r"(blocks\.\d+\.)(.+)")
_OF_DIFFUSERS = re.compile(r"^condition_embedder\.|^blocks\.\d+\.attn1\.")

Value = TypeVar("Value")


def is_of_diffusers(names: Iterable[str]) -> bool:
    """Whether the bare names of a whole backbone are those of diffusers."""
    return any(map(_OF_DIFFUSERS.match, names))


def renamed_from_diffusers(state: Mapping[str, Value]) -> dict[str, Value]:
    """The same tensors under Wan's names; a name that is not one of diffusers' Wan transformer stays."""
    return {wan_name(name): value for name, value in state.items()}


def wan_name(name: str) -> str:
    """Wan's name of a module, or of anything in it, from its name in diffusers; other names stay."""
    return _renamed(name, _BACK_OF_THE_MODEL, _BACK_OF_A_BLOCK)


def diffusers_name(name: str) -> str:
    """Inverse of `wan_name`."""
    return _renamed(name, _OF_THE_MODEL, _OF_A_BLOCK)


def _renamed(name: str, of_the_model: Mapping[str, str], of_a_block: Mapping[str, str]) -> str:
    block = _BLOCK.fullmatch(name)
    before, rest, names = (block[1], block[2], of_a_block) if block else ("", name, of_the_model)
    for known, other in names.items():
        if rest == known or rest.startswith(f"{known}."):
            return before + other + rest[len(known) :]
    return name
