"""A frame store whose history is held in 8 bits and read in the model's dtype.

Passes read from a scratch buffer that the stores of all layers share: it holds one layer's history, dequantised for
this pass, and behind it the tail in full precision. The next layer overwrites the scratch, so a clean pass's tail
is quantised as soon as its layer is read, not at the commit. Frames are quantised once and only copied from then
on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...clock import ChunkClock
from ...memory.retention import Reading, StoreHeads
from ...memory.sink import sink_shift
from ...memory.store import FrameStore, KVView
from ...video import VideoShape
from ...wan.rope import move_in_time
from .quantised_frames import QuantisedFrames


class Scratch:
    """Keys and values in the form that a pass reads, one layer at a time; a lane for each store of a layer."""

    def __init__(self, dtype: torch.dtype, device: torch.device):
        self._dtype, self._device = dtype, device
        self._lanes: dict[int, Tensor] = {}

    @property
    def bytes(self) -> int:
        """Bytes allocated."""
        return sum(lane.numel() * lane.element_size() for lane in self._lanes.values())

    def take(self, lane: int, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Keys and values of this shape in a lane, which grows if needed; overwrites those taken from it before."""
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

    Opening frames that move along the time axis are moved while they are dequantised, so they need no copies.
    """

    def __init__(
        self,
        video: VideoShape,
        members: tuple[StoreHeads, ...],
        slots: int | None,
        closes_after: int | None,
        kind: str,
        scratch: Scratch,
        lane: int,
    ):
        """kind: one of `quantised_frames.FORMATS`. lane: a different one for each store of a layer."""
        self._kind, self._scratch, self._lane = kind, scratch, lane
        self._shifts: tuple[int, ...] = ()
        super().__init__(video, members, slots, closes_after)

    def _allocate(self, slots: int) -> None:
        video = self.video
        slots += video.pass_frames
        frame = video.batch, video.tokens_per_frame, len(self.heads), video.head_dim
        self._keys, self._values = (QuantisedFrames(slots, frame, self._kind, video.device) for _ in range(2))
        self._widen()  # makes the lane grow now, so that the bytes reported stay constant
        self._narrow()

    def _widen(self) -> None:
        """Let k and v be views of the scratch: from the writing of a tail until it has been viewed."""
        video = self.video
        tokens = self._keys.slots * video.tokens_per_frame
        self.k, self.v = self._scratch.take(self._lane, (video.batch, tokens, len(self.heads), video.head_dim))

    def _narrow(self) -> None:
        """Let go of the scratch: if another store makes the lane grow, our views would keep the old one alive."""
        self.k = self.v = self.k.new_empty(0)

    def _make_sink(self, member: StoreHeads, slots: int | None) -> None:
        return None

    @property
    def bytes(self) -> int:
        """Bytes of the quantised history; the scratch is shared and counted by the run."""
        return self._keys.bytes + self._values.bytes

    def tail(self, clock: ChunkClock) -> tuple[Tensor, Tensor]:
        """Where a pass writes its keys and values: views [B, L, H, D] of the scratch."""
        self._widen()
        return super().tail(clock)

    def view(self, clock: ChunkClock) -> KVView:
        """What the pass reads, once its tail has been written; also quantises a clean pass's tail."""
        view = super().view(clock)
        if clock.clean:
            start, end = view.own
            self._keys.write(self.held, view.k[:, start:end])
            self._values.write(self.held, view.v[:, start:end])
        self._narrow()
        return view

    def _place_sinks(self, readings: Sequence[Reading], clock: ChunkClock) -> None:
        """Dequantise what is read, and move opening frames to the positions that they have in this pass."""
        n = self.video.tokens_per_frame
        for first, last in readings[0].slots:
            self._keys.read(first, last, self.k[:, first * n : last * n])
            self._values.read(first, last, self.v[:, first * n : last * n])
        shifts = []
        for (member, heads, _), reading in zip(self._members(), readings, strict=True):
            shift = sink_shift(member.retention, reading, self._closes_after, clock)
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
            self._allocate(max(self._keys.slots - self.video.pass_frames, self.held))
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
