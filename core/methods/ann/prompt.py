"""AnnCA at work: a frame reads the tokens of the prompt that share a bucket with one of its queries.

The prompt is hashed once, queries in every pass. Padding cannot be dropped: Wan was trained to attend to it, so it
takes part of the attention. All padding tokens have the same key, so one key that counts as often as there are
tokens stands for all of them exactly (Lemma 5.1); this key is never dropped, and no other padding token is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ....kernels import DenseAttention, attend
from ....kernels.buckets import Buckets, keys_visited, visiting_plan
from ...clock import ChunkClock
from ...memory.select_report import SelectCount
from . import AnnCA
from .search import SignHash, near_codes


@dataclass(frozen=True, eq=False)
class HashedPrompt:
    """A layer's keys and values of one item's prompt, [1, n + 1, H, D]: sorted by bucket, the padding's key last.

    edges: see `Buckets`. bias: fp32 [H, n + 1]: for the last key, the logarithm of how many tokens it stands for.
    """

    k: Tensor
    v: Tensor
    edges: Tensor
    bias: Tensor

    @classmethod
    def of(cls, k: Tensor, v: Tensor, search: SignHash) -> HashedPrompt:
        """Hash keys [n, H, D]. The last token, and those right before it that equal it, count as padding."""
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
    """AnnCA at work on one video. `count` counts pairs of a query and a token."""

    def __init__(self, config: AnnCA):
        self.count = SelectCount()
        self._search = SignHash(config.bits, config.radius, config.seed)
        self._prompts: dict[int, list[HashedPrompt]] = {}  # by layer, one for each item of the batch

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock: ChunkClock, dense: DenseAttention
    ) -> Tensor:
        """See `CrossRun.attend`."""
        if layer not in self._prompts:
            self._prompts[layer] = [HashedPrompt.of(*item, self._search) for item in zip(k, v, strict=True)]
        items = zip(q.split(1), self._prompts[layer], strict=True)
        out = [self._read(dense, clock.frames, each, prompt) for each, prompt in items]
        return out[0] if len(out) == 1 else torch.cat(out)

    def change_prompt(self) -> None:
        """Hash the new prompt in the next pass."""
        self._prompts.clear()

    def _read(self, dense: DenseAttention, frames: int, q: Tensor, prompt: HashedPrompt) -> Tensor:
        """A frame of queries [1, L, H, D] reads the buckets that it hits, those near these, and the padding."""
        search, queries = self._search, q.shape[1]
        codes = search.codes(q[0].transpose(0, 1).float(), tuple(range(q.shape[2])))
        visits = near_codes(search.bits, search.radius, q.device)[codes].unflatten(1, (frames, -1)).any(2)
        sizes, tokens = prompt.edges.diff(dim=1), prompt.k.shape[1]
        read = keys_visited(visits, sizes, 1).sum() * (queries // frames)
        self.count.add(read, q.shape[2] * queries * (tokens - 1))
        plan = visiting_plan(visits, prompt.edges, (tokens - 1, tokens), queries // frames, prompt.bias)
        return attend(q, prompt.k, prompt.v, plan, dense)
