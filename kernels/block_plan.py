"""What each block of queries may read, per head: ranges of key positions in tensors on the device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .device import numbers_on
from .plan import Ranges, ReadPlan, check_bias, joined


@dataclass(frozen=True, eq=False)
class BlockPlan:
    """Key ranges per head and block of queries, as compressed sparse rows that never leave the device.

    Row `h * query_blocks + b` belongs to head h and queries [b * block_q, (b + 1) * block_q), the last block may be
    shorter. It reads the half-open ranges `ranges[offsets[row] : offsets[row + 1]]`, in any order; those of a row
    must be disjoint, empty ones (start >= end) are passed over, parts beyond the keys are not read. A row that
    reads nothing yields zeros.

    Attributes:
        offsets: int32 [heads * query_blocks + 1], from 0 to at most n.
        ranges: int32 [n, 2], on the device of the keys; ranges beyond the last offset belong to no row.
        heads: attention heads.
        block_q: queries in a block.
        bias: [heads, keys] fp32, see `ReadPlan`.
        keys_per_range: what a range typically spans, if known: kernels choose their tiles by it.
    """

    offsets: Tensor
    ranges: Tensor
    heads: int
    block_q: int
    bias: Tensor | None = None
    keys_per_range: int | None = None

    def __post_init__(self) -> None:
        rows = self.offsets.shape[0] - 1
        if self.offsets.dtype != torch.int32 or self.ranges.dtype != torch.int32:
            raise ValueError(f"offsets and ranges must be int32, got {self.offsets.dtype}, {self.ranges.dtype}")
        if self.offsets.ndim != 1 or rows < self.heads or rows % self.heads:
            raise ValueError(f"{self.heads} heads need a row for each query block, got {max(rows, 0)} rows")
        if self.ranges.ndim != 2 or self.ranges.shape[1] != 2:
            raise ValueError(f"ranges must have shape [n, 2], got {list(self.ranges.shape)}")
        if self.block_q < 1:
            raise ValueError(f"a block must have at least one query, got {self.block_q}")
        check_bias(self.bias, self.heads, 0)
        if self.offsets.device.type == "cpu":
            self._check_values()  # on an accelerator this would wait for the device

    def _check_values(self) -> None:
        edges = self.offsets
        if edges[0] != 0 or edges[-1] > self.ranges.shape[0] or (edges.diff() < 0).any():
            raise ValueError(f"offsets must rise from 0 to {self.ranges.shape[0]} or less, the number of ranges")
        if (self.ranges < 0).any():
            raise ValueError("key ranges must not be negative")

    @classmethod
    def of(cls, plan: ReadPlan, queries: int, device: torch.device) -> BlockPlan:
        """A `ReadPlan` as one block of all queries; the tensors are kept for the next call with the same ranges."""
        offsets, ranges = _rows(plan.ranges, device)
        typical = plan.keys_read // max(1, ranges.shape[0])
        return cls(offsets, ranges, plan.heads, max(1, queries), plan.bias, typical)

    @classmethod
    def from_table(
        cls, table: Tensor, blocks: Tensor, block_q: int, *, bias: Tensor | None = None, block_k: int | None = None
    ) -> BlockPlan:
        """The plan of a block selection (Light Forcing, AnnSA), made without waiting for the device.

        Args:
            table: [heads, query_blocks, k] integers, the chosen key blocks of each query block; a negative one
                chooses nothing, any other may occur once.
            blocks: int32 [n, 2], first key and end of each key block.
            block_q: queries in a block.
            bias: see `ReadPlan`.
            block_k: keys in a typical key block.
        """
        heads, query_blocks, k = table.shape
        chosen = blocks[table.clamp(min=0).long()] * (table >= 0)[..., None]
        offsets = torch.arange(heads * query_blocks + 1, dtype=torch.int32, device=table.device) * k
        return cls(offsets, chosen.flatten(0, 2).to(torch.int32), heads, block_q, bias, block_k)

    @property
    def query_blocks(self) -> int:
        return (self.offsets.shape[0] - 1) // self.heads

    @property
    def dense(self) -> bool:
        """Always False: dense calls would need the ranges on the host."""
        return False

    @property
    def signature(self) -> tuple[int, ...]:
        """What a choice of back end depends on, coarsely: block, ranges of a block, their keys, bias."""
        mean = self.ranges.shape[0] // max(1, self.offsets.shape[0] - 1)
        return self.block_q, mean.bit_length(), (self.keys_per_range or 0).bit_length(), self.bias is not None

    def allowed(self, keys: int) -> Tensor:
        """Whether each key is read: bool [heads, query_blocks, keys], computed on the device."""
        rows, device = self.offsets.shape[0] - 1, self.ranges.device
        each = torch.arange(self.ranges.shape[0], device=device, dtype=torch.int32)
        row = torch.searchsorted(self.offsets[1:].contiguous(), each, right=True)
        start, end = self.ranges.clamp(0, keys).long().unbind(1)
        step = (start < end).to(torch.int32)
        edges = torch.zeros(rows + 1, keys + 1, dtype=torch.int32, device=device)  # the last row: unused ranges
        edges.index_put_((row, start), step, accumulate=True)
        edges.index_put_((row, end), -step, accumulate=True)
        read = edges[:rows].cumsum(1)[:, :keys] > 0
        return read.view(self.heads, self.query_blocks, keys)


@lru_cache(maxsize=256)
def _rows(ranges: tuple[Ranges, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Offsets and ranges of one block a head; kept, because copying them to a device takes time."""
    pairs, offsets = [], [0]
    for head in ranges:
        pairs.extend(joined(head))
        offsets.append(len(pairs))
    with torch.inference_mode(False):
        return (
            numbers_on(offsets, torch.int32, device),
            numbers_on(pairs, torch.int32, device).reshape(-1, 2),
        )
