"""FlexAttention: the plan as a block mask. A fallback for the Triton kernel; compiled on a GPU, eager on a CPU.

Eager FlexAttention computes every logit, so on a CPU it is only for small sizes and tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .block_plan import BlockPlan
from .dense_attention import DenseAttention
from .libraries import library
from .plan import ReadPlan

MODULE = "torch.nn.attention.flex_attention"
_TILE = 128


def attend_flex(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention) -> Tensor:
    """Zeroes unread keys in a copy: they get a weight of zero, but zero times NaN would still be NaN."""
    blocks = plan if isinstance(plan, BlockPlan) else BlockPlan.of(plan, q.shape[1], q.device)
    allowed = blocks.allowed(k.shape[1])
    seen = allowed.any(dim=1)
    k, v = (torch.where(seen.T[None, :, :, None], x, 0) for x in (k, v))
    mask = _block_mask(allowed, blocks.block_q, q.shape[1])
    score = None
    if plan.bias is not None:
        score = _with_bias(torch.where(seen, plan.bias[:, : k.shape[1]].float(), 0))
    parts = (x.transpose(1, 2) for x in (q, k, v))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
        return _flex(q.device.type)(*parts, score_mod=score, block_mask=mask).transpose(1, 2)


def fits_flex(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: DenseAttention) -> bool:
    """Compiled code wants a head_dim that is a power of two."""
    dim = q.shape[-1]
    return q.device.type == "cpu" or (q.is_cuda and dim >= 16 and dim & (dim - 1) == 0)


@cache
def _flex(device: str) -> Callable[..., Tensor]:
    function = library(MODULE).flex_attention
    return function if device == "cpu" else torch.compile(function)


def _with_bias(bias: Tensor) -> Callable[..., Tensor]:
    def score(logit, item, head, query, key):
        return logit + bias[head, key]

    return score


def _block_mask(allowed: Tensor, block_q: int, queries: int):
    """Which tiles are read in full, in part or not at all, from `allowed` [heads, query blocks, keys]."""
    heads, query_blocks, keys = allowed.shape
    padded = F.pad(allowed, (0, -keys % _TILE)).view(heads, query_blocks, -1, _TILE)
    touched = _query_blocks_of_tiles(block_q, queries, allowed.device)
    some = padded.any(dim=-1)[:, touched].any(dim=2)
    every = padded.all(dim=-1)[:, touched].all(dim=2)

    def mask(item, head, query, key):
        return allowed[head, query // block_q, key]

    return library(MODULE).BlockMask.from_kv_blocks(
        *_listed(some & ~every), *_listed(every), BLOCK_SIZE=_TILE, mask_mod=mask, seq_lengths=(queries, keys)
    )


def _query_blocks_of_tiles(block_q: int, queries: int, device: torch.device) -> Tensor:
    """The plan's query blocks that each tile of queries touches [tiles, most]; the last repeated where fewer."""
    begin = torch.arange(0, queries, _TILE, device=device)
    first, last = begin // block_q, ((begin + _TILE).clamp(max=queries) - 1) // block_q
    most = (_TILE - 1) // block_q + 2
    return torch.minimum(first[:, None] + torch.arange(most, device=device), last[:, None])


def _listed(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Per row the number of tiles and their indices, those that count first."""
    count = tiles.sum(dim=-1, dtype=torch.int32)
    order = torch.argsort(tiles.int(), dim=-1, descending=True, stable=True).to(torch.int32)
    return count[None], order[None]
