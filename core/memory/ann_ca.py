"""AnnCA: a frame reads the tokens of the prompt that share a bucket with one of its queries (FAST-AR, 2602.01801).

The prompt is hashed once, queries in every pass. Padding is no waste in Wan: it is attended, and takes a share of
the attention that the model was trained with. All of it has the same key, so one key that counts as many times
stands for it exactly (Lemma 5.1), is never dropped, and is all that is read of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ...kernels import Dense, attend
from ...kernels.buckets import Buckets, keys_visited, visiting_plan
from ..errors import DummyForcingError
from .ann_search import SignHash, near_codes
from .clock import ChunkClock
from .select_report import SelectCount

_MOST_BITS = 10


@dataclass(frozen=True)
class AnnCA:
    """Approximate search over the prompt.

    Attributes:
        bits: of the hash.
        radius: a token is kept where its hash differs from that of a query in so many bits at most; `bits` keeps
            all of them, which is exact.
        seed: of the projections.
    """

    bits: int = 4
    radius: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= _MOST_BITS or self.radius < 0:
            raise DummyForcingError(
                f"ANN cross-attention with {self.bits} bits and a radius of {self.radius}; expected 1 to "
                f"{_MOST_BITS} bits and a radius of 0 or more"
            )

    def begin(self) -> AnnCARun:
        return AnnCARun(self)


@dataclass(frozen=True, eq=False)
class HashedPrompt:
    """A layer's keys and values of one item's prompt, [1, n + 1, H, D], by bucket and then the padding.

    edges: see `Buckets`. bias: fp32 [H, n + 1], the logarithm of how many tokens the last one stands for.
    """

    k: Tensor
    v: Tensor
    edges: Tensor
    bias: Tensor

    @classmethod
    def of(cls, k: Tensor, v: Tensor, search: SignHash) -> HashedPrompt:
        """Hash keys [n, H, D]. The last token and those before it that are alike count as the padding."""
        heads = k.shape[1]
        padding = (k == k[-1]).flatten(1).all(1).flip(0).cumprod(0).flip(0).bool()
        kept = ~padding.expand(heads, -1)
        codes, _ = search.index(torch.where(padding[:, None, None], 0, k), kept, tuple(range(heads)))
        buckets = Buckets.of(codes, search.buckets)
        last = torch.full_like(buckets.order[:, :1], k.shape[0] - 1)
        order = torch.cat([buckets.order, last], dim=1).T
        columns = torch.arange(heads, device=k.device)
        bias = torch.zeros(order.shape[1], order.shape[0], device=k.device)
        bias[:, -1] = padding.sum().log()
        return cls(k[order, columns][None], v[order, columns][None], buckets.edges, bias)


class AnnCARun:
    """AnnCA at work on one video. `count` is of pairs of a query and a token."""

    def __init__(self, config: AnnCA):
        self.count = SelectCount()
        self._search = SignHash(config.bits, config.radius, config.seed)
        # By the tensors that encoding a prompt made: those of a new one are others, an old one's go with it.
        self._prompts = WeakTensorKeyDictionary()

    def attention(self, dense: Dense, clock: ChunkClock) -> Dense:
        """See `CrossRun.attention`."""
        return partial(self._attend, dense, clock.frames)

    def _attend(self, dense: Dense, frames: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if k not in self._prompts:
            self._prompts[k] = [HashedPrompt.of(*item, self._search) for item in zip(k, v, strict=True)]
        items = zip(q.split(1), self._prompts[k], strict=True)
        out = [self._read(dense, frames, each, prompt) for each, prompt in items]
        return out[0] if len(out) == 1 else torch.cat(out)

    def _read(self, dense: Dense, frames: int, q: Tensor, prompt: HashedPrompt) -> Tensor:
        """A frame of queries [1, L, H, D] reads the buckets that it hits, those near these, and the padding."""
        search, queries = self._search, q.shape[1]
        codes = search.codes(q[0].transpose(0, 1).float(), tuple(range(q.shape[2])))
        visits = near_codes(search.bits, search.radius, q.device)[codes].unflatten(1, (frames, -1)).any(2)
        sizes, tokens = prompt.edges.diff(dim=1), prompt.k.shape[1]
        read = keys_visited(visits, sizes, 1).sum() * (queries // frames)
        self.count.add(read, q.shape[2] * queries * (tokens - 1))
        plan = visiting_plan(visits, prompt.edges, (tokens - 1, tokens), queries // frames, prompt.bias)
        return attend(q, prompt.k, prompt.v, plan, dense)
