"""Keys and queries sorted by bucket, and the plan by which blocks of sorted queries read runs of sorted keys.

All shapes follow from the arguments, so nothing here waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .block_plan import BlockPlan


@dataclass(frozen=True, eq=False)
class Buckets:
    """Keys of each head in the order of their buckets.

    Attributes:
        order: int64 [H, N], the key at each place; keys of one bucket keep their order.
        edges: int32 [H, C + 1], bucket c is at places edges[c] .. edges[c + 1]; keys of no bucket come last.
    """

    order: Tensor
    edges: Tensor

    @classmethod
    def of(cls, codes: Tensor, buckets: int) -> Buckets:
        """codes: integers [H, N] below `buckets`; keys with code `buckets` are in none."""
        codes, order = codes.sort(dim=1, stable=True)
        names = torch.arange(buckets + 1, device=codes.device, dtype=codes.dtype).expand(codes.shape[0], -1)
        return cls(order, torch.searchsorted(codes, names.contiguous(), out_int32=True))

    @property
    def sizes(self) -> Tensor:
        """Keys in each bucket: int32 [H, C]."""
        return self.edges.diff(dim=1)


def in_blocks(x: Tensor, order: Tensor, block: int) -> Tensor:
    """Rows of x [H, L, C], reordered by [H, L], in blocks [H, blocks, block, C]; the last is padded with zeros."""
    x = x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))
    return F.pad(x, (0, 0, 0, -x.shape[1] % block)).unflatten(1, (-1, block))


def visiting_plan(
    visits: Tensor, edges: Tensor, own: tuple[int, int], block_q: int, bias: Tensor | None = None
) -> BlockPlan:
    """The plan by which each block of queries reads the buckets that it visits, and the whole current chunk.

    Args:
        visits: bool [H, blocks, C].
        edges: places of buckets, see `Buckets`.
        own: places of the current chunk, behind all buckets.
        block_q: queries in a block.
        bias: see `ReadPlan`, in the order of places.

    Adjacent buckets are read as one range.
    """
    heads, blocks, buckets = visits.shape
    before = F.pad(visits, (1, 0))[..., :-1]
    # A run ends at the next bucket that is not visited, which a running minimum from the right finds.
    names = torch.arange(buckets, device=visits.device)
    ends = torch.where(visits, buckets, names).flip(-1).cummin(-1).values.flip(-1)
    edges = edges[:, None].expand(-1, blocks, -1)
    runs = torch.stack([edges[..., :-1], edges.gather(2, ends)], dim=-1)
    begins = visits & ~before & (runs[..., 0] < runs[..., 1])
    place = torch.arange(own[0], own[1] + 1, own[1] - own[0], device=visits.device, dtype=torch.int32)  # no copy
    runs = torch.cat([place.expand(heads, blocks, 1, 2), runs], dim=2)
    offsets, ranges = _packed(F.pad(begins, (1, 0), value=True).flatten(0, 1), runs.flatten(0, 1))
    return BlockPlan(offsets, ranges, heads, block_q, bias, max(1, own[0] // buckets))


def keys_visited(visits: Tensor, sizes: Tensor, own: int) -> Tensor:
    """Keys that each block reads: int64 [H, blocks]; sizes as in `Buckets`, `own` keys in the current chunk."""
    return (visits * sizes[:, None]).sum(-1) + own


def _packed(wanted: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets and ranges of the wanted [R, W] among rows of ranges [R, W, 2]; unwanted ones go to the end."""
    rows, width = wanted.shape
    offsets = F.pad(wanted.sum(1).cumsum(0), (1, 0)).to(torch.int32)
    place = torch.where(wanted, wanted.flatten().cumsum(0).view(rows, width) - 1, rows * width)
    packed = ranges.new_zeros(rows * width + 1, 2)
    packed[place.flatten()] = ranges.flatten(0, 1)
    return offsets, packed[:-1]
