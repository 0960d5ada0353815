"""The merge slot: how the keys and values that a head retains are held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from .clock import ChunkClock
from .store import FrameStore, StoreHeads, StoreLayout
from .view import KVView


class KVStore(Protocol):
    """Keys and values of some heads of one layer: a history, and the tail that every pass overwrites.

    Between commits the history never changes, but for opening frames that move along the time axis.
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

        All stores of a layer are asked, and all tails written in one go, before the first of them is viewed: a tail
        must not lie in memory that another store's `view` overwrites.
        """
        ...

    def view(self, clock: ChunkClock) -> KVView:
        """What the pass reads, once its tail has been written; valid until another store is viewed."""
        ...

    def commit(self, clock: ChunkClock) -> None:
        """Move the tail's frames into history."""
        ...

    def adopt(self, other: KVStore) -> None:
        """Take over what this store's heads keep of another's history; this one is new."""
        ...

    def rewind(self, frame: int) -> None:
        """Go on with this frame, which has been committed before."""
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
            scored: whether heads are still to be scored or grouped anew, which needs the history frame by frame.
        """
        ...

    def close(self) -> None:
        """Free what the stores share."""
        ...


class MergeMethod(Protocol):
    """A method of the merge slot: frozen, JSON-serialisable configuration."""

    def check(self, config: Any) -> None:
        """Raises DummyForcingError for a `MemoryConfig` that makes no sense with this method."""
        ...

    def begin(self, layout: StoreLayout) -> MergeRun: ...


@dataclass(frozen=True)
class Unmerged:
    """Every retained frame as it is, in the dtype of the model."""

    def check(self, config: Any) -> None:
        pass

    def begin(self, layout: StoreLayout) -> UnmergedRun:
        return UnmergedRun(layout)


class UnmergedRun:
    """Makes frame stores."""

    bytes = 0

    def __init__(self, layout: StoreLayout):
        self._layout = layout

    def store(self, members: tuple[StoreHeads, ...], slots: int | None, scored: bool) -> FrameStore:
        return FrameStore(self._layout, members, slots)

    def close(self) -> None:
        pass
