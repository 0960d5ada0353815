"""The one forward of a causal Wan backbone.

`forward_chunk` runs a chunk of latent frames through any module tree with Wan's attribute names: our container,
the host's `CausalWanModel`, a quantised or LoRA-patched copy. Weights are used only by calling the submodules, so
whatever the runtime does inside them (casting, offloading, dequantising) keeps working. The few bare vectors
(`modulation`, norm gains where a kernel takes over a norm) go through a cast function that the runtime provides.
Cross-attention goes through the runtime's attention.

What happens between q, k, v and the attention output is the memory's business (`core.memory`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from ...kernels import DenseAttention, NormRope, attend_densely
from ..clock import ChunkClock
from .block import EAGER, BlockParts, Cast, computes_as_torch, norm_modulated, qk_norm
from .rope import rope_rotations
from .shape import PATCH


class AttentionMemory(Protocol):
    """Where a chunk's keys and values go and what its queries read."""

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        clock: ChunkClock,
        norm_rope: NormRope,
        dense: DenseAttention,
    ) -> Tensor:
        """q, k and v [B, L, H, D] of the chunk, as projected -> attention output [B, L, H, D].

        `norm_rope(q, k)` applies the norms and RoPE that q and k still need. `dense` is attention over all keys.
        """
        ...

    def attend_prompt(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock: ChunkClock, dense: DenseAttention
    ) -> Tensor:
        """q [B, L, H, D] of the chunk, k and v [B, tokens, H, D] of the prompt -> cross-attention [B, L, H, D]."""
        ...


class BlockReuse(Protocol):
    """Called in place of the blocks of a pass: runs them or returns an output of its own."""

    def __call__(
        self, tokens: Tensor, modulation: Tensor, clock: ChunkClock, blocks: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Embedded tokens [B, L, dim] and projected timesteps [B, 1 or F, 6, dim] -> the tokens for the head.

        `blocks` runs all layers and does not change its argument.
        """
        ...


@dataclass(frozen=True)
class PromptKV:
    """A prompt's cross-attention keys and values, one pair of [B, L, H, D] per layer."""

    layers: tuple[tuple[Tensor, Tensor], ...]


def cast_like(vector: Tensor, like: Tensor) -> Tensor:
    """Default cast of bare parameters: device and dtype of the activations."""
    return vector.to(device=like.device, dtype=like.dtype)


def never_stopped() -> None:
    """Default check, which does nothing: outside a host, Ctrl-C interrupts by itself."""


@dataclass(frozen=True)
class Runtime:
    """The operations that a host such as ComfyUI does in its own way; the defaults are plain PyTorch.

    cast: (bare parameter, activations) -> the parameter on the activations' device and in their dtype.
    attention: dense attention, for cross-attention and for heads that read all of a store.
    embed: (patch embedding, latents) -> its output in the dtype of the latents.
    plain: whether a norm layer computes what torch's does, apart from casting its vectors.
    parts: a block's parts, eager or compiled.
    check: called before every block; raises if somebody has pressed stop.
    """

    cast: Cast = cast_like
    attention: DenseAttention = attend_densely
    embed: Callable[[nn.Module, Tensor], Tensor] = nn.Module.__call__
    plain: Callable[[nn.Module], bool] = computes_as_torch
    parts: BlockParts = EAGER
    check: Callable[[], None] = never_stopped


STANDALONE = Runtime()


def encode_prompt(backbone: nn.Module, text: Tensor) -> PromptKV:
    """Run what depends on the prompt alone: text embedding and every layer's cross-attention K/V.

    Args:
        text: text-encoder output [B, L, text_dim] in the backbone's compute dtype. Padding tokens take
            part in attention, as in Wan's training.
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
    clock: ChunkClock,
    runtime: Runtime = STANDALONE,
    reuse: BlockReuse | None = None,
) -> Tensor:
    """Predict the flow of one chunk.

    Args:
        backbone: module tree with Wan names.
        x: noisy latents [B, C, F, h, w], h and w even.
        t: timesteps in [0, 1000], [B] for the whole chunk or [B, F] per frame.
        prompt: from `encode_prompt`.
        memory: reads and keeps keys and values.
        clock: its `positions` are the frames' places on the RoPE time axis.
        runtime: the operations that the host does in its own way.
        reuse: decides whether the blocks run, for instance a `PassSkipRun`; None always runs them. A pass that
            leaves them out writes no keys and values.

    Returns:
        flow [B, C_out, F, h, w] (noise minus data), dtype of x.
    """
    _, _, frames, height, width = x.shape
    tokens = runtime.embed(backbone.patch_embedding, x).flatten(2).transpose(1, 2).contiguous()
    time = time_embedding(backbone, t, tokens.dtype)
    modulation = backbone.time_projection(time).unflatten(-1, (6, -1))
    head_dim = tokens.shape[-1] // backbone.num_heads
    rotations = rope_rotations(clock.positions, height // PATCH, width // PATCH, head_dim, x.device)

    def blocks(tokens: Tensor) -> Tensor:
        parts = runtime.parts
        for layer, block in enumerate(backbone.blocks):
            runtime.check()
            q, k, v, shifts = parts.project(block, tokens, modulation, runtime.cast, runtime.plain)
            q, k, norm_rope = _with_norm_rope(block.self_attn, q, k, rotations, runtime)
            q, k, v = (each.unflatten(-1, (-1, head_dim)) for each in (q, k, v))
            attended = memory.attend(layer, q, k, v, clock, norm_rope, runtime.attention).flatten(2)
            tokens, q = parts.prompt_queries(block, tokens, attended, shifts, runtime.cast, runtime.plain)
            asked = q.unflatten(-1, (-1, head_dim)), *prompt.layers[layer]
            attended = memory.attend_prompt(layer, *asked, clock, runtime.attention).flatten(2)
            tokens = parts.feed_forward(block, tokens, attended, shifts, runtime.plain)
        return tokens

    tokens = blocks(tokens) if reuse is None else reuse(tokens, modulation, clock, blocks)
    shift, scale = (runtime.cast(backbone.head.modulation, tokens) + time[:, :, None]).unbind(2)
    patches = backbone.head.head(norm_modulated(backbone.head.norm, tokens, shift, scale, runtime.plain))
    return _unpatchify(patches, frames, height, width)


def model_sizes(backbone: nn.Module) -> dict[str, int]:
    """Numbers of layers, heads and channels of a head in any module tree with Wan's names."""
    heads = backbone.num_heads
    return {
        "layers": len(backbone.blocks),
        "heads": heads,
        "head_dim": backbone.blocks[0].modulation.shape[-1] // heads,
    }


def time_embedding(backbone: nn.Module, t: Tensor, dtype: torch.dtype) -> Tensor:
    """Timesteps [B] or [B, F] -> embeddings [B, 1 or F, dim]; the sinusoid itself is computed in fp32."""
    t = t.float().reshape(t.shape[0], -1, 1)
    half = backbone.freq_dim // 2
    frequencies = 10000.0 ** (-torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = t * frequencies
    return backbone.time_embedding(torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype))


def _with_norm_rope(
    attention, q: Tensor, k: Tensor, rotations: Tensor, runtime: Runtime
) -> tuple[Tensor, Tensor, NormRope]:
    """q and k [B, L, dim] and the norms and RoPE they still need; norms not fit for a kernel are called here."""
    norm_q = qk_norm(attention.norm_q, q, runtime.plain, runtime.cast)
    norm_k = qk_norm(attention.norm_k, k, runtime.plain, runtime.cast)
    q = attention.norm_q(q) if norm_q is None else q
    k = attention.norm_k(k) if norm_k is None else k
    return q, k, NormRope(rotations, norm_q, norm_k)


def _unpatchify(patches: Tensor, frames: int, height: int, width: int) -> Tensor:
    """[B, tokens, PATCH * PATCH * C] -> [B, C, F, h, w]; channels are innermost in a patch."""
    grid = patches.unflatten(1, (frames, height // PATCH, width // PATCH)).unflatten(-1, (PATCH, PATCH, -1))
    return grid.permute(0, 6, 1, 2, 4, 3, 5).flatten(3, 4).flatten(4, 5)
