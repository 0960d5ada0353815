"""Light Forcing at work on one video, and on each of its stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ....kernels import BlockPlan, DenseAttention, attend
from ...clock import ChunkClock
from ...memory.retention import Retention, StoreHeads
from ...memory.select import Selection, WholeHistory
from ...memory.store import KVView
from ...video import VideoShape
from . import LightForcing
from .block_choice import BlockChoice, block_ranges, block_scores, block_size, pool_blocks
from .growth import ChunkGrowth


class LightForcingRun:
    """Light Forcing at work on one video."""

    def __init__(self, config: LightForcing, video: VideoShape):
        self.config = config
        self.video = video
        self._growths: dict[Retention, ChunkGrowth | None] = {}
        tokens = video.tokens_per_frame
        self.block_k = block_size(tokens, config.block_k)
        self.block_q = block_size(tokens, config.block_q)
        self.blocks_per_frame = -(-tokens // self.block_k)

    def selection(self, layer: int, members: tuple[StoreHeads, ...], slots: int | None) -> Selection:
        """Heads that hold different frames read all they have."""
        growth = self.growth(members[0].retention)
        if growth is None or len({member.retention for member in members}) > 1 or not self.config.sparsity:
            return WholeHistory()
        return LightSelection(self, growth, sum(len(member.heads) for member in members), slots)

    def share(self, retention: Retention, clock: ChunkClock) -> float:
        """Blocks read as a share of all."""
        growth = self.growth(retention)
        if growth is None or self.config.is_dense(clock):
            return 1.0
        committed = clock.memory_frame
        reading = retention.reading(committed, clock.frames, clock.clean)
        kept = retention.kept(committed)
        past = [kept[slot] for first, last in reading.slots for slot in range(first, last)]
        sparsity = growth.at(committed + clock.frames)
        choice = self.config.choose(past, clock.frames, self.blocks_per_frame, sparsity)
        return 1.0 if choice is None else choice.blocks / (len(choice.eligible) * self.blocks_per_frame)

    def report(self) -> None:
        """None: `share` already tells."""

    def growth(self, retention: Retention) -> ChunkGrowth | None:
        """See `LightForcing.growth`."""
        if retention not in self._growths:
            self._growths[retention] = self.config.growth(retention, self.video)
        return self._growths[retention]


class LightSelection:
    """Light Forcing on one store."""

    def __init__(self, run: LightForcingRun, growth: ChunkGrowth, heads: int, slots: int | None):
        self._run, self._growth, self._heads = run, growth, heads
        self._tokens = run.video.tokens_per_frame
        self._known: tuple[Any, ...] | None = None  # of which history the pooled keys are
        self._pooled = self._room(slots or 0)

    @property
    def bytes(self) -> int:
        """Pooled keys of the history."""
        return self._pooled.numel() * self._pooled.element_size()

    def attend(self, q: Tensor, view: KVView, clock: ChunkClock, dense: DenseAttention) -> Tensor:
        """Attention over the chosen blocks; see `Selection.attend`."""
        choice = self._choose(view, clock)
        if choice is None:
            return attend(q, view.k, view.v, view.plan, dense)
        frames = _frame_starts(view, self._tokens)
        blocks = block_ranges(frames, self._tokens, self._run.block_k, q.device)
        tables = self._tables(q, view, choice)
        plans = (
            BlockPlan.from_table(each, blocks, self._run.block_q, block_k=self._run.block_k) for each in tables
        )
        items = zip(plans, *(x.split(1) for x in (q, view.k, view.v)), strict=True)
        out = [attend(*qkv, plan, dense) for plan, *qkv in items]
        return out[0] if len(out) == 1 else torch.cat(out)

    def _choose(self, view: KVView, clock: ChunkClock) -> BlockChoice | None:
        config = self._run.config
        # Merged keys stand for several tokens each: their means would say too little, and they belong to no frame.
        if view.frames is None or view.plan.bias is not None or config.is_dense(clock):
            return None
        past = view.frames[: len(view.frames) - clock.frames]
        sparsity = self._growth.at(clock.memory_frame + clock.frames)
        return config.choose(past, clock.frames, self._run.blocks_per_frame, sparsity)

    def _tables(self, q: Tensor, view: KVView, choice: BlockChoice) -> Tensor:
        """Blocks chosen for each item, head and block of queries, [B, H, query blocks, blocks]."""
        own = self._pool_frames(view.k[:, slice(*view.own)])
        keys = torch.cat([self._pooled_past(view), own], 1)
        scores = block_scores(pool_blocks(q, self._run.block_q), keys, self._run.blocks_per_frame)
        return choice.table(scores)

    def _pooled_past(self, view: KVView) -> Tensor:
        """Pooled keys of the history, computed once for all passes of a chunk."""
        ranges = tuple(_past_ranges(view))
        count = sum(end - start for start, end in ranges) // self._tokens * self._run.blocks_per_frame
        if count > self._pooled.shape[1]:
            self._pooled, self._known = self._room(2 * count // self._run.blocks_per_frame), None
        pooled = self._pooled[:, :count]
        if self._known != (view.version, ranges):
            parts = [self._pool_frames(view.k[:, start:end]) for start, end in ranges]
            pooled.copy_(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
            self._known = view.version, ranges
        return pooled

    def _pool_frames(self, keys: Tensor) -> Tensor:
        """Whole frames of keys [B, tokens, H, D] -> [B, blocks, H, D]."""
        return pool_blocks(keys.unflatten(1, (-1, self._tokens)), self._run.block_k).flatten(1, 2)

    def _room(self, frames: int) -> Tensor:
        video = self._run.video
        shape = (video.batch, frames * self._run.blocks_per_frame, self._heads, video.head_dim)
        return torch.empty(shape, dtype=video.dtype, device=video.device)

    def free(self) -> None:
        """Let go of the pooled keys."""
        self._pooled, self._known = self._pooled.new_empty(0), None


def _past_ranges(view: KVView) -> Iterator[tuple[int, int]]:
    """Key ranges of the history: the pass's own keys come last."""
    for start, end in view.plan.ranges[0]:
        if start < view.own[0]:
            yield start, min(end, view.own[0])


def _frame_starts(view: KVView, tokens: int) -> tuple[int, ...]:
    """Where the keys of each frame begin, in the order of `view.frames`."""
    return tuple(first for start, end in view.plan.ranges[0] for first in range(start, end, tokens))
