"""The select slot: which of the keys that a head retains a query reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from ...kernels import Dense, attend
from .clock import ChunkClock
from .keep import KeepShape
from .retention import Retention
from .select_report import SelectReport
from .store import StoreHeads, StoreLayout
from .view import KVView


@dataclass(frozen=True)
class SelectShape:
    """What a select method may know of the model and the video.

    keep: layers, heads and how the video is cut. total_frames: latent frames of the video, None without end.
    layout: of the stores: batch, head_dim, tokens and grid of a frame, dtype and device.
    """

    keep: KeepShape
    total_frames: int | None
    layout: StoreLayout


class Selection(Protocol):
    """A select method at work on one store."""

    @property
    def bytes(self) -> int:
        """Bytes held beside the store's own."""
        ...

    def attend(self, q: Tensor, view: KVView, clock: ChunkClock, dense: Dense) -> Tensor:
        """Attention of q [B, L, heads, D], in the order of the store's heads, over what the method selects."""
        ...

    def free(self) -> None:
        """Let go of all tensors."""
        ...


class SelectRun(Protocol):
    """A select method at work on one video: makes a selection for every store."""

    def selection(self, layer: int, members: tuple[StoreHeads, ...], slots: int | None) -> Selection:
        """For a new store.

        Args:
            layer: the store's.
            members: its heads, in the order in which it holds them, and what these retain.
            slots: frames of history that it has room for; None if that is not known.
        """
        ...

    def share(self, retention: Retention, clock: ChunkClock) -> float | None:
        """Share of the keys that heads of this retention have in a pass and its queries read, mean over queries.

        Known without running anything; None where it depends on what keys are.
        """
        ...

    def report(self) -> SelectReport | None:
        """What has been read so far; None where `share` says it all."""
        ...


class SelectMethod(Protocol):
    """A method of the select slot: frozen, JSON-serialisable configuration."""

    def check(self, config: Any) -> None:
        """Raises DummyForcingError for a `MemoryConfig` that makes no sense with this method."""
        ...

    def begin(self, shape: SelectShape) -> SelectRun: ...


@dataclass(frozen=True)
class AllKeys:
    """Every query reads all that its head retains."""

    def check(self, config: Any) -> None:
        pass

    def begin(self, shape: SelectShape) -> AllKeys:
        return self

    def selection(self, layer: int, members: tuple[StoreHeads, ...], slots: int | None) -> AllKeys:
        return self

    def share(self, retention: Retention, clock: ChunkClock) -> float:
        return 1.0

    def report(self) -> None:
        return None

    @property
    def bytes(self) -> int:
        return 0

    def attend(self, q: Tensor, view: KVView, clock: ChunkClock, dense: Dense) -> Tensor:
        return attend(q, view.k, view.v, view.plan, dense)

    def free(self) -> None:
        pass
