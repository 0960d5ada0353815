"""A preallocated key/value store: a history region of frame slots, then the tail of the current chunk.

Every pass overwrites the tail; only `commit` moves the tail's frames into history. The tail sits right behind the
occupied slots, so what a query reads is always one contiguous prefix, and a frame whose slot is where it already
lies is not even copied.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DummyForcingError
from .retention import Retention

_FIRST_SLOTS = 12


@dataclass(frozen=True)
class StoreLayout:
    """Sizes shared by all stores of a memory.

    Attributes:
        batch: videos generated together.
        head_dim: channels of a head.
        tokens_per_frame: tokens of a latent frame.
        chunk_frames: most frames a chunk has.
        dtype, device: of keys and values.
    """

    batch: int
    head_dim: int
    tokens_per_frame: int
    chunk_frames: int
    dtype: torch.dtype
    device: torch.device


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
        self._allocate(_FIRST_SLOTS if slots is None else slots)

    def _allocate(self, slots: int) -> None:
        layout = self.layout
        tokens = (slots + layout.chunk_frames) * layout.tokens_per_frame
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
        return 2 * self.k.numel() * self.k.element_size()

    def write(self, k: Tensor, v: Tensor) -> int:
        """Write the current chunk's keys and values [B, L, H, D] to the tail; returns the keys readable now."""
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
        return end

    def key_frames(self, start_frame: int, frames: int) -> list[int]:
        """The latent frame of each frame-sized block of readable keys; for stores with a single member."""
        (member,) = self.members
        return [*member.retention.kept(self.committed), *range(start_frame, start_frame + frames)]

    def commit(self, frames: int) -> None:
        """Move the tail's `frames` frames into history, replacing what their heads no longer keep."""
        start, end = self.committed, self.committed + frames
        tail, offset = self.held, 0
        for member in self.members:
            heads = slice(offset, offset + len(member.heads))
            for frame in range(start, end):
                if member.retention.keeps(frame, end):
                    self._copy(tail + frame - start, member.retention.slot(frame), heads)
            offset = heads.stop
        self.committed = end

    def adopt(self, other: FrameStore) -> None:
        """Take over the history that this store's heads keep from `other`, which must hold it."""
        n = self.layout.tokens_per_frame
        self.committed = other.committed
        (source,) = other.members
        offset = 0
        for member in self.members:
            chosen = [other.heads.index(head) for head in member.heads]
            heads = slice(offset, offset + len(chosen))
            for frame in member.retention.kept(self.committed):
                into = _frame(member.retention.slot(frame), n)
                origin = _frame(source.retention.slot(frame), n)
                self.k[:, into, heads] = other.k[:, origin, chosen]
                self.v[:, into, heads] = other.v[:, origin, chosen]
            offset = heads.stop

    def free(self) -> None:
        """Let go of the tensors even if something, such as a traceback, still holds this store."""
        self.k = self.v = self.k.new_empty(0)

    def _copy(self, origin: int, slot: int, heads: slice) -> None:
        if origin == slot:
            return
        n = self.layout.tokens_per_frame
        for tensor in (self.k, self.v):
            tensor[:, _frame(slot, n), heads] = tensor[:, _frame(origin, n), heads]

    def _grow(self, used: int) -> None:
        """Double an unbounded history that has run out, keeping its first `used` tokens."""
        old_k, old_v = self.k, self.v
        self._allocate(2 * self.held)
        self.k[:, :used], self.v[:, :used] = old_k[:, :used], old_v[:, :used]


def _frame(slot: int, tokens_per_frame: int) -> slice:
    return slice(slot * tokens_per_frame, (slot + 1) * tokens_per_frame)
