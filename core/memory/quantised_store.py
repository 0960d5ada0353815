"""A frame store whose history is held in 8 bits and read as numbers of the model's type.

What a pass reads lies in a scratch that the stores of all layers share: their history, dequantised anew, and behind
it the tail in full precision. The clean pass's tail is quantised as soon as its layer is read, so that nothing else
has to stay until the commit; frames are quantised once and only copied from then on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..wan.rope import move_in_time
from .clock import ChunkClock
from .quantised_frames import QuantisedFrames
from .retention import Reading
from .sink import sink_shift
from .store import FrameStore, StoreHeads, StoreLayout
from .view import KVView


class Scratch:
    """Keys and values as a pass reads them, of one layer at a time; a lane for each store of a layer."""

    def __init__(self, dtype: torch.dtype, device: torch.device):
        self._dtype, self._device = dtype, device
        self._lanes: dict[int, Tensor] = {}

    @property
    def bytes(self) -> int:
        """Bytes allocated."""
        return sum(lane.numel() * lane.element_size() for lane in self._lanes.values())

    def take(self, lane: int, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Keys and values of this shape in a lane, which grows if need be; others took the same memory."""
        size = math.prod(shape)
        if lane not in self._lanes or self._lanes[lane].numel() < 2 * size:
            self._lanes[lane] = torch.empty(2 * size, dtype=self._dtype, device=self._device)
        k, v = self._lanes[lane][: 2 * size].view(2, *shape)
        return k, v

    def free(self) -> None:
        """Let go of all lanes."""
        self._lanes.clear()


class QuantisedStore(FrameStore):
    """Frames of some heads of one layer in 8 bits.

    Opening frames that move along the time axis are moved as they are read: they need no copies.
    """

    def __init__(
        self,
        layout: StoreLayout,
        members: tuple[StoreHeads, ...],
        slots: int | None,
        kind: str,
        scratch: Scratch,
        lane: int,
    ):
        """kind: one of `quantised_frames.FORMATS`. lane: another one for each store of a layer."""
        self._kind, self._scratch, self._lane = kind, scratch, lane
        self._shifts: tuple[int, ...] = ()
        super().__init__(layout, members, slots)

    def _allocate(self, slots: int) -> None:
        layout = self.layout
        slots += layout.pass_frames
        frame = layout.batch, layout.tokens_per_frame, len(self.heads), layout.head_dim
        self._keys, self._values = (QuantisedFrames(slots, frame, self._kind, layout.device) for _ in range(2))
        self._widen()  # now, so that bytes stay
        self._narrow()

    def _widen(self) -> None:
        """k and v in the scratch, from the writing of a tail until it has been viewed."""
        layout = self.layout
        tokens = self._keys.slots * layout.tokens_per_frame
        self.k, self.v = self._scratch.take(self._lane, (layout.batch, tokens, len(self.heads), layout.head_dim))

    def _narrow(self) -> None:
        """No hold on the scratch: a lane that another store lets grow would stay in memory."""
        self.k = self.v = self.k.new_empty(0)

    def _make_sink(self, member: StoreHeads, slots: int | None) -> None:
        return None

    @property
    def bytes(self) -> int:
        """Bytes of the quantised history; the scratch is not this store's."""
        return self._keys.bytes + self._values.bytes

    def tail(self, clock: ChunkClock) -> tuple[Tensor, Tensor]:
        """Where a pass writes its keys and values: views [B, L, H, D] of the scratch."""
        self._widen()
        return super().tail(clock)

    def view(self, clock: ChunkClock) -> KVView:
        """What the pass reads, once its tail has been written; a clean pass's tail is quantised on the way."""
        view = super().view(clock)
        if clock.clean:
            start, end = view.own
            self._keys.write(self.held, view.k[:, start:end])
            self._values.write(self.held, view.v[:, start:end])
        self._narrow()
        return view

    def _place_sinks(self, readings: Sequence[Reading], clock: ChunkClock) -> None:
        """Dequantise what is read, opening frames at the places where the pass reads them."""
        n = self.layout.tokens_per_frame
        for first, last in readings[0].slots:
            self._keys.read(first, last, self.k[:, first * n : last * n])
            self._values.read(first, last, self.v[:, first * n : last * n])
        shifts = []
        for (member, heads, _), reading in zip(self._members(), readings, strict=True):
            shift = sink_shift(member.retention, reading, self.layout.after, clock)
            opening = self.k[:, : min(self.committed, member.retention.first) * n, heads]
            if shift:
                opening.copy_(move_in_time(opening, shift))
            shifts.append(shift)
        self._version += tuple(shifts) != self._shifts
        self._shifts = tuple(shifts)

    def adopt(self, other: QuantisedStore) -> None:
        """Take over the history that this store's heads keep from `other`, which must hold it."""
        self.committed = other.committed
        if self._growable:
            self._allocate(max(self._keys.slots - self.layout.pass_frames, self.held))
        for member, heads, _ in self._members():
            chosen, source = other.find(member.heads)
            for frame in member.retention.kept(self.committed):
                slot, origin = member.retention.slot(frame), source.slot(frame)
                self._keys.take(slot, heads, other._keys, origin, chosen)
                self._values.take(slot, heads, other._values, origin, chosen)

    def free(self) -> None:
        """Let go of the tensors even if something, such as a traceback, still holds this store."""
        super().free()
        self._keys.free()
        self._values.free()

    def _copy(self, origin: int, slot: int, heads: slice) -> None:
        if origin != slot:
            self._keys.take(slot, heads, self._keys, origin, heads)
            self._values.take(slot, heads, self._values, origin, heads)

    def _grow(self, used: int) -> None:
        keys, values = self._keys, self._values
        self._allocate(2 * self.held)
        self._keys.take_all(keys, self.held)
        self._values.take_all(values, self.held)
        self._widen()
