"""The merge slot: how the keys and values that a head retains are held."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..clock import ChunkClock
from ..video import VideoShape
from .retention import StoreHeads
from .store import FrameStore, KVView


class KVStore(Protocol):
    """Keys and values of some heads of one layer: a history, and the tail that every pass overwrites.

    Between commits the history never changes, except that opening frames may move along the time axis.
    """

    members: tuple[StoreHeads, ...]
    heads: tuple[int, ...]
    """Heads of the layer, in the order in which tensors hold them."""
    committed: int
    """Frames committed so far."""

    @property
    def held(self) -> float:
        """Frames' worth of history tokens held by a head, mean over heads."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes allocated."""
        ...

    def tail(self, clock: ChunkClock) -> tuple[Tensor, Tensor]:
        """Where a pass writes its keys and values: views [B, L, heads, D].

        All stores of a layer are asked for their tails, and all tails are written in one go, before any store is
        viewed: so a tail must not lie in memory that another store's `view` overwrites.
        """
        ...

    def view(self, clock: ChunkClock) -> KVView:
        """What the pass reads, once its tail has been written; valid until another store is viewed."""
        ...

    def commit(self, clock: ChunkClock) -> None:
        """Move the tail's frames into history."""
        ...

    def adopt(self, other: KVStore) -> None:
        """Take over from another store the history that this store's heads keep; this store is new and empty."""
        ...

    def rewind(self, frame: int) -> None:
        """Go back: the next frame committed is this one, which has been committed before."""
        ...

    def free(self) -> None:
        """Let go of all tensors."""
        ...


class MergeRun(Protocol):
    """A merge method at work on one video: makes its stores."""

    @property
    def bytes(self) -> int:
        """Bytes that all stores share."""
        ...

    def store(self, members: tuple[StoreHeads, ...], slots: int | None, scored: bool) -> KVStore:
        """A new store.

        Args:
            members: heads that hold equally many frames at any time.
            slots: frames of history to make room for; None if that is not known.
            scored: whether heads will still be scored or regrouped, which needs the history frame by frame.
        """
        ...

    def close(self) -> None:
        """Free what the stores share."""
        ...


class WholeFrames:
    """Makes frame stores: every retained frame as it is."""

    bytes = 0

    def __init__(self, video: VideoShape, closes_after: int | None):
        """closes_after: as for `FrameStore`."""
        self._video, self._closes_after = video, closes_after

    def store(self, members: tuple[StoreHeads, ...], slots: int | None, scored: bool) -> FrameStore:
        """A new store; see `MergeRun`."""
        return FrameStore(self._video, members, slots, self._closes_after)

    def close(self) -> None:
        """Stores share nothing."""
