"""Approximate nearest neighbours for attention: keys go into buckets, blocks of queries visit some of them.

FAST-AR (arXiv 2602.01801) names two searches, hashing and 8-bit quantised search, and leaves their details open.
Both are defined here in such a way that everything around them is the same: a key is in one bucket, queries that
want the same buckets are placed together, and a block of queries reads whole buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from ....kernels import head_index
from ....kernels.buckets import in_blocks

_SLICE = 8192  # keys that are turned into fp32 at a time
_SAMPLE = 64  # keys per bucket that centroids are learnt from
_ROUNDS = 3  # of k-means
_LEVELS = 127  # of an 8-bit number with a sign


@dataclass(frozen=True, eq=False)
class Centroids:
    """Centroids of quantised keys: whole numbers in fp32 [H, C, D], and the size of one unit, fp32 [H, 1, 1]."""

    points: Tensor
    step: Tensor

    @property
    def bytes(self) -> int:
        return 4 * (self.points.numel() + self.step.numel())


class Search(Protocol):
    """A way to put keys into buckets and to choose among these."""

    @property
    def buckets(self) -> int: ...

    def index(self, keys: Tensor, valid: Tensor | None, heads: tuple[int, ...]) -> tuple[Tensor, Centroids | None]:
        """The bucket of each key [N, H, D] of these heads, int64 [H, N], and the centroids, if the search has any.

        Keys marked invalid in bool [H, N] are zeros; they get the code `buckets`, which is no bucket.
        """
        ...

    def visits(
        self, q: Tensor, centroids: Centroids | None, block: int, heads: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """An order of the queries [L, H, D], int64 [H, L], and which buckets each block of them visits.

        The latter is bool [H, blocks, C]; the last block may be shorter.
        """
        ...


@dataclass(frozen=True)
class SignHash:
    """Sign-LSH: a bucket is the signs of `bits` random projections.

    A query visits the buckets whose signs differ from its own in at most `radius` places; a block visits every
    bucket that one of its queries visits. The keys' mean is subtracted before hashing: what all keys of a head
    share adds the same amount to every logit of a query, so it says nothing about which key the query wants.
    """

    bits: int
    radius: int
    seed: int

    @property
    def buckets(self) -> int:
        return 1 << self.bits

    def index(self, keys: Tensor, valid: Tensor | None, heads: tuple[int, ...]) -> tuple[Tensor, None]:
        """A hash of each key, after subtracting the mean key of its head."""
        centre = _mean(keys, valid)
        codes = [self.codes(part - centre, heads) for part in _slices(keys)]
        return _without(torch.cat(codes, dim=1), valid, self.buckets), None

    def visits(
        self, q: Tensor, centroids: Centroids | None, block: int, heads: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Queries sorted by hash; a block visits the buckets near those of its queries."""
        codes = self.codes(q.transpose(0, 1).float(), heads)
        order = codes.argsort(dim=1, stable=True)
        visits = near_codes(self.bits, self.radius, q.device)[codes]
        return order, in_blocks(visits, order, block).any(dim=2)

    def codes(self, x: Tensor, heads: tuple[int, ...]) -> Tensor:
        """Hashes of fp32 [H, N, D]: int64 [H, N]."""
        directions = projections(max(heads) + 1, x.shape[-1], self.bits, self.seed, x.device)
        signs = x @ directions[head_index(heads, x.device)] > 0
        return (signs << torch.arange(self.bits, device=x.device)).sum(-1)


@dataclass(frozen=True)
class QuantisedCells:
    """8-bit quantised search: a bucket is the keys nearest to one of 2^bits centroids, all in whole numbers.

    Each head's keys are centred on their mean and quantised to 8 bits; centroids are learnt by k-means on a sample
    and rounded. So distances and products are exact sums of whole numbers, the same on every device. A block of
    queries visits the `share` of all buckets to which its queries would pay the most attention if every key lay in
    its centroid.
    """

    bits: int
    share: float

    @property
    def buckets(self) -> int:
        return 1 << self.bits

    @property
    def visited(self) -> int:
        """Buckets that a block visits."""
        return max(1, round(self.share * self.buckets))

    def index(self, keys: Tensor, valid: Tensor | None, heads: tuple[int, ...]) -> tuple[Tensor, Centroids]:
        """The nearest centroid of each key."""
        centre = _mean(keys, valid)
        step = (_extent(keys, centre) / _LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        centroids = self._learn(_quantised(_sample(keys, valid, _SAMPLE * self.buckets) - centre, step))
        codes = [nearest(_quantised(part - centre, step), centroids) for part in _slices(keys)]
        return _without(torch.cat(codes, dim=1), valid, self.buckets), Centroids(centroids, step)

    def visits(
        self, q: Tensor, centroids: Centroids | None, block: int, heads: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Queries sorted by the centroid they attend to most; a block visits those that it attends to most."""
        q = q.transpose(0, 1).float()
        step = (q.abs().amax(-1, keepdim=True) / _LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        products = _quantised(q, step) @ centroids.points.mT
        liking = (products * (step * centroids.step * q.shape[-1] ** -0.5)).softmax(-1)
        order = products.argmax(-1).argsort(dim=1, stable=True)
        best = in_blocks(liking, order, block).sum(dim=2).topk(self.visited, dim=-1).indices
        visits = torch.zeros(*best.shape[:2], self.buckets, dtype=torch.bool, device=q.device)
        return order, visits.scatter_(2, best, True)

    def _learn(self, keys: Tensor) -> Tensor:
        """Centroids [H, C, D] of quantised keys [H, S, D]; a centroid that is nearest to no key does not move."""
        centroids = keys[:, _spread(keys.shape[1], self.buckets, keys.device)]
        for _ in range(_ROUNDS):
            codes = nearest(keys, centroids)
            members = (codes[:, None] == torch.arange(self.buckets, device=keys.device)[:, None]).float()
            count = members.sum(-1, keepdim=True)
            centroids = torch.where(count > 0, (members @ keys / count.clamp(min=1)).round(), centroids)
        return centroids


@lru_cache(maxsize=16)
def projections(heads: int, channels: int, bits: int, seed: int, device: torch.device) -> Tensor:
    """Random directions fp32 [heads, channels, bits], drawn on the CPU: every device gets the same."""
    drawn = [torch.randn(channels, bits, generator=torch.Generator().manual_seed(seed + h)) for h in range(heads)]
    with torch.inference_mode(False):
        return torch.stack(drawn).to(device)


def nearest(keys: Tensor, centroids: Tensor) -> Tensor:
    """The nearest centroid of each key, the first of several: [H, N, D], [H, C, D] -> int64 [H, N]."""
    return (2 * (keys @ centroids.mT) - centroids.square().sum(-1)[:, None]).argmax(-1)


@lru_cache(maxsize=16)
def near_codes(bits: int, radius: int, device: torch.device) -> Tensor:
    """Which codes differ in at most `radius` bits: bool [2^bits, 2^bits]."""
    codes = torch.arange(1 << bits)
    differ = (codes[:, None] ^ codes)[..., None] >> torch.arange(bits) & 1
    with torch.inference_mode(False):
        return (differ.sum(-1) <= radius).to(device)


def _slices(keys: Tensor) -> Iterator[Tensor]:
    """Keys [N, H, D] as fp32 [H, n, D], some at a time: a whole history in fp32 would take twice its memory."""
    return (part.transpose(0, 1).float() for part in keys.split(_SLICE))


def _mean(keys: Tensor, valid: Tensor | None) -> Tensor:
    """The mean key of each head: fp32 [H, 1, D]."""
    total = keys.sum(dim=0, dtype=torch.float32)
    return (total / (keys.shape[0] if valid is None else valid.sum(1, keepdim=True).clamp(min=1)))[:, None]


def _extent(keys: Tensor, centre: Tensor) -> Tensor:
    """An upper bound on how far a head's channels are from the mean: fp32 [H, 1, 1]."""
    high, low = (each.float()[:, None] for each in (keys.amax(dim=0), keys.amin(dim=0)))
    return torch.maximum(high - centre, centre - low).amax(-1, keepdim=True)


def _sample(keys: Tensor, valid: Tensor | None, count: int) -> Tensor:
    """Evenly spread keys of each head in fp32 [H, at most count, D]; only valid ones if the head has any."""
    count = min(count, keys.shape[0])
    if valid is None:
        return keys[_spread(keys.shape[0], count, keys.device)].transpose(0, 1).float()
    first = valid.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    each = torch.arange(count, device=keys.device) * valid.sum(1, keepdim=True) // count
    chosen = first.gather(1, each)
    return keys[chosen.T, torch.arange(keys.shape[1], device=keys.device)].transpose(0, 1).float()


def _spread(total: int, count: int, device: torch.device) -> Tensor:
    """`count` indices below `total`, evenly spread; some repeated if there are fewer."""
    return torch.arange(count, device=device) * total // count


def _quantised(x: Tensor, step: Tensor) -> Tensor:
    """Whole numbers of at most 8 bits, sign included, stored in fp32: sums of their products are exact."""
    return (x / step).round().clamp(-_LEVELS, _LEVELS)


def _without(codes: Tensor, valid: Tensor | None, buckets: int) -> Tensor:
    return codes if valid is None else codes.masked_fill(~valid, buckets)
