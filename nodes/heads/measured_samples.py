"""What a node measured last, so that it need not measure again when only what follows from it has changed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

from torch import Tensor

MOST_NODES = 8
MOST_BYTES = 64 * 2**20


class MeasuredSamples:
    """The last samples of each node and what they were measured on. Bounded: the oldest go first.

    Models, embeddings and other objects are compared by identity and held weakly, so that none of them stays in
    memory because of this cache. Numbers, texts and tables of them are compared by value.
    """

    def __init__(self, most_nodes: int = MOST_NODES, most_bytes: int = MOST_BYTES):
        self._most_nodes, self._most_bytes = most_nodes, most_bytes
        self._kept: dict[str, tuple[Any, list[Tensor]]] = {}
        self._lock = threading.Lock()

    def find(self, node_id: str | None, on: Any) -> list[Tensor] | None:
        """The samples that the node last measured, if it was on exactly this; else None."""
        with self._lock:
            known, samples = self._kept.get(str(node_id), (None, None))
            return samples if samples is not None and known == _identity(on) else None

    def keep(self, node_id: str | None, on: Any, samples: list[Tensor]) -> None:
        """Remember samples in place of the node's older ones."""
        if node_id is None:
            return
        with self._lock:
            self._kept.pop(str(node_id), None)
            self._kept[str(node_id)] = _identity(on), samples
            while len(self._kept) > self._most_nodes or self._bytes > self._most_bytes:
                del self._kept[next(iter(self._kept))]

    @property
    def _bytes(self) -> int:
        return sum(sample.nbytes for _, samples in self._kept.values() for sample in samples)


class _Same:
    """Equal to another `_Same` of the same object, as long as the object lives."""

    def __init__(self, value: Any):
        self._ref = weakref.ref(value)

    def __eq__(self, other: object) -> bool:
        value = self._ref()
        return isinstance(other, _Same) and value is not None and value is other._ref()


def _identity(value: Any) -> Any:
    """What tells whether two values are the same, without holding on to them."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return type(value), value
    if isinstance(value, Mapping):
        return dict, [(key, _identity(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return list, [_identity(each) for each in value]
    try:
        return _Same(value)
    except TypeError:  # it can neither be held weakly nor safely be told from another one later
        return object()
