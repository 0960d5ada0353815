"""What each attention head may read, as ranges of key positions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ReadPlan:
    """Per head the half-open key ranges that its queries read.

    `ranges[h]` are sorted, disjoint [start, end) positions into the key tensor; an empty tuple reads nothing and
    yields zeros. `bias` [heads, keys] fp32 is added to the scaled logits of the keys: the log-multiplicity of
    merged keys (FAST-AR, Lemma 5.1), None for none.
    """

    ranges: tuple[Ranges, ...]
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        for ranges in self.ranges:
            edges = [edge for pair in ranges for edge in pair]
            if edges != sorted(edges) or any(start < 0 or start >= end for start, end in ranges):
                raise ValueError(f"key ranges must be sorted, disjoint and non-empty, got {ranges}")

    @classmethod
    def prefix(cls, heads: int, keys: int) -> ReadPlan:
        """Every head reads the first `keys` keys."""
        return cls((((0, keys),) if keys else (),) * heads)

    @property
    def heads(self) -> int:
        return len(self.ranges)

    @property
    def keys_read(self) -> int:
        """Keys read, summed over heads: what attention cost is proportional to."""
        return sum(end - start for ranges in self.ranges for start, end in ranges)

    def heads_by_ranges(self) -> dict[Ranges, list[int]]:
        """Heads that read exactly the same keys, in order of first appearance."""
        groups: dict[Ranges, list[int]] = {}
        for head, ranges in enumerate(self.ranges):
            groups.setdefault(ranges, []).append(head)
        return groups
