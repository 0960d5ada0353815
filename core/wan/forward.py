"""The one forward of a causal Wan backbone.

`forward_chunk` runs a chunk of latent frames through any module tree with Wan's attribute names: our container,
the host's `CausalWanModel`, a quantised or LoRA-patched copy. Weights are used only by calling the submodules, so
whatever the home does inside them (casting, offloading, dequantising) keeps working. The few bare vectors
(`modulation`) go through a cast function that the home provides.

What happens between q, k, v and the attention output is the memory's business (`core.memory`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rope import apply_rope, rope_rotations
from .shape import PATCH

Cast = Callable[[Tensor, Tensor], Tensor]


class AttentionMemory(Protocol):
    """Where a chunk's keys and values go and what its queries read."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock) -> Tensor:
        """Roped q, k and plain v [B, L, H, D] of the chunk -> attention output [B, L, H, D]."""
        ...


@dataclass(frozen=True)
class PromptKV:
    """A prompt's cross-attention keys and values, one pair of [B, L, H, D] per layer."""

    layers: tuple[tuple[Tensor, Tensor], ...]


def cast_like(vector: Tensor, like: Tensor) -> Tensor:
    """Default cast of bare parameters: device and dtype of the activations."""
    return vector.to(device=like.device, dtype=like.dtype)


def encode_prompt(backbone: nn.Module, text: Tensor) -> PromptKV:
    """Run what depends on the prompt alone: text embedding and every layer's cross-attention K/V.

    Args:
        text: text-encoder output [B, L, text_dim] in the backbone's compute dtype. Padding tokens are attended,
            as Wan was trained.
    """
    embedded = backbone.text_embedding(text)
    heads = backbone.num_heads
    return PromptKV(
        tuple(
            (
                block.cross_attn.norm_k(block.cross_attn.k(embedded)).unflatten(-1, (heads, -1)),
                block.cross_attn.v(embedded).unflatten(-1, (heads, -1)),
            )
            for block in backbone.blocks
        )
    )


def forward_chunk(
    backbone: nn.Module,
    x: Tensor,
    t: Tensor,
    prompt: PromptKV,
    memory: AttentionMemory,
    clock,
    cast: Cast = cast_like,
) -> Tensor:
    """Predict the flow of one chunk.

    Args:
        backbone: module tree with Wan names.
        x: noisy latents [B, C, F, h, w], h and w even.
        t: timesteps in [0, 1000], [B] for the whole chunk or [B, F] per frame.
        prompt: from `encode_prompt`.
        memory: reads and keeps keys and values.
        clock: a `ChunkClock`; its `positions` are the frames' places on the RoPE time axis.

    Returns:
        flow [B, C_out, F, h, w] (noise minus data), dtype of x.
    """
    _, _, frames, height, width = x.shape
    tokens = backbone.patch_embedding(x).flatten(2).transpose(1, 2)
    time = time_embedding(backbone, t, tokens.dtype)
    modulation = backbone.time_projection(time).unflatten(-1, (6, -1))
    head_dim = tokens.shape[-1] // backbone.num_heads
    rotations = rope_rotations(clock.positions, height // PATCH, width // PATCH, head_dim, x.device)
    for layer, block in enumerate(backbone.blocks):
        shifts = (cast(block.modulation, tokens) + modulation).unbind(2)
        tokens = _block(block, tokens, shifts, prompt.layers[layer], rotations, layer, memory, clock)
    shift, scale = (cast(backbone.head.modulation, tokens) + time[:, :, None]).unbind(2)
    patches = backbone.head.head(_modulate(backbone.head.norm(tokens), shift, scale))
    return _unpatchify(patches, frames, height, width)


def time_embedding(backbone: nn.Module, t: Tensor, dtype: torch.dtype) -> Tensor:
    """Timesteps [B] or [B, F] -> embeddings [B, 1 or F, dim]; the sinusoid itself is computed in fp32."""
    t = t.float().reshape(t.shape[0], -1, 1)
    half = backbone.freq_dim // 2
    frequencies = 10000.0 ** (-torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = t * frequencies
    return backbone.time_embedding(torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype))


def _block(block, x, shifts, prompt_kv, rotations, layer: int, memory: AttentionMemory, clock) -> Tensor:
    shift1, scale1, gate1, shift2, scale2, gate2 = shifts
    x = _gated(x, _self_attention(block.self_attn, _modulate(block.norm1(x), shift1, scale1),
                                  rotations, layer, memory, clock), gate1)  # fmt: skip
    x = x + _cross_attention(block.cross_attn, block.norm3(x), *prompt_kv)
    return _gated(x, block.ffn(_modulate(block.norm2(x), shift2, scale2)), gate2)


def _self_attention(attention, x, rotations, layer: int, memory: AttentionMemory, clock) -> Tensor:
    half_dim = rotations.shape[-1]
    q = apply_rope(attention.norm_q(attention.q(x)).unflatten(-1, (-1, 2 * half_dim)), rotations)
    k = apply_rope(attention.norm_k(attention.k(x)).unflatten(-1, (-1, 2 * half_dim)), rotations)
    v = attention.v(x).unflatten(-1, (-1, 2 * half_dim))
    return attention.o(memory.attend(layer, q, k, v, clock).flatten(2))


def _cross_attention(attention, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = attention.norm_q(attention.q(x)).unflatten(-1, k.shape[-2:])
    mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return attention.o(mixed.transpose(1, 2).flatten(2))


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x [B, L, dim] with one shift and scale [B, 1 or F, dim] per frame."""
    frames = x.unflatten(1, (shift.shape[1], -1))
    return torch.addcmul(shift[:, :, None], frames, 1 + scale[:, :, None]).flatten(1, 2)


def _gated(x: Tensor, update: Tensor, gate: Tensor) -> Tensor:
    frames = (gate.shape[1], -1)
    return torch.addcmul(x.unflatten(1, frames), update.unflatten(1, frames), gate[:, :, None]).flatten(1, 2)


def _unpatchify(patches: Tensor, frames: int, height: int, width: int) -> Tensor:
    """[B, tokens, PATCH * PATCH * C] -> [B, C, F, h, w]; channels are innermost in a patch."""
    grid = patches.unflatten(1, (frames, height // PATCH, width // PATCH)).unflatten(-1, (PATCH, PATCH, -1))
    return grid.permute(0, 6, 1, 2, 4, 3, 5).flatten(3, 4).flatten(4, 5)
