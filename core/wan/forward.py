"""The one forward of a causal Wan backbone.

`forward_chunk` runs a chunk of latent frames through any module tree with Wan's attribute names: our container,
the host's `CausalWanModel`, a quantised or LoRA-patched copy. Weights are used only by calling the submodules, so
whatever the home does inside them (casting, offloading, dequantising) keeps working. The few bare vectors
(`modulation`) go through a cast function that the home provides, cross-attention through its attention.

What happens between q, k, v and the attention output is the memory's business (`core.memory`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from ...kernels import Dense, attend_densely
from .rope import apply_rope, rope_rotations
from .shape import PATCH


class AttentionMemory(Protocol):
    """Where a chunk's keys and values go and what its queries read."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock) -> Tensor:
        """Roped q, k and plain v [B, L, H, D] of the chunk -> attention output [B, L, H, D]."""
        ...


class BlockReuse(Protocol):
    """Stands around the blocks of a pass and may give an output of its own in place of theirs."""

    def __call__(self, tokens: Tensor, modulation: Tensor, clock, blocks: Callable[[Tensor], Tensor]) -> Tensor:
        """Embedded tokens [B, L, dim] and projected timesteps [B, 1 or F, 6, dim] -> the tokens for the head.

        `blocks` runs all layers and leaves its argument as it is.
        """
        ...


@dataclass(frozen=True)
class PromptKV:
    """A prompt's cross-attention keys and values, one pair of [B, L, H, D] per layer."""

    layers: tuple[tuple[Tensor, Tensor], ...]


def cast_like(vector: Tensor, like: Tensor) -> Tensor:
    """Default cast of bare parameters: device and dtype of the activations."""
    return vector.to(device=like.device, dtype=like.dtype)


@dataclass(frozen=True)
class Home:
    """What the place where a backbone lives does its own way; the defaults are plain PyTorch.

    cast: (bare parameter, activations) -> the parameter on the activations' device and in their dtype.
    attention: dense attention, for cross-attention and for heads that read all of a store.
    embed: (patch embedding, latents) -> its output in the dtype of the latents.
    """

    cast: Callable[[Tensor, Tensor], Tensor] = cast_like
    attention: Dense = attend_densely
    embed: Callable[[nn.Module, Tensor], Tensor] = nn.Module.__call__


STANDALONE = Home()


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
    home: Home = STANDALONE,
    reuse: BlockReuse | None = None,
) -> Tensor:
    """Predict the flow of one chunk.

    Args:
        backbone: module tree with Wan names.
        x: noisy latents [B, C, F, h, w], h and w even.
        t: timesteps in [0, 1000], [B] for the whole chunk or [B, F] per frame.
        prompt: from `encode_prompt`.
        memory: reads and keeps keys and values.
        clock: a `ChunkClock`; its `positions` are the frames' places on the RoPE time axis.
        home: where the backbone lives.
        reuse: decides whether the blocks run, such as a `PassSkipRun`; None runs them. Without them no keys and
            values are written.

    Returns:
        flow [B, C_out, F, h, w] (noise minus data), dtype of x.
    """
    _, _, frames, height, width = x.shape
    tokens = home.embed(backbone.patch_embedding, x).flatten(2).transpose(1, 2)
    time = time_embedding(backbone, t, tokens.dtype)
    modulation = backbone.time_projection(time).unflatten(-1, (6, -1))
    head_dim = tokens.shape[-1] // backbone.num_heads
    rotations = rope_rotations(clock.positions, height // PATCH, width // PATCH, head_dim, x.device)

    def blocks(tokens: Tensor) -> Tensor:
        for layer, block in enumerate(backbone.blocks):
            shifts = (home.cast(block.modulation, tokens) + modulation).unbind(2)
            attend = partial(memory.attend, layer, clock=clock)
            tokens = _block(block, tokens, shifts, prompt.layers[layer], rotations, attend, home.attention)
        return tokens

    tokens = blocks(tokens) if reuse is None else reuse(tokens, modulation, clock, blocks)
    shift, scale = (home.cast(backbone.head.modulation, tokens) + time[:, :, None]).unbind(2)
    patches = backbone.head.head(_modulate(backbone.head.norm(tokens), shift, scale))
    return _unpatchify(patches, frames, height, width)


def time_embedding(backbone: nn.Module, t: Tensor, dtype: torch.dtype) -> Tensor:
    """Timesteps [B] or [B, F] -> embeddings [B, 1 or F, dim]; the sinusoid itself is computed in fp32."""
    t = t.float().reshape(t.shape[0], -1, 1)
    half = backbone.freq_dim // 2
    frequencies = 10000.0 ** (-torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = t * frequencies
    return backbone.time_embedding(torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype))


def _block(block, x, shifts, prompt_kv, rotations, attend: Dense, attend_prompt: Dense) -> Tensor:
    shift1, scale1, gate1, shift2, scale2, gate2 = shifts
    attended = _self_attention(block.self_attn, _modulate(block.norm1(x), shift1, scale1), rotations, attend)
    x = _gated(x, attended, gate1)
    x = x + _cross_attention(block.cross_attn, block.norm3(x), *prompt_kv, attend_prompt)
    return _gated(x, block.ffn(_modulate(block.norm2(x), shift2, scale2)), gate2)


def _self_attention(attention, x: Tensor, rotations: Tensor, attend: Dense) -> Tensor:
    half_dim = rotations.shape[-1]
    q = apply_rope(attention.norm_q(attention.q(x)).unflatten(-1, (-1, 2 * half_dim)), rotations)
    k = apply_rope(attention.norm_k(attention.k(x)).unflatten(-1, (-1, 2 * half_dim)), rotations)
    v = attention.v(x).unflatten(-1, (-1, 2 * half_dim))
    return attention.o(attend(q, k, v).flatten(2))


def _cross_attention(attention, x: Tensor, k: Tensor, v: Tensor, attend: Dense) -> Tensor:
    q = attention.norm_q(attention.q(x)).unflatten(-1, k.shape[-2:])
    return attention.o(attend(q, k, v).flatten(2))


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
