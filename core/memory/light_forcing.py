"""Light Forcing: queries read the frames and the blocks of keys that matter to them (arXiv 2602.04789).

Chunk-aware growth says how many blocks of keys a block of queries reads (`growth`); hierarchical sparse attention
says which (`block_choice`). The first chunk reads everything. Nothing is forgotten: what is kept is the keep
slot's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...kernels import BlockPlan, Dense, attend
from ..errors import DummyForcingError
from .block_choice import BlockChoice, block_ranges, block_scores, block_size, count_blocks, pool_blocks
from .clock import ChunkClock
from .growth import ChunkGrowth
from .keep import KeepShape
from .retention import Retention
from .select import AllKeys, Selection, SelectShape
from .store import StoreHeads
from .temp_cache import TempCache
from .view import KVView

_BASE_ABOVE = 0.1  # the authors' base is above their sparsity by this much in all of their settings
_HIGHEST_BASE = 0.99


@dataclass(frozen=True)
class LightForcing:
    """Hierarchical sparse attention with chunk-aware growth.

    The defaults are for models that were not tuned for it. The authors' quality (VBench 84.5, where the same
    sparsity without tuning has 73.0 in its simplest form) needs their weights: `tuned`, `tuned_long`.

    Attributes:
        sparsity: share of the keys that is not read, mean over the video, from 0 below 1; 0 reads everything.
        base: what sparsity tends to as the video goes on; None is 0.1 above `sparsity`.
        keep_frames: past frames that a block of queries may read where there are more: `sink` opening frames, the
            `near` newest ones, and those of the others that fit it best; more of these where the blocks to read
            fill more. Heads that never hold more than this read all they have.
        block_q, block_k: most queries and keys of a block.
        dense_first_pass, dense_clean_pass: read everything in the first denoising pass of a chunk, in the pass that
            writes the cache.
        keep_current: always read the whole current chunk; sparsity then is that of the history. Otherwise its
            blocks have to be chosen like any others.
    """

    sparsity: float = 0.7
    base: float | None = None
    keep_frames: int = 6
    sink: int = 1
    near: int = 2
    block_q: int = 128
    block_k: int = 64
    dense_first_pass: bool = True
    dense_clean_pass: bool = True
    keep_current: bool = False

    def __post_init__(self) -> None:
        least = self.sink + self.near
        checks = (
            (
                0 <= self.sparsity < 1,
                f"sparsity is {self.sparsity}; expected 0 (reads everything) or more, below 1, such as 0.7",
            ),
            (
                self.base is None or self.sparsity <= self.base < 1,
                f"base is {self.base} for a sparsity of {self.sparsity}; expected at least the sparsity and less "
                "than 1, or none for 0.1 above it",
            ),
            (
                self.sink >= 0 and self.near >= 0,
                f"sink is {self.sink} and near {self.near}; expected 0 frames or more each",
            ),
            (
                self.keep_frames >= least,
                f"keep frames is {self.keep_frames}, but sink ({self.sink}) and near ({self.near}) frames are "
                f"among them; raise it to at least {least} or lower these",
            ),
            (
                self.block_q >= 1 and self.block_k >= 1,
                f"blocks of {self.block_q} queries and {self.block_k} keys; expected at least 1 each (64 or 128)",
            ),
        )
        for valid, message in checks:
            if not valid:
                raise DummyForcingError(message)

    @classmethod
    def tuned(cls) -> LightForcing:
        """The authors' values for clips of up to 5 s, for weights that were tuned with them."""
        return cls(0.88, 0.98, 6, 1, 2, dense_first_pass=False, dense_clean_pass=False)

    @classmethod
    def tuned_long(cls) -> LightForcing:
        """The authors' values for longer videos (with a window of 12), for weights that were tuned with them."""
        return cls(0.85, 0.95, 3, 1, 1, dense_first_pass=False, dense_clean_pass=False)

    @property
    def final_base(self) -> float:
        """The base that holds."""
        if self.base is not None:
            return self.base
        return max(self.sparsity, min(self.sparsity + _BASE_ABOVE, _HIGHEST_BASE))

    def check(self, config: Any) -> None:
        """Raises DummyForcingError where frames are not held one by one."""
        if isinstance(config.merge, TempCache):
            raise DummyForcingError(
                "Light Forcing chooses among frames, but TempCache merges tokens of several into one; remove the "
                "TempCache node or the Light Forcing Patch (--select light-forcing)"
            )

    def begin(self, shape: SelectShape) -> LightForcingRun:
        return LightForcingRun(self, shape)

    def growth(self, retention: Retention, shape: KeepShape, total_frames: int | None) -> ChunkGrowth | None:
        """How sparse heads of this retention get; None for those that read all they have."""
        window = None
        if retention.last is not None:
            history = retention.first + retention.last
            if history <= self.keep_frames:
                return None
            window = history + shape.chunk_frames
        return ChunkGrowth.solve(self.sparsity, self.final_base, shape, total_frames, window)

    def is_dense(self, clock: ChunkClock) -> bool:
        """Whether everything is read in this pass anyway."""
        first = self.dense_first_pass and clock.pass_index == 0 and not clock.clean
        return not self.sparsity or first or (self.dense_clean_pass and clock.clean)

    def choose(
        self, past: Sequence[int], own_frames: int, blocks_per_frame: int, sparsity: float
    ) -> BlockChoice | None:
        """What queries choose from; None where they read everything.

        Args:
            past: latent frames of the history, in the order in which they are read; those of the pass come after.
        """
        total, own = (len(past) + own_frames) * blocks_per_frame, own_frames * blocks_per_frame
        wanted = own + count_blocks(total - own, sparsity) if self.keep_current else count_blocks(total, sparsity)
        if not past or not sparsity or wanted >= total:
            return None
        frames = max(self.keep_frames, -((own - wanted) // blocks_per_frame))  # at least what the blocks fill
        others = sorted(frame for frame in past if frame >= self.sink)
        kept = {*past} if len(past) <= frames else {*past} - {*others[: len(others) - self.near]}
        return BlockChoice(
            eligible=(*(frame in kept for frame in past), *[True] * own_frames),
            middle=min(frames, len(past)) - len(kept),
            forced=(*[False] * len(past), *[self.keep_current] * own_frames),
            blocks=wanted,
        )


class LightForcingRun:
    """Light Forcing at work on one video."""

    def __init__(self, config: LightForcing, shape: SelectShape):
        self.config = config
        self.shape = shape
        self._growths: dict[Retention, ChunkGrowth | None] = {}
        tokens = shape.layout.tokens_per_frame
        self.block_k = block_size(tokens, config.block_k)
        self.block_q = block_size(tokens, config.block_q)
        self.blocks_per_frame = -(-tokens // self.block_k)

    def selection(self, layer: int, members: tuple[StoreHeads, ...], slots: int | None) -> Selection:
        """Heads that hold different frames read all they have."""
        growth = self.growth(members[0].retention)
        if growth is None or len({member.retention for member in members}) > 1 or not self.config.sparsity:
            return AllKeys()
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
        """`share` says it all."""

    def growth(self, retention: Retention) -> ChunkGrowth | None:
        """See `LightForcing.growth`."""
        if retention not in self._growths:
            self._growths[retention] = self.config.growth(retention, self.shape.keep, self.shape.total_frames)
        return self._growths[retention]


class LightSelection:
    """Light Forcing on one store."""

    def __init__(self, run: LightForcingRun, growth: ChunkGrowth, heads: int, slots: int | None):
        self._run, self._growth, self._heads = run, growth, heads
        self._tokens = run.shape.layout.tokens_per_frame
        self._known: tuple[Any, ...] | None = None  # of which history the pooled keys are
        self._pooled = self._room(slots or 0)

    @property
    def bytes(self) -> int:
        """Pooled keys of the history."""
        return self._pooled.numel() * self._pooled.element_size()

    def attend(self, q: Tensor, view: KVView, clock: ChunkClock, dense: Dense) -> Tensor:
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
        # Merged keys stand for several: means of them would say too little, and they have no frame.
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
        layout = self._run.shape.layout
        shape = (layout.batch, frames * self._run.blocks_per_frame, self._heads, layout.head_dim)
        return torch.empty(shape, dtype=layout.dtype, device=layout.device)

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


PRESETS = {
    "training-free": LightForcing(),
    "tuned-weights": LightForcing.tuned(),
    "tuned-weights-long": LightForcing.tuned_long(),
}
"""What can be chosen by name: the first for any weights, the others for the authors'."""
