"""A transformer block of Wan around its two attentions: all that does not depend on history, in three parts.

Attention lies between the parts and changes with every chunk; they do not, so that each can be compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ...kernels import gated_residual
from .norms import Cast, add_norm, add_norm_modulated, computes_as_torch, norm_modulated


def project(
    block: nn.Module, x: Tensor, modulation: Tensor, cast: Cast, plain=computes_as_torch
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From tokens x [B, L, dim] to q, k and v [B, L, dim] as projected.

    Args:
        modulation: projected timesteps [B, F, 6, dim].

    Returns:
        q, k, v and the block's shifts, scales and gates [B, F, 6, dim].
    """
    shifts = cast(block.modulation, x) + modulation
    attention = block.self_attn
    x = norm_modulated(block.norm1, x, shifts[:, :, 0], shifts[:, :, 1], plain)
    return attention.q(x), attention.k(x), attention.v(x), shifts


def ask_prompt(
    block: nn.Module, x: Tensor, attended: Tensor, shifts: Tensor, cast: Cast, plain=computes_as_torch
) -> tuple[Tensor, Tensor]:
    """Self-attention's output [B, L, dim] into the tokens; returns them and the queries for cross-attention."""
    x, normed = add_norm(block.norm3, x, block.self_attn.o(attended), shifts[:, :, 2], plain, cast)
    return x, block.cross_attn.norm_q(block.cross_attn.q(normed))


def feed_forward(block: nn.Module, x: Tensor, attended: Tensor, shifts: Tensor, plain=computes_as_torch) -> Tensor:
    """Cross-attention's output [B, L, dim] into the tokens, then the feed-forward."""
    shift, scale, gate = shifts[:, :, 3], shifts[:, :, 4], shifts[:, :, 5]
    x, normed = add_norm_modulated(block.norm2, x, block.cross_attn.o(attended), shift, scale, plain)
    return gated_residual(x, block.ffn(normed), gate)


@dataclass(frozen=True)
class BlockParts:
    """The parts as they are called, for instance compiled."""

    project: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]] = project
    ask_prompt: Callable[..., tuple[Tensor, Tensor]] = ask_prompt
    feed_forward: Callable[..., Tensor] = feed_forward


EAGER = BlockParts()
