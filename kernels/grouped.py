"""One dense call for each set of heads, and of query blocks, that read the same keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .block_plan import BlockPlan
from .dense import Dense
from .heads import head_index
from .plan import Ranges, ReadPlan, joined

Piece = tuple[Sequence[int], slice, Ranges]
"""Heads, queries, and what these read."""


def attend_grouped(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: Dense) -> Tensor:
    """Attention by dense calls; keys of one range are viewed, those of several are copied together."""
    pieces = list(_pieces(plan, q.shape[1], k.shape[1]))
    if len(pieces) == 1:
        return _read(q, k, v, _bias(plan, slice(None)), pieces[0][2], dense)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    for heads, queries, ranges in pieces:
        index = head_index(tuple(heads), q.device)
        asking = q[:, queries, index]
        out[:, queries, index] = _read(asking, k[:, :, index], v[:, :, index], _bias(plan, index), ranges, dense)
    return out


def fits_grouped(q: Tensor, k: Tensor, v: Tensor, plan: ReadPlan | BlockPlan, dense: Dense) -> bool:
    """Query blocks have to be read by the host, which must not wait for a device."""
    return isinstance(plan, ReadPlan) or plan.ranges.device.type == "cpu"


def _read(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, ranges: Ranges, dense: Dense) -> Tensor:
    if not ranges:
        return torch.zeros_like(q)
    keys, values = _take(k, ranges, 1), _take(v, ranges, 1)
    return dense(q, keys, values) if bias is None else _biased(q, keys, values, _take(bias, ranges, 1))


def _take(tensor: Tensor, ranges: Ranges, dim: int) -> Tensor:
    parts = [tensor.narrow(dim, start, end - start) for start, end in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _biased(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """torch's attention with a bias [H, Lk]; dense calls have no place for one."""
    mask = bias.to(q.dtype)[None, :, None].expand(q.shape[0], -1, q.shape[1], -1)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    return out.masked_fill((bias == float("-inf")).all(dim=1)[None, None, :, None], 0.0)


def _bias(plan: ReadPlan | BlockPlan, heads: slice | Tensor) -> Tensor | None:
    return None if plan.bias is None else plan.bias[heads]


def _pieces(plan: ReadPlan | BlockPlan, queries: int, keys: int) -> Iterator[Piece]:
    if isinstance(plan, ReadPlan):
        return ((heads, slice(0, queries), ranges) for ranges, heads in plan.groups.items())
    return _block_pieces(plan, queries, keys)


def _block_pieces(plan: BlockPlan, queries: int, keys: int) -> Iterator[Piece]:
    """Heads of a block with the same ranges together; consecutive blocks with the same groups together."""
    offsets, ranges = plan.offsets.tolist(), plan.ranges.tolist()

    def groups_of(block: int) -> dict[Ranges, list[int]]:
        groups: dict[Ranges, list[int]] = {}
        for head in range(plan.heads):
            row = head * plan.query_blocks + block
            pairs = ((start, min(end, keys)) for start, end in ranges[offsets[row] : offsets[row + 1]])
            found = joined(tuple(sorted(pair for pair in pairs if pair[0] < pair[1])))
            groups.setdefault(found, []).append(head)
        return groups

    begin, groups = 0, groups_of(0)
    for block in range(1, plan.query_blocks + 1):
        following = groups_of(block) if block < plan.query_blocks else None
        if following != groups:
            rows = slice(begin * plan.block_q, min(block * plan.block_q, queries))
            for found, heads in groups.items():
                yield heads, rows, found
            begin, groups = block, following
