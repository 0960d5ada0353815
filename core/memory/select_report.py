"""How much a key-dependent select method has read: counted on the device, copied to the host only when asked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from torch import Tensor

from ...kernels import HostCopy


@dataclass(frozen=True)
class LayerReport:
    """One layer; see `SelectReport`."""

    density: float
    recall: float | None


@dataclass(frozen=True)
class SelectReport:
    """What has been read since the memory last started over.

    density: keys read as a share of those that dense attention would have read, over all queries, heads, passes
    and layers, dense ones included. recall: share of dense attention that falls on the keys a search finds, mean
    over layers, where and when it was last measured; None before. layers: the same for each.
    """

    density: float
    recall: float | None
    layers: tuple[LayerReport, ...]

    @classmethod
    def of(cls, counts: Sequence[SelectCount]) -> SelectReport | None:
        """None before the first pass."""
        read, held = [int(count.read) for count in counts], [count.held for count in counts]
        if not all(held):
            return None
        layers = tuple(
            LayerReport(part / whole, count.recall) for part, whole, count in zip(read, held, counts, strict=True)
        )
        recalls = [layer.recall for layer in layers if layer.recall is not None]
        return cls(sum(read) / sum(held), fmean(recalls) if recalls else None, layers)

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self)

    def describe(self) -> str:
        """In words."""
        recall = "" if self.recall is None else f" (a search finds {self.recall:.0%} of the attention)"
        return f"{self.density:.0%} of the keys read{recall}"


@dataclass
class SelectCount:
    """Pairs of a query and a key of a layer: those read, an int64 on the device, and those held.

    recalls: the last measurement of each of the layer's stores.
    """

    read: Tensor | int = 0
    held: int = 0
    recalls: dict[Hashable, HostCopy] = field(default_factory=dict)

    def add(self, read: Tensor | int, held: int) -> None:
        """One call of attention."""
        self.read, self.held = self.read + read, self.held + held

    @property
    def recall(self) -> float | None:
        """Mean over stores; None before it was measured."""
        found = [copy.read() for copy in self.recalls.values()]
        return fmean(found) if found else None
