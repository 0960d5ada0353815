"""diffusers' names for the tensors of a Wan backbone (its WanTransformer3DModel), and Wan's own for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

# The first that fits counts. norm2 and norm3 change places: diffusers counts them in the order of their use.
_RULES = (
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out\.", "head.head."),
    (r"^(blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
    (r"^(blocks\.\d+)\.norm2\.", r"\1.norm3."),
    (r"^(blocks\.\d+)\.attn1\.to_([qkv])\.", r"\1.self_attn.\2."),
    (r"^(blocks\.\d+)\.attn2\.to_([qkv])\.", r"\1.cross_attn.\2."),
    (r"^(blocks\.\d+)\.attn1\.to_out\.0\.", r"\1.self_attn.o."),
    (r"^(blocks\.\d+)\.attn2\.to_out\.0\.", r"\1.cross_attn.o."),
    (r"^(blocks\.\d+)\.attn1\.", r"\1.self_attn."),
    (r"^(blocks\.\d+)\.attn2\.", r"\1.cross_attn."),
    (r"^(blocks\.\d+)\.ffn\.net\.0\.proj\.", r"\1.ffn.0."),
    (r"^(blocks\.\d+)\.ffn\.net\.2\.", r"\1.ffn.2."),
)
_OF_DIFFUSERS = re.compile(r"^condition_embedder\.|^blocks\.\d+\.attn1\.")

Value = TypeVar("Value")


def is_of_diffusers(names: Iterable[str]) -> bool:
    """Whether bare names are diffusers'."""
    return any(map(_OF_DIFFUSERS.match, names))


def renamed_from_diffusers(state: Mapping[str, Value]) -> dict[str, Value]:
    """Give everything Wan's names; what diffusers' Wan transformer does not have keeps its name."""
    return {_wan_name(name): value for name, value in state.items()}


def _wan_name(name: str) -> str:
    for pattern, replacement in _RULES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name
