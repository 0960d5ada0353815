"""What each attention head may read, as ranges of key positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from torch import Tensor

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ReadPlan:
    """Per head the half-open key ranges that its queries read.

    `ranges[h]` are sorted, disjoint [start, end) positions into the key tensor; an empty tuple reads nothing and
    yields zeros. `bias` [heads, keys] fp32 is added to the scaled logits of the keys: the log-multiplicity of
    merged keys (FAST-AR, Lemma 5.1), None for none. A bias of -inf takes a key out; unread keys may have any.
    """

    ranges: tuple[Ranges, ...]
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        for ranges in set(self.ranges):
            edges = [edge for pair in ranges for edge in pair]
            if edges != sorted(edges) or any(start < 0 or start >= end for start, end in ranges):
                raise ValueError(f"key ranges must be sorted, disjoint and non-empty, got {ranges}")
        check_bias(self.bias, self.heads, self.span)

    @classmethod
    def prefix(cls, heads: int, keys: int) -> ReadPlan:
        """Every head reads the first `keys` keys."""
        return cls.shared(heads, ((0, keys),) if keys else ())

    @staticmethod
    @lru_cache(maxsize=256)
    def shared(heads: int, ranges: Ranges) -> ReadPlan:
        """All heads read the same keys; cheap to ask for in every layer and pass."""
        return ReadPlan((ranges,) * heads)

    @property
    def heads(self) -> int:
        return len(self.ranges)

    @cached_property
    def span(self) -> int:
        """One past the last key that is read."""
        return max((ranges[-1][1] for ranges in self.ranges if ranges), default=0)

    @cached_property
    def keys_read(self) -> int:
        """Keys read, summed over heads: attention's cost is proportional to it."""
        return sum(end - start for ranges in self.ranges for start, end in ranges)

    @cached_property
    def groups(self) -> dict[Ranges, list[int]]:
        """Heads that read exactly the same keys, in order of first appearance."""
        groups: dict[Ranges, list[int]] = {}
        for head, ranges in enumerate(self.ranges):
            groups.setdefault(joined(ranges), []).append(head)
        return groups

    @cached_property
    def dense(self) -> bool:
        """Whether dense calls can run it: no bias, and one list of ranges for all heads or at most one each."""
        return self.bias is None and (len(self.groups) == 1 or all(len(ranges) <= 1 for ranges in self.groups))

    @cached_property
    def signature(self) -> tuple[int, ...]:
        """What a choice of back end depends on, coarsely: groups, ranges of a head, keys, bias."""
        most = max((len(ranges) for ranges in self.groups), default=0)
        keys = self.keys_read // max(1, self.heads)
        return len(self.groups), most.bit_length(), keys.bit_length(), self.bias is not None


def joined(ranges: Ranges) -> Ranges:
    """Ranges with those that touch made one."""
    found: list[tuple[int, int]] = []
    for start, end in ranges:
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return tuple(found)


def check_bias(bias: Tensor | None, heads: int, span: int) -> None:
    """Raises ValueError unless there is a bias for each head and each key that may be read."""
    if bias is not None and (bias.ndim != 2 or bias.shape[0] != heads or bias.shape[1] < span):
        raise ValueError(f"the bias must have shape [{heads}, at least {span}], got {list(bias.shape)}")
