"""A preallocated key/value store: a history region of frame slots, then the tail of the current chunk.

Every pass overwrites the tail; only `commit` moves the tail's frames into history. The tail begins right behind the
occupied slots, so history and tail always form one contiguous prefix, and a frame that already lies in the slot
that it is to have is not even copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...kernels import ReadPlan
from ...kernels.plan import joined
from ..clock import ChunkClock
from ..errors import DummyForcingError
from ..video import VideoShape
from .retention import Reading, Retention, StoreHeads
from .sink import Sink, sink_shift

_FIRST_SLOTS = 12


@dataclass(frozen=True, eq=False)
class KVView:
    """Keys and values of a store's heads during one pass.

    Attributes:
        k, v: [B, tokens, heads, D]; may be larger than what is read.
        plan: what every query may read, the pass's own keys included.
        own: [start, end) of the pass's own keys.
        version: changes whenever the history differs from that of an earlier view of the same store. Results
            computed from the history may be reused as long as it stays the same.
        frames: latent frame of each frame-sized block of keys that is read, in the order of the plan's ranges, the
            pass's own frames last; None where heads hold different frames, or keys are not whole frames.
    """

    k: Tensor
    v: Tensor
    plan: ReadPlan
    own: tuple[int, int]
    version: int
    frames: tuple[int, ...] | None


class FrameStore:
    """Keys and values of some heads of one layer.

    All members hold equally many frames at any time (sink heads one opening frame, dummy heads one recent frame),
    so one dense attention call serves them: packed attention (Dummy Forcing, section 4.3).
    """

    def __init__(
        self, video: VideoShape, members: tuple[StoreHeads, ...], slots: int | None, closes_after: int | None = None
    ):
        """
        Args:
            slots: frames of history that are allocated; None starts small and doubles when it runs out.
            closes_after: latent frames after which opening frames get positions right before the recent ones
                (`PositionMethod`); None leaves them where they are.
        """
        self.video = video
        self._closes_after = closes_after
        self.members = members
        self.heads = tuple(head for member in members for head in member.heads)
        self.committed = 0
        self._version = 0
        self._growable = slots is None
        self._allocate(_FIRST_SLOTS if slots is None else slots)
        self._sinks = [self._make_sink(member, slots) for member in members]

    def _allocate(self, slots: int) -> None:
        video = self.video
        tokens = (slots + video.pass_frames) * video.tokens_per_frame
        shape = (video.batch, tokens, len(self.heads), video.head_dim)
        self.k = torch.empty(shape, dtype=video.dtype, device=video.device)
        self.v = torch.empty_like(self.k)

    def _make_sink(self, member: StoreHeads, slots: int | None) -> Sink | None:
        """Room for opening frames that may change; allocated now, so that `bytes` stays constant."""
        video, retention = self.video, member.retention
        if not retention.first or (self._closes_after is None and retention.average is None):
            return None
        frames = retention.first if slots is None else min(retention.first, slots)
        shape = (video.batch, frames * video.tokens_per_frame, len(member.heads), video.head_dim)
        return Sink(shape, video.dtype, video.device, retention.average)

    @property
    def held(self) -> int:
        """Frames of history held at present."""
        return self.members[0].retention.held(self.committed)

    @property
    def bytes(self) -> int:
        """Bytes allocated for keys and values, tail and copies of opening frames included."""
        return 2 * self.k.numel() * self.k.element_size() + sum(sink.bytes for sink in self._sinks if sink)

    def tail(self, clock: ChunkClock) -> tuple[Tensor, Tensor]:
        """Where a pass writes its keys and values: views [B, L, H, D] of the tail."""
        start = self.held * self.video.tokens_per_frame
        end = start + clock.frames * self.video.tokens_per_frame
        if end > self.k.shape[1] and self._growable:
            self._grow(start)
        if end > self.k.shape[1]:
            raise DummyForcingError(
                f"the KV store has room for {self.k.shape[1]} tokens but the chunk ends at {end}; "
                "the video is longer than the memory was built for"
            )
        return self.k[:, start:end], self.v[:, start:end]

    def view(self, clock: ChunkClock) -> KVView:
        """What the pass reads, once its tail has been written."""
        readings = [member.retention.reading(self.committed, clock.frames, clock.clean) for member in self.members]
        self._place_sinks(readings, clock)
        n, tail = self.video.tokens_per_frame, self.held
        own = tail * n, (tail + clock.frames) * n
        ranges = joined((*((first * n, last * n) for first, last in readings[0].slots), own))
        plan = ReadPlan.shared(len(self.heads), ranges)
        return KVView(self.k, self.v, plan, own, self._version, self._frames_read(readings, clock))

    def _frames_read(self, readings: Sequence[Reading], clock: ChunkClock) -> tuple[int, ...] | None:
        """The latent frame of each block of keys read; None where members hold different frames."""
        if len({member.retention for member in self.members}) > 1:
            return None
        kept = self.members[0].retention.kept(self.committed)
        slots = (slot for first, last in readings[0].slots for slot in range(first, last))
        return (*(kept[slot] for slot in slots), *clock.positions)

    def commit(self, clock: ChunkClock) -> None:
        """Move the tail's frames into history, replacing what their heads no longer keep.

        A gap between the last commit and this one is allowed: its frames will never be committed (`Memory.rewind`).
        """
        start, end = clock.memory_frame, clock.memory_frame + clock.frames
        tail = self.held
        for member, heads, sink in self._members():
            if member.retention.average is not None:  # first: the copies below overwrite the frames that leave
                self._average(sink, member.retention, heads, start, end)
            for frame in range(start, end):
                if member.retention.keeps(frame, end):
                    self._copy(tail + frame - start, member.retention.slot(frame), heads)
        self.committed = end
        self._version += 1

    def adopt(self, other: FrameStore) -> None:
        """Take over the history that this store's heads keep from `other`, which must hold it."""
        n = self.video.tokens_per_frame
        self.committed = other.committed
        if self._growable:
            self._allocate(max(_FIRST_SLOTS, self.held))
        other.release_sinks()
        for member, heads, _ in self._members():
            chosen, source = other.find(member.heads)
            for frame in member.retention.kept(self.committed):
                into = _frame(member.retention.slot(frame), n)
                origin = _frame(source.slot(frame), n)
                self.k[:, into, heads] = other.k[:, origin, chosen]
                self.v[:, into, heads] = other.v[:, origin, chosen]

    def find(self, heads: tuple[int, ...]) -> tuple[list[int], Retention]:
        """The indices in this store of heads that all follow one retention, and that retention."""
        chosen = [self.heads.index(head) for head in heads]
        return chosen, next(member.retention for member in self.members if heads[0] in member.heads)

    def release_sinks(self) -> None:
        """Put moved opening frames back to their own positions and forget their copies."""
        for _, heads, sink in self._members():
            if sink is not None:
                sink.release(*self._opening(sink, heads))

    def rewind(self, frame: int) -> None:
        """Go back, so that this frame is the next committed; `Retention.rewound` says what history is left."""
        self.release_sinks()
        self.members = tuple(replace(member, retention=member.retention.rewound(frame)) for member in self.members)
        self.committed = frame
        self._version += 1

    def free(self) -> None:
        """Let go of the tensors even if something, such as a traceback, still holds this store."""
        self.k = self.v = self.k.new_empty(0)
        self._sinks.clear()

    def _members(self) -> Iterator[tuple[StoreHeads, slice, Sink | None]]:
        """Members with the places of their heads in the tensors, and their sinks."""
        offset = 0
        for member, sink in zip(self.members, self._sinks, strict=True):
            yield member, slice(offset, offset + len(member.heads)), sink
            offset += len(member.heads)

    def _opening(self, sink: Sink, heads: slice) -> tuple[Tensor, Tensor]:
        """The opening frames' keys and values in the store."""
        return self.k[:, : sink.tokens, heads], self.v[:, : sink.tokens, heads]

    def _place_sinks(self, readings: Sequence[Reading], clock: ChunkClock) -> None:
        """Close the gap behind opening frames where positions are relative; write averages that have changed."""
        for (member, heads, sink), reading in zip(self._members(), readings, strict=True):
            if sink is not None:
                shift = sink_shift(member.retention, reading, self._closes_after, clock)
                self._version += sink.place(*self._opening(sink, heads), shift)

    def _average(self, sink: Sink, retention: Retention, heads: slice, start: int, end: int) -> None:
        """Average into the opening frames those that start .. end push out of the window, or that skip it."""
        n, tail = self.video.tokens_per_frame, self.held
        slots = {frame: retention.slot(frame) for frame in retention.kept(self.committed)}
        slots |= {frame: tail + frame - start for frame in range(start, end)}
        for frame in sorted(slots):
            if not retention.keeps(frame, end):
                place = _frame(slots[frame], n)
                leaving = self.k[:, place, heads], self.v[:, place, heads]
                sink.absorb(*self._opening(sink, heads), frame, *leaving)

    def _copy(self, origin: int, slot: int, heads: slice) -> None:
        if origin == slot:
            return
        n = self.video.tokens_per_frame
        for tensor in (self.k, self.v):
            tensor[:, _frame(slot, n), heads] = tensor[:, _frame(origin, n), heads]

    def _grow(self, used: int) -> None:
        """Double an unbounded history that has run out, keeping its first `used` tokens."""
        old_k, old_v = self.k, self.v
        self._allocate(2 * self.held)
        self.k[:, :used], self.v[:, :used] = old_k[:, :used], old_v[:, :used]


def _frame(slot: int, tokens_per_frame: int) -> slice:
    return slice(slot * tokens_per_frame, (slot + 1) * tokens_per_frame)
