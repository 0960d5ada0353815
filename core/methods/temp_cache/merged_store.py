"""TempCache's preallocated store, whose history is merged over time.

Its tensors hold, in this order: the tail, right-aligned in its room; opening frames; the newest frame; settled
groups. The number of groups differs from head to head, so they come last, and the tail, unlike in a `FrameStore`,
comes first: then the keys that a head reads are one range, from the pass's own keys to its last group.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ....kernels import HostCopy, ReadPlan
from ....kernels.plan import Ranges, joined
from ...clock import ChunkClock
from ...memory.retention import Retention, StoreHeads
from ...memory.sink import Sink, sink_shift
from ...memory.store import FrameStore, KVView
from ...video import VideoShape
from .correspondence import Correspondence
from .merged_tokens import MergedTokens


class MergedStore:
    """Keys and values of some heads of one layer, all under one retention. See `KVStore`.

    Opening frames of the retention, or the first `sink` frames of a whole history, are stored unmerged. Later
    frames are merged token by token. In total, opening frames included, at most `budget` frames' worth of tokens
    are held.
    """

    def __init__(
        self,
        video: VideoShape,
        members: tuple[StoreHeads, ...],
        slots: int | None,
        closes_after: int | None,
        budget: int,
        sink: int,
        matching: Correspondence,
        averages: bool,
    ):
        """slots: frames of history to make room for, where that is less than the budget. closes_after: as for
        `FrameStore`. Others: `TempCache`.
        """
        self.video = video
        self._closes_after = closes_after
        self.members = members
        self.heads = tuple(head for member in members for head in member.heads)
        self.committed = 0
        self._opening = 0  # sink frames stored so far
        self._version = 0
        self._plans: dict[int, ReadPlan] = {}
        frames = budget if slots is None else min(budget, slots)
        first = self._retention.first
        whole = self._retention.last is None and not self._retention.begin
        self._sink_frames = min(max(first, sink) if whole else first, frames)
        self._allocate(max(frames, self._sink_frames + 1), matching, averages)

    @property
    def _retention(self) -> Retention:
        return self.members[0].retention

    @property
    def _tail_tokens(self) -> int:
        """Room for the tail, behind which the history begins."""
        return self.video.pass_frames * self.video.tokens_per_frame

    def _allocate(self, frames: int, matching: Correspondence, averages: bool) -> None:
        video, n = self.video, self.video.tokens_per_frame
        tokens = (video.pass_frames + frames) * n
        shape = (video.batch, tokens, len(self.heads), video.head_dim)
        # zeros, since empty places are read with a bias of -inf, and a NaN there would survive it
        self.k = torch.zeros(shape, dtype=video.dtype, device=video.device)
        self.v = torch.zeros_like(self.k)
        self._bias = torch.zeros(len(self.heads), tokens, dtype=torch.float32, device=video.device)
        begin = self._tail_tokens + self._sink_frames * n
        history = self.k[:, begin:], self.v[:, begin:], self._bias[:, begin:]
        self._tokens = MergedTokens(*history, n, matching, averages)
        self._used = HostCopy(self._tokens.used)
        self._sink = None
        if self._retention.first and self._closes_after is not None:
            shape = (*shape[:1], self._sink_frames * n, *shape[2:])
            self._sink = Sink(shape, video.dtype, video.device, None)

    @property
    def held(self) -> float:
        """Frames' worth of history tokens held by a head, mean over heads."""
        _, groups = self._used.read()
        return self._opening + sum(groups) / (len(groups) * self.video.tokens_per_frame)

    @property
    def bytes(self) -> int:
        """Bytes allocated, including what merging needs."""
        stored = 2 * self.k.numel() * self.k.element_size() + self._bias.numel() * self._bias.element_size()
        return stored + self._tokens.bytes + (self._sink.bytes if self._sink else 0)

    def tail(self, clock: ChunkClock) -> tuple[Tensor, Tensor]:
        """Where a pass writes its keys and values: views [B, L, H, D] of the tail."""
        begin, end = self._own(clock)
        return self.k[:, begin:end], self.v[:, begin:end]

    def view(self, clock: ChunkClock) -> KVView:
        """What the pass reads, once its tail has been written."""
        if self._sink is not None:
            reading = self._retention.reading(self.committed, clock.frames, clock.clean)
            shift = sink_shift(self._retention, reading, self._closes_after, clock)
            self._version += self._sink.place(*self._opening_frames(), shift)
        if clock.frames not in self._plans:
            self._plans[clock.frames] = self._plan(clock)
        return KVView(self.k, self.v, self._plans[clock.frames], self._own(clock), self._version, None)

    def _plan(self, clock: ChunkClock) -> ReadPlan:
        begin, n = self._own(clock)[0], self.video.tokens_per_frame
        opening = begin, self._tail_tokens + self._opening * n
        groups = self._tail_tokens + self._sink_frames * n
        lengths, _ = self._used.read()

        def ranges(length: int) -> Ranges:
            return joined((opening, (groups, groups + length))) if length else (opening,)

        return ReadPlan(tuple(map(ranges, lengths)), self._bias if any(lengths) else None)

    def commit(self, clock: ChunkClock) -> None:
        """Merge the tail's frames into history, one after the other."""
        n = self.video.tokens_per_frame
        for k, v, frame in zip(*(each.split(n, dim=1) for each in self.tail(clock)), clock.positions, strict=True):
            self._keep(frame, k, v)
        self._settled(clock.memory_frame + clock.frames)

    def _keep(self, frame: int, k: Tensor, v: Tensor) -> None:
        """Store or merge one frame's roped keys and values; frames must come in order."""
        n, retention = self.video.tokens_per_frame, self._retention
        if frame < self._sink_frames:
            place = slice(self._tail_tokens + frame * n, self._tail_tokens + (frame + 1) * n)
            self.k[:, place], self.v[:, place] = k, v
            self._opening = frame + 1
        elif retention.keeps(frame, frame + 1):
            self._tokens.take(frame, k, v)
            if retention.last is not None:
                self._tokens.forget_before(retention.recent_begin(frame + 1))

    def _settled(self, committed: int) -> None:
        """Publish a changed history; queues a copy of its lengths, which the host reads in the next pass."""
        self._tokens.publish()
        self._used.send(self._tokens.used)
        self._plans.clear()
        self.committed = committed
        self._version += 1

    def adopt(self, other: FrameStore | MergedStore) -> None:
        """Take over what this store's heads keep of another store's history; whole frames are merged."""
        if isinstance(other, MergedStore):
            self._adopt_merged(other)
        else:
            other.release_sinks()
            chosen, source = other.find(self.heads)
            n = self.video.tokens_per_frame
            for frame in sorted(self._retention.kept(other.committed)):
                place = slice(source.slot(frame) * n, (source.slot(frame) + 1) * n)
                self._keep(frame, other.k[:, place, chosen], other.v[:, place, chosen])
        self._settled(other.committed)

    def _adopt_merged(self, other: MergedStore) -> None:
        other.release_sink()
        chosen = [other.heads.index(head) for head in self.heads]
        self._opening = min(other._opening, self._sink_frames)
        end = self._tail_tokens + self._opening * self.video.tokens_per_frame
        self.k[:, self._tail_tokens : end] = other.k[:, self._tail_tokens : end, chosen]
        self.v[:, self._tail_tokens : end] = other.v[:, self._tail_tokens : end, chosen]
        self._tokens.adopt(other._tokens, chosen)
        self._tokens.forget_before(self._retention.recent_begin(other.committed))

    def rewind(self, frame: int) -> None:
        """Go back, so that this frame, which has been committed before, is the next one.

        Groups that span the cut keep their members before it: see `MergedTokens.forget_from`.
        """
        self.release_sink()
        self.members = tuple(replace(each, retention=each.retention.rewound(frame)) for each in self.members)
        self._opening = min(self._opening, frame)
        self._tokens.forget_from(frame)
        self._tokens.forget_before(self._retention.recent_begin(frame))
        self._settled(frame)

    def release_sink(self) -> None:
        """Put moved opening frames back to their own positions."""
        if self._sink is not None:
            self._sink.release(*self._opening_frames())

    def free(self) -> None:
        """Let go of the tensors even if something, such as a traceback, still holds this store."""
        self.k = self.v = self._bias = self.k.new_empty(0)
        self._tokens = self._sink = None
        self._plans.clear()

    def _own(self, clock: ChunkClock) -> tuple[int, int]:
        """Where the pass's own keys are."""
        end = self._tail_tokens
        return end - clock.frames * self.video.tokens_per_frame, end

    def _opening_frames(self) -> tuple[Tensor, Tensor]:
        """The sink's keys and values."""
        place = slice(self._tail_tokens, self._tail_tokens + self._sink.tokens)
        return self.k[:, place], self.v[:, place]
