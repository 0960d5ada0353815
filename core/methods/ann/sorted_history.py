"""A history sorted into buckets, and the part of it that a pass reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ....kernels import BlockPlan, DenseAttention, attend, head_index
from ....kernels.buckets import Buckets, keys_visited, visiting_plan
from ....kernels.plan import Ranges
from ...memory.store import KVView
from .search import Centroids, Search

_RECALL_ROWS = 32  # queries of a head that recall is estimated from


@dataclass(frozen=True, eq=False)
class SortedPast:
    """Which keys of a store are in which bucket; the keys themselves stay where they are.

    places: positions in the store, int32 [N, H], sorted by bucket; keys in no bucket come last.
    edges: see `Buckets`. centroids: of the buckets, None for hashes.
    """

    places: Tensor
    edges: Tensor
    centroids: Centroids | None

    @classmethod
    def of(cls, view: KVView, item: int, search: Search, heads: tuple[int, ...]) -> SortedPast:
        """Put the history of one item into buckets, without waiting for the device."""
        places, valid = _places(view)
        keys = view.k[item][places, torch.arange(len(heads), device=places.device)]
        if valid is not None:
            keys = torch.where(valid.T[..., None], keys, 0)  # places that nobody reads may hold anything
        codes, centroids = search.index(keys, valid, heads)
        buckets = Buckets.of(codes, search.buckets)
        places = places.expand(-1, len(heads)).gather(0, buckets.order.T)
        return cls(places.to(torch.int32), buckets.edges, centroids)

    @property
    def bytes(self) -> int:
        """Held from pass to pass."""
        centroids = self.centroids.bytes if self.centroids else 0
        return 4 * (self.places.numel() + self.edges.numel()) + centroids


@dataclass(frozen=True, eq=False)
class BucketRead:
    """What the queries of one pass and item read.

    Attributes:
        q: queries [1, L, H, D], reordered so that blocks share buckets; `order` int64 [H, L] is that order.
        k, v: [1, N + own, H, D], the history by bucket, then the pass's own.
        plan: which keys of k each block of q reads.
        visits: bool [H, blocks, C], the buckets that each block visits.
        past: the history.
    """

    q: Tensor
    order: Tensor
    k: Tensor
    v: Tensor
    plan: BlockPlan
    visits: Tensor
    past: SortedPast

    @classmethod
    def of(
        cls,
        q: Tensor,
        view: KVView,
        item: int,
        past: SortedPast,
        search: Search,
        block: int,
        heads: tuple[int, ...],
    ) -> BucketRead:
        """For queries [L, H, D] of an item.

        Copies the history into the order of its buckets, for this pass only: keeping a copy for every layer would
        double the KV memory.
        """
        order, visits = search.visits(q, past.centroids, block, heads)
        columns = torch.arange(len(heads), device=q.device)
        own = torch.arange(*view.own, device=q.device)[:, None].expand(-1, len(heads))
        places = torch.cat([past.places.long(), own])
        keys, total = past.places.shape[0], places.shape[0]
        bias = None if view.plan.bias is None else view.plan.bias.T[places, columns].T
        plan = visiting_plan(visits, past.edges, (keys, total), block, bias)
        k, v = (x[item][places, columns][None] for x in (view.k, view.v))
        return cls(q[order.T, columns][None], order, k, v, plan, visits, past)

    def attend(self, dense: DenseAttention) -> Tensor:
        """Attention [L, H, D] of the queries, in their original order."""
        out, columns = torch.empty_like(self.q[0]), torch.arange(self.q.shape[2], device=self.q.device)
        out[self.order.T, columns] = attend(self.q, self.k, self.v, self.plan, dense)[0]
        return out

    @property
    def pairs(self) -> Tensor:
        """Keys read, summed over queries and heads: a number on the device."""
        queries, blocks = self.q.shape[1], self.visits.shape[1]
        rest = torch.arange(blocks, device=self.q.device) * self.plan.block_q
        in_block = (queries - rest).clamp(max=self.plan.block_q)
        own = self.k.shape[1] - self.past.places.shape[0]
        return (keys_visited(self.visits, self.past.edges.diff(dim=1), own) * in_block).sum()

    @property
    def recall(self) -> Tensor:
        """Share of dense attention that falls on the keys read, mean over heads and some queries: on the device."""
        queries, count = self.q.shape[1], min(self.q.shape[1], _RECALL_ROWS)
        rows = torch.arange(count, device=self.q.device) * queries // count
        heads = [self._head_recall(head, rows) for head in range(self.q.shape[2])]  # logits of all take much room
        return torch.stack(heads).mean()

    def _head_recall(self, head: int, rows: Tensor) -> Tensor:
        logits = self.q[0, rows, head].float() @ self.k[0, :, head].float().T * self.q.shape[-1] ** -0.5
        if self.plan.bias is not None:
            logits = logits + self.plan.bias[head]
        edges, keys = self.past.edges[head].long(), self.past.places.shape[0]
        place = torch.arange(logits.shape[1], device=logits.device)
        logits = logits.masked_fill((place >= edges[-1]) & (place < keys), float("-inf"))
        weights = logits.softmax(-1)
        up_to = torch.nn.functional.pad(weights.cumsum(-1), (1, 0))
        in_bucket = up_to[:, edges].diff(dim=1)
        read = in_bucket * self.visits[head, rows // self.plan.block_q]
        return (read.sum(-1) + weights[:, keys:].sum(-1)).mean()


def history_keys(view: KVView) -> float:
    """Keys of the history that a head reads, mean over heads."""
    own = view.own[1] - view.own[0]
    return view.plan.keys_read / max(1, view.plan.heads) - own


def _places(view: KVView) -> tuple[Tensor, Tensor | None]:
    """Positions of the history's keys, int64 [N, H or 1], and which of them hold a key, bool [H, N]."""
    device, heads = view.k.device, view.plan.heads
    groups = [
        (torch.cat([torch.arange(*each, device=device) for each in past] or [torch.arange(0, device=device)]), who)
        for past, who in ((tuple(_without(ranges, view.own)), who) for ranges, who in view.plan.groups.items())
    ]
    if len(groups) == 1 and view.plan.bias is None:
        return groups[0][0][:, None], None
    most = max(places.shape[0] for places, _ in groups)
    found = torch.full((most, heads), -1, dtype=torch.int64, device=device)
    for places, who in groups:
        found[: places.shape[0], head_index(tuple(who), device)] = places[:, None]
    valid = found.T >= 0
    found = found.clamp(min=0)
    if view.plan.bias is not None:
        valid = valid & (view.plan.bias.gather(1, found.T) != float("-inf"))
    return found, valid


def _without(ranges: Ranges, own: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Ranges without the pass's own keys."""
    for start, end in ranges:
        for part in ((start, min(end, own[0])), (max(start, own[1]), end)):
            if part[0] < part[1]:
                yield part
