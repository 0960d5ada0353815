"""A transformer block of Wan without its two attentions: all that does not depend on history, in three parts.

Attention lies between the parts and changes with every chunk; the parts do not, so that each can be compiled once.

Layers are called and their weights never read, so that a runtime may do anything inside them. Norms are the
exception: where a norm is torch's own and nobody has put anything around it, its gain is given to a kernel that
computes the norm together with the operations next to it. Any other norm is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...kernels import Affine, Modulation, QKNorm, gated_residual, layer_norm, modulate, residual_norm

Cast = Callable[[Tensor, Tensor], Tensor]
"""(bare parameter, activations) -> the parameter on the activations' device and in their dtype."""


def computes_as_torch(module: nn.Module) -> bool:
    """Whether a norm's forward is torch's."""
    return type(module).forward in (nn.RMSNorm.forward, nn.LayerNorm.forward)


def project(
    block: nn.Module, x: Tensor, modulation: Tensor, cast: Cast, plain=computes_as_torch
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Project tokens x [B, L, dim] to q, k and v [B, L, dim], still without their norms and RoPE.

    Args:
        modulation: projected timesteps [B, F, 6, dim].

    Returns:
        q, k, v and the block's shifts, scales and gates [B, F, 6, dim].
    """
    shifts = cast(block.modulation, x) + modulation
    attention = block.self_attn
    x = norm_modulated(block.norm1, x, shifts[:, :, 0], shifts[:, :, 1], plain)
    return attention.q(x), attention.k(x), attention.v(x), shifts


def prompt_queries(
    block: nn.Module, x: Tensor, attended: Tensor, shifts: Tensor, cast: Cast, plain=computes_as_torch
) -> tuple[Tensor, Tensor]:
    """Add self-attention's output [B, L, dim] to the tokens; return them and the queries for cross-attention."""
    x, normed = add_norm(block.norm3, x, block.self_attn.o(attended), shifts[:, :, 2], plain, cast)
    return x, block.cross_attn.norm_q(block.cross_attn.q(normed))


def feed_forward(block: nn.Module, x: Tensor, attended: Tensor, shifts: Tensor, plain=computes_as_torch) -> Tensor:
    """Add cross-attention's output [B, L, dim] to the tokens, then run the feed-forward."""
    shift, scale, gate = shifts[:, :, 3], shifts[:, :, 4], shifts[:, :, 5]
    x, normed = add_norm_modulated(block.norm2, x, block.cross_attn.o(attended), shift, scale, plain)
    return gated_residual(x, block.ffn(normed), gate)


@dataclass(frozen=True)
class BlockParts:
    """The three parts to call, eager or compiled."""

    project: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]] = project
    prompt_queries: Callable[..., tuple[Tensor, Tensor]] = prompt_queries
    feed_forward: Callable[..., Tensor] = feed_forward


EAGER = BlockParts()


def qk_norm(module: nn.Module, x: Tensor, plain: Callable[[nn.Module], bool], cast: Cast) -> QKNorm | None:
    """The RMSNorm of queries or keys x [B, L, dim] for a kernel; None if it is not plain and has to be called."""
    if not _is_plain(module, nn.RMSNorm, x, plain) or module.weight is None or module.eps is None:
        return None
    return QKNorm(cast(module.weight, x), module.eps)


def norm_modulated(norm: nn.Module, x: Tensor, shift: Tensor, scale: Tensor, plain) -> Tensor:
    """A LayerNorm without gains, then one shift and scale [B, F, dim] for each frame of x [B, L, dim]."""
    then = Modulation(shift, scale)
    if _is_bare(norm, x, plain):
        return layer_norm(x, norm.eps, then)
    return modulate(norm(x), then)


def add_norm_modulated(
    norm: nn.Module, x: Tensor, update: Tensor, shift: Tensor, scale: Tensor, plain
) -> tuple[Tensor, Tensor]:
    """x + update, and `norm_modulated` of it."""
    then = Modulation(shift, scale)
    if _is_bare(norm, x, plain):
        return residual_norm(x, update, None, norm.eps, then)
    x = gated_residual(x, update, None)
    return x, modulate(norm(x), then)


def add_norm(norm: nn.Module, x: Tensor, update: Tensor, gate: Tensor, plain, cast: Cast) -> tuple[Tensor, Tensor]:
    """x + update * gate, and the LayerNorm of it with the layer's own gain and bias."""
    if _is_plain(norm, nn.LayerNorm, x, plain):
        shift, scale = (None if each is None else cast(each, x) for each in (norm.bias, norm.weight))
        return residual_norm(x, update, gate, norm.eps, Affine(shift, scale))
    x = gated_residual(x, update, gate)
    return x, norm(x)


def _is_bare(norm: nn.Module, x: Tensor, plain) -> bool:
    return _is_plain(norm, nn.LayerNorm, x, plain) and norm.weight is None and norm.bias is None


def _is_plain(module: nn.Module, kind: type[nn.Module], x: Tensor, plain) -> bool:
    """Whether a norm does nothing but normalise x over its channels, with vectors on the device of x."""
    if torch.compiler.is_compiling():  # the compiler sees through a call
        return False
    return (
        isinstance(module, kind)
        and plain(module)
        and "forward" not in vars(module)
        and not (module._forward_hooks or module._forward_pre_hooks)
        and tuple(module.normalized_shape) == x.shape[-1:]
        and all(_is_vector(each, x) for each in module.parameters(recurse=False))
    )


def _is_vector(parameter: Tensor, x: Tensor) -> bool:
    """Whether a parameter is neither packed nor on another device than x."""
    ordinary = type(parameter) in (nn.Parameter, Tensor) and parameter.dtype.itemsize > 1
    return ordinary and parameter.device == x.device
