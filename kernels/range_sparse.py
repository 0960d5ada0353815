"""A Triton kernel for attention over key ranges per head and query block, with a bias per key.

One program takes BLOCK_M queries of one head and walks through the ranges of their query block, BLOCK_N keys at a
time, with the online softmax in fp32. Lengths and range ends need no alignment; q, k and v may be any views with
contiguous channels.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .block_plan import BlockPlan
from .choice import fastest
from .dense_attention import DenseAttention
from .dispatch import bucket
from .plan import ReadPlan
from .triton_kernel import launch, runs_on

if TYPE_CHECKING:
    import triton.language as tl

NEEDS = "Triton and CUDA (or TRITON_INTERPRET=1), fp32, bf16 or fp16, a head_dim of 16, 32, 64, 128 or 256"
_LOG2E = 1.4426950408889634


class Tile(NamedTuple):
    """Queries and keys of a tile, warps of a program, stages of its pipeline."""

    block_m: int
    block_n: int
    warps: int
    stages: int

    def __str__(self) -> str:
        return f"{self.block_m}x{self.block_n}, {self.warps} warps, {self.stages} stages"


_TILES = (
    Tile(128, 64, 8, 3), Tile(128, 128, 8, 3), Tile(128, 64, 4, 3), Tile(64, 64, 4, 3), Tile(64, 128, 4, 2),
    Tile(64, 32, 4, 4),
)  # fmt: skip
_TILES_FP32 = (Tile(64, 32, 4, 2), Tile(32, 32, 4, 2))
_INTERPRETED = Tile(64, 64, 4, 1)


def attend_range_sparse(
    q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention
) -> Tensor:
    """Attention by the range-sparse kernel; the tile is chosen by measurement once for a kind of call."""
    blocks = plan if isinstance(plan, BlockPlan) else BlockPlan.of(plan, q.shape[1], q.device)
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    launches = {str(tile): partial(_launch, q, k, v, blocks, tile) for tile in _tiles(q, blocks)}
    kind = (q.dtype, q.shape[0], *q.shape[2:], bucket(q.shape[1]), type(plan), plan.signature)
    return launches[fastest("Triton tile", kind, launches, q.device)]()


def fits_range_sparse(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention) -> bool:
    """Whether the kernel can run this call; on a CPU only under Triton's interpreter."""
    return runs_on(q) and q.shape[-1] in (16, 32, 64, 128, 256)


def wants_range_sparse(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention) -> bool:
    """Whether it competes: not where a single dense call is enough, nor under the interpreter."""
    one_call = plan.dense and len(plan.groups) == 1 and all(len(ranges) <= 1 for ranges in plan.groups)
    return q.is_cuda and not one_call


def _tiles(q: Tensor, blocks: BlockPlan) -> list[Tile]:
    """Tiles clipped to the size of a query block and of a typical range, both rounded up to a power of two."""
    if not q.is_cuda:
        return [_INTERPRETED]
    most_m = max(16, 1 << (blocks.block_q - 1).bit_length())
    most_n = max(16, 1 << ((blocks.keys_per_range or 128) - 1).bit_length())
    tiles = _TILES_FP32 if q.dtype == torch.float32 else _TILES
    clipped = (Tile(min(m, most_m), min(n, most_n), warps, stages) for m, n, warps, stages in tiles)
    return list(dict.fromkeys(clipped))


def _launch(q: Tensor, k: Tensor, v: Tensor, blocks: BlockPlan, tile: Tile) -> Tensor:
    batch, queries, heads, dim = q.shape
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    bias = None if blocks.bias is None else blocks.bias.contiguous()
    parts = -(-blocks.block_q // tile.block_m)  # programs for each query block
    arguments = (
        q, k, v, out, blocks.ranges if bias is None else bias, blocks.offsets, blocks.ranges,
        *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *out.stride()[:3],
        0 if bias is None else bias.stride(0), queries, k.shape[1], blocks.query_blocks, blocks.block_q, parts,
        dim**-0.5 * _LOG2E,
    )  # fmt: skip
    constants = {
        "HEAD_DIM": dim, "HAS_BIAS": bias is not None, "WIDE": not q.is_cuda,
        "BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n, "num_warps": tile.warps, "num_stages": tile.stages,
    }  # fmt: skip
    launch(range_sparse, (blocks.query_blocks * parts, heads, batch), q, *arguments, **constants)
    return out


def range_sparse(
    Q, K, V, OUT, BIAS, OFFSETS, RANGES,
    q_b, q_l, q_h, k_b, k_l, k_h, v_b, v_l, v_h, o_b, o_l, o_h,
    bias_h, queries, keys, query_blocks, block_q, parts, scale,
    HEAD_DIM: tl.constexpr, HAS_BIAS: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The kernel. Strides are in elements; offsets are 64-bit, since a long history passes 2^31 elements.

    WIDE multiplies in fp32, because the interpreter cannot multiply bf16.
    """
    block = tl.program_id(0) // parts
    head = tl.program_id(1).to(tl.int64)
    item = tl.program_id(2).to(tl.int64)
    rows = block * block_q + (tl.program_id(0) % parts) * BLOCK_M + tl.arange(0, BLOCK_M)
    asked = rows < tl.minimum((block + 1) * block_q, queries)
    far_rows = rows.to(tl.int64)
    channels = tl.arange(0, HEAD_DIM)

    q_at = Q + item * q_b + head * q_h + far_rows[:, None] * q_l + channels[None, :]
    q = tl.load(q_at, mask=asked[:, None], other=0.0)
    if WIDE:
        q = q.to(tl.float32)
    k_at = K + item * k_b + head * k_h + channels[:, None]
    v_at = V + item * v_b + head * v_h + channels[None, :]

    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    weight = tl.zeros([BLOCK_M], tl.float32)
    total = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    row = head * query_blocks + block
    first = tl.load(OFFSETS + row)
    last = tl.load(OFFSETS + row + 1)
    for index in range(first, last):
        start = tl.load(RANGES + 2 * index)
        end = tl.minimum(tl.load(RANGES + 2 * index + 1), keys)
        for begin in range(start, end, BLOCK_N):
            columns = begin + tl.arange(0, BLOCK_N)
            inside = columns < end
            far = columns.to(tl.int64)
            k = tl.load(k_at + far[None, :] * k_l, mask=inside[None, :], other=0.0)
            v = tl.load(v_at + far[:, None] * v_l, mask=inside[:, None], other=0.0)
            if WIDE:
                k = k.to(tl.float32)
            logits = tl.dot(q, k, input_precision="ieee") * scale
            if HAS_BIAS:
                bias = tl.load(BIAS + head * bias_h + columns, mask=inside, other=0.0)
                # log2(e), as in _LOG2E: softmax is computed with exp2, and kernels cannot read Python globals
                logits += (bias.to(tl.float32) * 1.4426950408889634)[None, :]
            logits = tl.where(inside[None, :], logits, float("-inf"))
            new = tl.maximum(highest, tl.max(logits, 1))
            # If all logits so far are -inf, subtracting -inf would give NaN: any finite base gives weights of 0.
            base = tl.where(new == float("-inf"), 0.0, new)
            p = tl.exp2(logits - base[:, None])
            shrink = tl.exp2(highest - base)
            weight = weight * shrink + tl.sum(p, 1)
            p = p.to(v.dtype)
            if WIDE:
                p, v = p.to(tl.float32), v.to(tl.float32)
            total = total * shrink[:, None] + tl.dot(p, v, input_precision="ieee")
            highest = new
    # Zeros where nothing was read. A weight of NaN is kept: a NaN that was read must show in the output.
    total = total / tl.where(weight == 0.0, 1.0, weight)[:, None]
    out_at = OUT + item * o_b + head * o_h + far_rows[:, None] * o_l + channels[None, :]
    tl.store(out_at, total.to(OUT.dtype.element_ty), mask=asked[:, None])
