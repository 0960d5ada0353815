"""KV quantisation: the history in 8 bits, the frames of the current chunk as they are (KIVI, arXiv 2402.02750)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import DummyForcingError
from .quantised_frames import FORMATS
from .quantised_store import QuantisedStore, Scratch
from .store import StoreHeads, StoreLayout


@dataclass(frozen=True)
class QuantisedKV:
    """Hold retained frames in 8 bits: half the memory of 16, and one layer's worth of scratch to read them.

    Attributes:
        format: "int8", or "fp8" (e4m3), whose error is several times as large.
    """

    format: str = "int8"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise DummyForcingError(f"keys and values in {self.format!r}; expected one of {', '.join(FORMATS)}")

    def check(self, config: Any) -> None:
        """Raises DummyForcingError for a sink that is an average."""
        if getattr(config.keep, "sink_average", None) is not None:
            raise DummyForcingError(
                "a sink that averages the frames that leave the window takes in a thousandth of each, which 8 bits "
                "lose; remove KV quantisation or the sink average"
            )

    def begin(self, layout: StoreLayout) -> QuantisedRun:
        return QuantisedRun(self.format, layout)


class QuantisedRun:
    """Makes quantised stores over one scratch."""

    def __init__(self, kind: str, layout: StoreLayout):
        self._kind, self._layout = kind, layout
        self._scratch = Scratch(layout.dtype, layout.device)
        self._layer: list[tuple[int, ...]] = []  # heads of the layer's stores made so far

    @property
    def bytes(self) -> int:
        return self._scratch.bytes

    def store(self, members: tuple[StoreHeads, ...], slots: int | None, scored: bool) -> QuantisedStore:
        heads = tuple(head for member in members for head in member.heads)
        if any(set(heads).intersection(others) for others in self._layer):
            self._layer = []  # stores of a layer have different heads: this is another layer's, or a later time's
        store = QuantisedStore(self._layout, members, slots, self._kind, self._scratch, len(self._layer))
        self._layer.append(heads)
        return store

    def close(self) -> None:
        self._scratch.free()
