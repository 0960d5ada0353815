"""What queries read: of the keys that a head retains (the slot select), and of the prompt (the slot cross)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ...kernels import DenseAttention, attend
from ..clock import ChunkClock
from .retention import Retention, StoreHeads
from .select_report import SelectReport
from .store import KVView


class Selection(Protocol):
    """A select method at work on one store."""

    @property
    def bytes(self) -> int:
        """Bytes held beside the store's own."""
        ...

    def attend(self, q: Tensor, view: KVView, clock: ChunkClock, dense: DenseAttention) -> Tensor:
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
        """Of the keys that heads of this retention have in a pass, the share that queries read, mean over queries.

        Known without running anything; None where it depends on the values of the keys.
        """
        ...

    def report(self) -> SelectReport | None:
        """What has been read so far; None where `share` already tells."""
        ...


class WholeHistory:
    """Every query reads all that its head retains. Run and selection in one: nothing depends on the store."""

    bytes = 0

    def selection(self, layer: int, members: tuple[StoreHeads, ...], slots: int | None) -> WholeHistory:
        """See `SelectRun`."""
        return self

    def share(self, retention: Retention, clock: ChunkClock) -> float:
        """All of it."""
        return 1.0

    def report(self) -> None:
        """None: `share` already tells."""

    def attend(self, q: Tensor, view: KVView, clock: ChunkClock, dense: DenseAttention) -> Tensor:
        """See `Selection`."""
        return attend(q, view.k, view.v, view.plan, dense)

    def free(self) -> None:
        """There is nothing to let go of."""


class CrossRun(Protocol):
    """A method of the cross slot at work on one video."""

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock: ChunkClock, dense: DenseAttention
    ) -> Tensor:
        """Cross-attention [B, L, H, D] of a layer: q [B, L, H, D] of a pass, k, v [B, tokens, H, D] of the prompt.

        dense: reads all tokens.
        """
        ...

    def change_prompt(self) -> None:
        """Be told that from the next pass on keys and values come from another prompt."""
        ...


class WholePrompt:
    """Every query reads all tokens."""

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clock: ChunkClock, dense: DenseAttention
    ) -> Tensor:
        """See `CrossRun`."""
        return dense(q, k, v)

    def change_prompt(self) -> None:
        """Does nothing: no state depends on the prompt."""
