"""A preallocated key/value store: a history region of frame slots, then the tail of the current chunk.

Every pass overwrites the tail; only `commit` moves the tail's frames into history. The tail sits right behind the
occupied slots, so what a query reads is always one contiguous prefix, and a frame whose slot is where it already
lies is not even copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...kernels.plan import Ranges
from ..errors import DummyForcingError
from .clock import ChunkClock
from .retention import Reading, Retention
from .sink import Sink

_FIRST_SLOTS = 12


@dataclass(frozen=True)
class StoreLayout:
    """Sizes shared by all stores of a memory.

    Attributes:
        batch: videos generated together.
        head_dim: channels of a head.
        tokens_per_frame: tokens of a latent frame.
        pass_frames: most frames a pass has.
        span: latent frames that what a query reads may cover on the time axis before opening frames are moved
            closer (`MemoryConfig.rope`); None leaves them where they are.
        dtype, device: of keys and values.
    """

    batch: int
    head_dim: int
    tokens_per_frame: int
    pass_frames: int
    dtype: torch.dtype
    device: torch.device
    span: int | None = None


@dataclass(frozen=True)
class StoreHeads:
    """Heads of a layer that follow one retention, in the order in which a store holds them."""

    heads: tuple[int, ...]
    retention: Retention


class FrameStore:
    """Keys and values of some heads of one layer.

    All members hold equally many frames at any time (sink heads one opening frame, dummy heads one recent frame),
    so one dense attention call serves them: packed attention (Dummy Forcing, section 4.3).
    """

    def __init__(self, layout: StoreLayout, members: tuple[StoreHeads, ...], slots: int | None):
        """`slots` frames of history are allocated; None starts small and doubles when it runs out."""
        self.layout = layout
        self.members = members
        self.heads = tuple(head for member in members for head in member.heads)
        self.committed = 0
        self._growable = slots is None
        self._sinks: dict[int, Sink] = {}
        self._allocate(_FIRST_SLOTS if slots is None else slots)

    def _allocate(self, slots: int) -> None:
        layout = self.layout
        tokens = (slots + layout.pass_frames) * layout.tokens_per_frame
        shape = (layout.batch, tokens, len(self.heads), layout.head_dim)
        self.k = torch.empty(shape, dtype=layout.dtype, device=layout.device)
        self.v = torch.empty_like(self.k)

    @property
    def held(self) -> int:
        """Frames of history held at present."""
        return self.members[0].retention.held(self.committed)

    @property
    def bytes(self) -> int:
        """Bytes allocated for keys and values, tail included."""
        return 2 * self.k.numel() * self.k.element_size() + sum(sink.bytes for sink in self._sinks.values())

    def write(self, k: Tensor, v: Tensor, clock: ChunkClock) -> Ranges:
        """Write a pass's keys and values [B, L, H, D] to the tail; returns the key positions to read now."""
        start = self.held * self.layout.tokens_per_frame
        end = start + k.shape[1]
        if end > self.k.shape[1] and self._growable:
            self._grow(start)
        if end > self.k.shape[1]:
            raise DummyForcingError(
                f"the KV store has room for {self.k.shape[1]} tokens but the chunk ends at {end}; "
                "the video is longer than the memory was built for"
            )
        self.k[:, start:end] = k
        self.v[:, start:end] = v
        readings = [member.retention.reading(self.committed, clock.frames, clock.clean) for member in self.members]
        self._place_sinks(readings, clock)
        n = self.layout.tokens_per_frame
        history = ((first * n, last * n) for first, last in readings[0].slots)
        return _joined([*history, (start, end)])

    def key_frames(self, clock: ChunkClock) -> list[int]:
        """The latent frame of each frame-sized block of readable keys; for stores with a single member."""
        (member,) = self.members
        return [*member.retention.kept(self.committed), *clock.positions]

    def commit(self, clock: ChunkClock) -> None:
        """Move the tail's frames into history, replacing what their heads no longer keep.

        Frames between the last commit and this one, if there are any, never come (`Memory.rewind`).
        """
        start, end = clock.memory_frame, clock.memory_frame + clock.frames
        tail = self.held
        for index, (member, heads) in enumerate(self._members()):
            if member.retention.average is not None:
                self._average(index, member, heads, end)
            for frame in range(start, end):
                if member.retention.keeps(frame, end):
                    self._copy(tail + frame - start, member.retention.slot(frame), heads)
        self.committed = end

    def adopt(self, other: FrameStore) -> None:
        """Take over the history that this store's heads keep from `other`, which must hold it."""
        n = self.layout.tokens_per_frame
        self.committed = other.committed
        other.settle()
        for member, heads in self._members():
            chosen, source = other.find(member.heads)
            for frame in member.retention.kept(self.committed):
                into = _frame(member.retention.slot(frame), n)
                origin = _frame(source.slot(frame), n)
                self.k[:, into, heads] = other.k[:, origin, chosen]
                self.v[:, into, heads] = other.v[:, origin, chosen]

    def find(self, heads: tuple[int, ...]) -> tuple[list[int], Retention]:
        """Where these heads, which follow one retention, are in this store, and the retention."""
        chosen = [self.heads.index(head) for head in heads]
        return chosen, next(member.retention for member in self.members if heads[0] in member.heads)

    def settle(self) -> None:
        """Put moved opening frames back to their own positions."""
        for sink in self._sinks.values():
            sink.place(0)

    def rewind(self, frame: int) -> None:
        """Forget the recent frames and go on as if only the opening ones and nothing up to `frame` had been."""
        self.members = tuple(
            replace(member, retention=member.retention.cut(self.committed, frame)) for member in self.members
        )
        self.committed = frame

    def free(self) -> None:
        """Let go of the tensors even if something, such as a traceback, still holds this store."""
        self.k = self.v = self.k.new_empty(0)
        self._sinks.clear()

    def _members(self) -> Iterator[tuple[StoreHeads, slice]]:
        """Members with the places of their heads in the tensors."""
        offset = 0
        for member in self.members:
            yield member, slice(offset, offset + len(member.heads))
            offset += len(member.heads)

    def _place_sinks(self, readings: Sequence[Reading], clock: ChunkClock) -> None:
        """Bring opening frames as close as the span demands; averaged ones up to date."""
        span = self.layout.span
        for index, (member, heads) in enumerate(self._members()):
            reading, first = readings[index], member.retention.first
            shift = 0
            if span is not None and reading.opening:
                end = clock.memory_frame + clock.frames
                shift = max(0, end - max(span, first + reading.recent + clock.frames))
            if shift or index in self._sinks:
                self._sink(index, member, heads).place(shift)

    def _sink(self, index: int, member: StoreHeads, heads: slice) -> Sink:
        if index not in self._sinks:
            n = self.layout.tokens_per_frame
            opening = slice(0, min(member.retention.first, self.committed) * n)
            self._sinks[index] = Sink(self.k[:, opening, heads], self.v[:, opening, heads], n)
        return self._sinks[index]

    def _average(self, index: int, member: StoreHeads, heads: slice, end: int) -> None:
        """Let opening frames take in the frames that leave with a commit up to `end`."""
        retention, n = member.retention, self.layout.tokens_per_frame
        for frame in sorted(retention.kept(self.committed)):
            if not retention.keeps(frame, end):
                place = _frame(retention.slot(frame), n)
                sink = self._sink(index, member, heads)
                sink.absorb(frame, self.k[:, place, heads], self.v[:, place, heads], retention.average)

    def _copy(self, origin: int, slot: int, heads: slice) -> None:
        if origin == slot:
            return
        n = self.layout.tokens_per_frame
        for tensor in (self.k, self.v):
            tensor[:, _frame(slot, n), heads] = tensor[:, _frame(origin, n), heads]

    def _grow(self, used: int) -> None:
        """Double an unbounded history that has run out, keeping its first `used` tokens."""
        self.settle()
        self._sinks.clear()  # they look into the tensors that are about to go
        old_k, old_v = self.k, self.v
        self._allocate(2 * self.held)
        self.k[:, :used], self.v[:, :used] = old_k[:, :used], old_v[:, :used]


def _joined(ranges: Sequence[tuple[int, int]]) -> Ranges:
    """Ranges with those that touch made one."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and joined[-1][1] == start:
            start = joined.pop()[0]
        joined.append((start, end))
    return tuple(joined)


def _frame(slot: int, tokens_per_frame: int) -> slice:
    return slice(slot * tokens_per_frame, (slot + 1) * tokens_per_frame)
