"""What a pass costs in arithmetic.

A multiply-add is two operations. Norms, modulation, RoPE and softmax are left out, as usual: they are a matter of
memory traffic. The figures for Wan 1.3B at 480p are in docs/references.md, "What a pass costs".
"""

from __future__ import annotations

from dataclasses import dataclass

from .shape import PATCH, WanShape


@dataclass(frozen=True)
class PassCost:
    """Floating-point operations of one pass of one video, by part."""

    linears: float
    cross_attention: float
    self_attention: float

    @property
    def total(self) -> float:
        return self.linears + self.cross_attention + self.self_attention


def pass_cost(shape: WanShape, tokens: int, text_tokens: int, keys: float) -> PassCost:
    """Cost of a pass that runs all blocks.

    Args:
        tokens: of the chunk.
        text_tokens: prompt tokens that cross-attention reads; their keys and values are computed once per prompt.
        keys: keys that a head's queries read, mean over layers and heads.
    """
    block = 6 * shape.dim**2 + 2 * shape.dim * shape.ffn_dim  # q, k, v, o; cross q, o; feed-forward
    attention = 4 * tokens * shape.dim * shape.layers  # q k^T and weights v, for one key
    return PassCost(
        linears=2 * tokens * shape.layers * block + edge_cost(shape, tokens),
        cross_attention=attention * text_tokens,
        self_attention=attention * keys,
    )


def edge_cost(shape: WanShape, tokens: int) -> float:
    """Patch embedding and head: all that a skipped pass computes."""
    return 2 * tokens * shape.dim * PATCH**2 * (shape.in_channels + shape.out_channels)
